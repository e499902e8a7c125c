"""Definitions, and what tests ask of pipelines."""

from __future__ import annotations

import json
from typing import Any

from endpoint_support import BUCKET, ROLE, processing_request, training_request, until

ENDED = ("Succeeded", "Failed", "Stopped", "CompletedWithFailures")


def definition(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": list(steps), **more}


def parameter(name: str, kind: str = "String", **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, **more}


def get(reference: str) -> dict[str, str]:
    return {"Get": reference}


def join(*values: Any, on: str = "") -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def train(name: str, *, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    request = training_request()
    del request["TrainingJobName"], request["RoleArn"]
    return {"Name": name, "Type": "Training", "Arguments": {**request, **(arguments or {})}, **more}


def process(name: str, *, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    request = processing_request()
    del request["ProcessingJobName"], request["RoleArn"]
    return {"Name": name, "Type": "Processing", "Arguments": {**request, **(arguments or {})}, **more}


def condition(name: str, *conditions: dict[str, Any], yes: Any = (), no: Any = (), **more: Any) -> dict[str, Any]:
    arguments = {"Conditions": list(conditions), "IfSteps": list(yes), "ElseSteps": list(no)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments, **more}


def compare(left: Any, right: Any, kind: str = "Equals") -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def fail(name: str, message: Any = "it is bad", **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **more}


def after(*names: str, **triggers: str) -> list[Any]:
    return [*names, *({"Step": name, "Trigger": trigger} for name, trigger in triggers.items())]


class Client:
    """Short words for calls."""

    def __init__(self, endpoint: Any, sagemaker: Any) -> None:
        self.endpoint = endpoint
        self.sagemaker = sagemaker

    def create(self, *steps: dict[str, Any], name: str = "pipe", request: dict[str, Any] | None = None, **more: Any):
        text = json.dumps(definition(*steps, **more))
        return self.sagemaker.create_pipeline(
            PipelineName=name, RoleArn=ROLE, PipelineDefinition=text, **(request or {})
        )["PipelineArn"]

    def update(self, *steps: dict[str, Any], name: str = "pipe", request: dict[str, Any] | None = None, **more: Any):
        text = json.dumps(definition(*steps, **more))
        return self.sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=text, **(request or {}))

    def start(self, name: str = "pipe", parameters: dict[str, str] | None = None, **more: Any) -> str:
        given = [{"Name": key, "Value": value} for key, value in (parameters or {}).items()]
        if given:
            more["PipelineParameters"] = given
        return self.sagemaker.start_pipeline_execution(PipelineName=name, **more)["PipelineExecutionArn"]

    def run(
        self, *steps: dict[str, Any], name: str = "pipe", parameters: dict[str, str] | None = None, **more: Any
    ) -> str:
        """Create, start, and wait for the end; return the execution's ARN."""
        self.create(*steps, name=name, **more)
        return self.ended(self.start(name, parameters))

    def ended(self, arn: str, seconds: float = 20) -> str:
        until(lambda: self.status(arn), lambda status: status in ENDED, seconds=seconds)
        return arn

    def describe(self, arn: str) -> dict[str, Any]:
        return self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)

    def status(self, arn: str) -> str:
        return self.describe(arn)["PipelineExecutionStatus"]

    def steps(self, arn: str) -> dict[str, dict[str, Any]]:
        """Return the steps by name, in the order of their start."""
        pages = self.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=arn, SortOrder="Ascending"
        )
        return {step["StepName"]: step for page in pages for step in page["PipelineExecutionSteps"]}

    def states(self, arn: str) -> dict[str, str]:
        return {name: step["StepStatus"] for name, step in self.steps(arn).items()}

    def until_step(self, arn: str, name: str, *statuses: str) -> dict[str, Any]:
        """Wait until a step is in one of some statuses."""
        wanted = statuses or ("Executing",)
        return until(lambda: self.steps(arn).get(name, {}), lambda step: step.get("StepStatus") in wanted)

    def stop(self, arn: str) -> None:
        self.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)

    def retry(self, arn: str, **more: Any) -> None:
        self.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, **more)


__all__ = ["BUCKET", "ROLE", "until"]
