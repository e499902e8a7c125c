"""Events of executions and steps on EventBridge."""

from __future__ import annotations

import json
import re

import pytest
from pipeline_support import compare, condition, process, train, until

EXECUTION = "SageMaker Model Building Pipeline Execution Status Change"
STEP = "SageMaker Model Building Pipeline Execution Step Status Change"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def bus(local_sagemaker):
    """Collect events in a queue."""
    events, sqs = local_sagemaker.client("events"), local_sagemaker.client("sqs")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": [EXECUTION, STEP]}
    events.put_rule(Name="all", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": arn}])
    found = []

    def take(count):
        def received():
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count

        until(received)
        return found

    return take


def changes(events, kind, previous, current):
    return [
        (event["detail"].get("stepName"), event["detail"].get(previous), event["detail"][current])
        for event in events
        if event["detail-type"] == kind
    ]


def test_every_change_of_status_is_an_event(local_sagemaker, pipelines, bus):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no")
    arn = pipelines.run(process("P"), train("T", DependsOn=["P"]))

    events = bus(8)

    assert changes(events, EXECUTION, "previousPipelineExecutionStatus", "currentPipelineExecutionStatus") == [
        (None, None, "Executing"),
        (None, "Executing", "Failed"),
    ]
    assert changes(events, STEP, "previousStepStatus", "currentStepStatus") == [
        ("P", None, "Starting"),
        ("P", "Starting", "Executing"),
        ("P", "Executing", "Succeeded"),
        ("T", None, "Starting"),
        ("T", "Starting", "Executing"),
        ("T", "Executing", "Failed"),
    ]
    pipeline = arn.partition("/execution/")[0]
    assert all(event["resources"] == [pipeline, arn] for event in events)
    assert all(event["detail"]["pipelineExecutionArn"] == arn for event in events)


def test_a_steps_event_has_the_documented_members(local_sagemaker, pipelines, bus):
    arn = pipelines.run(process("P"))

    events = bus(5)

    (event,) = [item for item in events if item["detail"].get("currentStepStatus") == "Succeeded"]
    job = pipelines.steps(arn)["P"]["Metadata"]["ProcessingJob"]["Arn"]
    detail = event["detail"]
    assert detail["metadata"] == {"processingJob": {"arn": job}}
    assert set(detail) == {
        "metadata",
        "stepStartTime",
        "stepEndTime",
        "stepName",
        "stepType",
        "previousStepStatus",
        "currentStepStatus",
        "pipelineArn",
        "pipelineExecutionArn",
    }
    assert (detail["stepType"], event["source"]) == ("Processing", "aws.sagemaker")
    assert re.fullmatch(TIME, detail["stepStartTime"])


def test_failures_and_cache_hits_are_in_the_events(local_sagemaker, pipelines, bus):
    cached = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}
    pipelines.create(process("P", **cached), condition("Check", compare("1", 1)))
    first = pipelines.ended(pipelines.start())
    before = len(bus(7))
    pipelines.ended(pipelines.start())

    events = bus(before + 7)

    hits = [event["detail"].get("cacheHitResult") for event in events if event["detail"].get("stepName") == "P"]
    assert {"sourcePipelineExecutionArn": first} in hits
    reasons = [event["detail"]["failureReason"] for event in events if event["detail"].get("failureReason")]
    assert "cannot compare" in reasons[0]
