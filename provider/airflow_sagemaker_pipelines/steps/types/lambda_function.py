"""Lambda steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ReadTimeoutError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import aws_call
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepFailedError, StepTimeoutError
from airflow_sagemaker_pipelines.steps.outputs import declared_outputs
from airflow_sagemaker_pipelines.steps.runner import State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict


class LambdaFunction(StepRunner):
    """A synchronous invocation of a function.

    It holds its worker for at most the 10 minutes that SageMaker allows. AWS has no way to find an invocation
    again, so a retry invokes once more: the function runs at least once.
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
                body = answer["Payload"].read().decode()
        except StepCallError as error:
            if not isinstance(error.__cause__, ReadTimeoutError):
                raise
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
