"""Pipelines that are deployed on the local endpoint, and their executions."""

from __future__ import annotations

import json
import time
from typing import Any

from airflow_sagemaker_pipelines.definition import PipelineDefinition, load_definition
from tests.integration.documents import ROLE

NAME = "abalone"
ENDED = frozenset({"Succeeded", "Failed", "Stopped", "CompletedWithFailures"})


def document(*steps: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A definition of steps."""
    return {"Version": "2020-12-01", "Parameters": [], "Steps": list(steps), **keys}


def definition_of(*steps: dict[str, Any], **keys: Any) -> PipelineDefinition:
    """A definition of steps, loaded."""
    return load_definition(document(*steps, **keys))


def deploy(local_sagemaker: Any, *steps: dict[str, Any], name: str = NAME, **keys: Any) -> str:
    """Create a pipeline, or make a new version of it; return its ARN."""
    client, text = local_sagemaker.client("sagemaker"), json.dumps(document(*steps, **keys))
    existing = client.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]
    if any(pipeline["PipelineName"] == name for pipeline in existing):
        return str(client.update_pipeline(PipelineName=name, PipelineDefinition=text)["PipelineArn"])
    answer = client.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)
    return str(answer["PipelineArn"])


def start(local_sagemaker: Any, *steps: dict[str, Any], keys: dict[str, Any] | None = None, **request: Any) -> str:
    """Start an execution of a pipeline, of these steps if any are given; return its ARN."""
    if steps:
        deploy(local_sagemaker, *steps, **(keys or {}))
    client = local_sagemaker.client("sagemaker")
    return str(client.start_pipeline_execution(PipelineName=NAME, **request)["PipelineExecutionArn"])


def executions(local_sagemaker: Any, name: str = NAME) -> list[str]:
    """The executions of a pipeline, the oldest first."""
    client = local_sagemaker.client("sagemaker")
    listed = client.list_pipeline_executions(PipelineName=name, SortOrder="Ascending")["PipelineExecutionSummaries"]
    return [execution["PipelineExecutionArn"] for execution in listed]


def described(local_sagemaker: Any, arn: str) -> dict[str, Any]:
    """DescribePipelineExecution's answer."""
    return dict(local_sagemaker.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn))


def status(local_sagemaker: Any, arn: str) -> str:
    """The status of an execution."""
    return str(described(local_sagemaker, arn)["PipelineExecutionStatus"])


def states(local_sagemaker: Any, arn: str) -> dict[str, str]:
    """The statuses of an execution's steps."""
    pages = local_sagemaker.client("sagemaker").get_paginator("list_pipeline_execution_steps")
    listed = [step for page in pages.paginate(PipelineExecutionArn=arn) for step in page["PipelineExecutionSteps"]]
    return {step["StepName"]: step["StepStatus"] for step in listed}


def wait(holds: Any, seconds: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def ended(local_sagemaker: Any, arn: str) -> str:
    """Wait until an execution is over; return its ARN."""
    wait(lambda: status(local_sagemaker, arn) in ENDED)
    return arn


def running(local_sagemaker: Any, arn: str, *names: str) -> str:
    """Wait until steps run; return the execution's ARN."""
    wait(lambda: {states(local_sagemaker, arn).get(name) for name in names} == {"Executing"})
    return arn


def run(local_sagemaker: Any, *steps: dict[str, Any], keys: dict[str, Any] | None = None, **request: Any) -> str:
    """Deploy steps and run them to their end; return the execution's ARN."""
    return ended(local_sagemaker, start(local_sagemaker, *steps, keys=keys, **request))


def condition(name: str = "Check", *, holds: bool = True, yes: Any = (), no: Any = (), **keys: Any) -> dict[str, Any]:
    """A Condition step whose outcome is known."""
    test = {"Type": "Equals", "LeftValue": 1, "RightValue": 1 if holds else 2}
    arguments = {"Conditions": [test], "IfSteps": list(yes), "ElseSteps": list(no)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments, **keys}


def fail(name: str = "No", message: str = "it is bad", **keys: Any) -> dict[str, Any]:
    """A Fail step."""
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **keys}


def loop(*body: dict[str, Any], items: list[Any], name: str = "Loop", **keys: Any) -> dict[str, Any]:
    """A ForEach step."""
    arguments = {"IterableItems": items, "MaxConcurrency": 5, "ForEachBody": list(body)}
    return {"Name": name, "Type": "ForEach", "Arguments": arguments, **keys}


def callback(local_sagemaker: Any, name: str = "Ask", **keys: Any) -> dict[str, Any]:
    """A Callback step, with its queue."""
    url = local_sagemaker.client("sqs").create_queue(QueueName="sagemaker-callbacks")["QueueUrl"]
    step = {"Name": name, "Type": "Callback", "SqsQueueUrl": url, "Arguments": {}, "OutputParameters": []}
    return step | keys
