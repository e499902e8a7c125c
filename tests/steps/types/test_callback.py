"""Callback steps against the local endpoint's queues: what workers get."""

from __future__ import annotations

import json
import re

import pytest

from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.replies import parse_reply
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_runs import start, violations


@pytest.fixture
def queue(local_sagemaker):
    return local_sagemaker.client("sqs").create_queue(QueueName="sagemaker-work")["QueueUrl"]


def callback(queue_url, **keys):
    return {
        "Name": "Cb",
        "Type": "Callback",
        "SqsQueueUrl": queue_url,
        "Arguments": {
            "group": {"Get": "Parameters.Group"},
            "rmse": {"Get": "Steps.Lam.OutputParameters['rmse']"},
            "count": 5,
            "fast": True,
            "nested": {"list": [1, 0.5]},
        },
        "OutputParameters": [{"OutputName": "o", "OutputType": "Integer"}],
    } | keys


def run_of_callback(run_of, queue_url, **keys):
    return run_of(
        callback(queue_url), parameters={"Group": "g"}, outputs={"Lam": {"OutputParameters": {"rmse": 0.9215}}}, **keys
    )


def messages(local_sagemaker, queue_url, **arguments):
    answer = local_sagemaker.client("sqs").receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, AttributeNames=["All"], **arguments
    )
    return answer.get("Messages", [])


def bodies(local_sagemaker, queue_url):
    return [json.loads(message["Body"]) for message in messages(local_sagemaker, queue_url)]


def test_the_worker_gets_one_message_in_the_documented_shape(local_sagemaker, run_of, queue):
    state = start(run_of_callback(run_of, queue))

    (message,) = bodies(local_sagemaker, queue)
    token = message.pop("token")
    assert re.fullmatch("[a-zA-Z0-9]{10}", token)
    assert message == {
        "pipelineExecutionArn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/pipeline/execution/p4jn9xou8a8s",
        "arguments": {"group": "g", "rmse": 0.9215, "count": 5, "fast": True, "nested": {"list": [1, 0.5]}},
        "status": "Executing",
    }
    assert (state.verdict, state.handle["name"]) == (Verdict.RUNNING, token)


def test_a_retry_sends_the_same_token_and_a_cleared_task_another(local_sagemaker, run_of, queue):
    start(run_of_callback(run_of, queue))
    start(run_of_callback(run_of, queue))
    start(run_of_callback(run_of, queue, life=1))

    first, retry, cleared = (message["token"] for message in bodies(local_sagemaker, queue))
    assert first == retry != cleared


def test_a_stop_sends_the_message_again_with_another_status(local_sagemaker, run_of, queue):
    run = run_of_callback(run_of, queue)
    state = start(run)

    # The handle goes through a trigger.
    runner_of(run.step.type).stop(run.clients, json.loads(json.dumps(state.handle)))

    executing, stopping = bodies(local_sagemaker, queue)
    assert stopping == executing | {"status": "Stopping"}
    assert executing["status"] == "Executing"


def test_a_fifo_queue_gets_every_message_in_the_group_of_its_token(local_sagemaker, run_of):
    client = local_sagemaker.client("sqs")
    queue = client.create_queue(QueueName="sagemaker-work.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    run = run_of_callback(run_of, queue)

    state = start(run)
    # Within the five minutes of deduplication, the request of another try reaches the worker.
    start(run_of_callback(run_of, queue))
    runner_of(run.step.type).stop(run.clients, state.handle)

    received = messages(local_sagemaker, queue)
    assert [json.loads(message["Body"])["status"] for message in received] == ["Executing", "Executing", "Stopping"]
    assert {message["Attributes"]["MessageGroupId"] for message in received} == {state.handle["name"]}


def test_the_queue_may_come_from_another_step(local_sagemaker, run_of, queue):
    step = callback({"Get": "Steps.Lam.OutputParameters['queue']"}, Arguments={})

    start(run_of(step, outputs={"Lam": {"OutputParameters": {"queue": queue}}}))

    (message,) = bodies(local_sagemaker, queue)
    assert message["arguments"] == {}


def test_the_request_is_valid_by_the_service_model(run_of, queue):
    run = run_of_callback(run_of, queue)
    request = runner_of(run.step.type).request(run)

    assert violations("sqs", "SendMessage", request | {"MessageBody": json.dumps(request["MessageBody"])}) == ""


def test_a_queue_that_does_not_exist_is_an_error_that_no_retry_mends(local_sagemaker, run_of, queue):
    with pytest.raises(StepRequestError, match="Step 'Cb' failed: SendMessage was refused"):
        start(run_of_callback(run_of, f"{queue}-not"))


@pytest.mark.parametrize(
    "outputs",
    [
        {"outputParameters": [{"name": "a", "value": "1"}, {"name": "b", "value": "x"}]},
        {"OutputParameters": [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "x"}]},
        {"OutputParameters": {"a": "1", "b": "x"}},
    ],
)
@pytest.mark.parametrize(("token", "status"), [("token", "status"), ("Token", "Status"), ("CallbackToken", "status")])
def test_a_reply_may_be_written_in_camel_or_pascal_case(token, status, outputs):
    reply = parse_reply(json.dumps({token: "t", status: "Succeeded", **outputs}))

    assert (reply.token, reply.verdict, reply.outputs) == ("t", Verdict.SUCCEEDED, {"a": "1", "b": "x"})


def test_a_failure_says_why():
    reply = parse_reply('{"token": "t", "status": "Failed", "FailureReason": "no data"}')

    assert (reply.verdict, reply.reason, reply.outputs) == (Verdict.FAILED, "no data", {})


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"status": "Succeeded"}', "no token"),
        ('{"token": 7, "status": "Succeeded"}', "no token"),
        ('{"token": "t"}', "its status is null"),
        ('{"token": "t", "status": "Executing"}', 'its status is "Executing"'),
        ('{"token": "t", "status": "Succeeded", "outputParameters": "x"}', "neither a list"),
        ('{"token": "t", "status": "Succeeded", "outputParameters": [{"Value": "x"}]}', "no name"),
    ],
)
def test_what_is_no_reply_is_refused_with_the_reason(body, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_reply(body)
