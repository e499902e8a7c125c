"""Lambda steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ReadTimeoutError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import aws_call, is_throttled, required
from airflow_sagemaker_pipelines.steps.errors import (
    RESOURCE_LIMIT_CODES,
    StepCallError,
    StepFailedError,
    StepTimeoutError,
)
from airflow_sagemaker_pipelines.steps.outputs import declared_outputs
from airflow_sagemaker_pipelines.steps.runner import State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict


class LambdaFunction(StepRunner):
    """A synchronous invocation of a function.

    It holds its worker for at most the 10 minutes that SageMaker allows. The function runs at least once, not exactly
    once: AWS has no way to find an invocation again, so when its answer is lost or the worker dies, a retry invokes
    once more. The error then says so. Functions that must not do their work twice can tell by their payload, for
    instance by ``Execution.PipelineExecutionId``.
    """

    step_type = StepType.LAMBDA
    noun = "Lambda function"

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the function and its payload."""
        return {
            "FunctionName": run.resolve(run.step.settings["FunctionArn"]),
            "Payload": run.resolve(run.step.arguments),
        }

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Invoke the function and read the declared outputs from the top level of its result."""
        name = request["FunctionName"]
        resource = f"{self.noun} {name}"
        try:
            with aws_call("Invoke", step=run.step.name):
                answer = run.clients("lambda").invoke(
                    FunctionName=name,
                    InvocationType="RequestResponse",
                    Payload=json.dumps(request["Payload"]).encode(),
                )
                body = required(answer, "Payload", "Invoke").read().decode()
        except StepCallError as error:
            if is_throttled(error.__cause__ or error) or error.code in RESOURCE_LIMIT_CODES:
                raise
            if not isinstance(error.__cause__, ReadTimeoutError):
                message = f"{error.message}. The function may have run all the same; a retry invokes it again"
                raise StepCallError(message, step=run.step.name, resource=resource, code=error.code) from error
            # No fault that another try would mend: the function is slow, and still runs.
            message = "the function did not answer in time; it may still run"
            raise StepTimeoutError(message, step=run.step.name, resource=resource) from error
        if answer.get("FunctionError"):
            raise StepFailedError(f"the function failed: {body[:1000]}", step=run.step.name, resource=resource)
        outputs = _declared_outputs(run, body, resource)
        return State(handle={"name": name}, verdict=Verdict.SUCCEEDED, description={"OutputParameters": outputs})


def _declared_outputs(run: StepRun, body: str, resource: str) -> dict[str, Any]:
    declared = run.step.output_parameters
    if not declared:
        return {}
    try:
        result = json.loads(body)
    except ValueError:
        result = None
    if not isinstance(result, Mapping):
        raise StepFailedError(
            f"the function must return a JSON object with {', '.join(declared)}; it returned {body[:200]}",
            step=run.step.name,
            resource=resource,
        )
    return declared_outputs(run.step, result)
