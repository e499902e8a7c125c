"""What the steps of an execution have made, as the rooms that run steps name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.executions.calls import pipeline_call
from airflow_sagemaker_pipelines.steps.registry import runner_of

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.snapshot import StepRecord
    from airflow_sagemaker_pipelines.steps.aws import Clients
    from airflow_sagemaker_pipelines.steps.runner import Handle

#: By the member of a step's metadata: the type that runs and describes what it names, and the member with the ARN.
_BY_ARN: Mapping[str, tuple[StepType, str]] = {
    "ProcessingJob": (StepType.PROCESSING, "Arn"),
    "TrainingJob": (StepType.TRAINING, "Arn"),
    "TransformJob": (StepType.TRANSFORM, "Arn"),
    "TuningJob": (StepType.TUNING, "Arn"),
    "AutoMLJob": (StepType.AUTO_ML, "Arn"),
    "QualityCheck": (StepType.PROCESSING, "CheckJobArn"),
    "ClarifyCheck": (StepType.PROCESSING, "CheckJobArn"),
    "Model": (StepType.MODEL, "Arn"),
    "RegisterModel": (StepType.REGISTER_MODEL, "Arn"),
    "EndpointConfig": (StepType.ENDPOINT_CONFIG, "Arn"),
    "Endpoint": (StepType.ENDPOINT, "Arn"),
    "InferenceComponent": (StepType.INFERENCE_COMPONENT, "Arn"),
}
#: Of these the name is not the last part of the ARN, which stands for it.
_NAMED_BY_ARN = frozenset({StepType.REGISTER_MODEL})
#: What can be stopped.
JOBS = frozenset(
    {
        StepType.PROCESSING,
        StepType.TRAINING,
        StepType.TRANSFORM,
        StepType.TUNING,
        StepType.AUTO_ML,
        StepType.EMR,
        StepType.EMR_SERVERLESS,
    }
)


def resource_of(step: StepRecord) -> tuple[StepType, Handle] | None:
    """Return what a step has made, ``None`` if there is nothing, or nothing that AWS can describe.

    :returns: the type whose runner knows it, and the handle that this runner takes.
    """
    for member, values in step.metadata.items():
        if member in _BY_ARN:
            return _named(*_BY_ARN[member], values)
        if member == "EMR" and values.get("StepId"):
            handle = {"cluster": values["ClusterId"], "step": values["StepId"], "name": values.get("StepName", "")}
            return StepType.EMR, {**handle, "own_cluster": False}
        if member == "EMRServerless" and values.get("JobRunId"):
            handle = {"application": values["ApplicationId"], "run": values["JobRunId"]}
            return StepType.EMR_SERVERLESS, {**handle, "name": values.get("JobRunName", values["JobRunId"])}
    return None


def described(clients: Clients, step: StepRecord) -> dict[str, Any] | None:
    """Return the Describe answer of what a step has made, as JSON; ``None`` if there is none.

    :raises PipelineCallError: if AWS cannot answer now.
    :raises PipelineRequestError: if it refuses.
    """
    resource = resource_of(step)
    if resource is None:
        return None
    kind, handle = resource
    with pipeline_call("The call for its description", step.name):
        runner = runner_of(kind)
        return runner.outputs(clients, runner.poll(clients, handle))


def _named(kind: StepType, member: str, values: Mapping[str, Any]) -> tuple[StepType, Handle] | None:
    arn = values.get(member)
    if not arn:
        return None
    return kind, {"name": arn if kind in _NAMED_BY_ARN else str(arn).rsplit("/", 1)[-1]}
