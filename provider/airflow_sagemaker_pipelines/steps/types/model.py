"""Model steps."""

from __future__ import annotations

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, to_json
from airflow_sagemaker_pipelines.steps.job import NamedResource
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun
from airflow_sagemaker_pipelines.steps.status import Verdict


class Model(NamedResource):
    """A model; it exists as soon as the call returns."""

    step_type = StepType.MODEL
    noun = "model"
    create = "create_model"
    describe = "describe_model"
    name_member = "ModelName"
    role_member = "ExecutionRoleArn"
    console = "models"

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe the model."""
        answer = to_json(clients("sagemaker").describe_model(ModelName=handle["name"]))
        judged = Verdict.SUCCEEDED if "ModelArn" in answer else Verdict.UNKNOWN
        return State(handle=handle, verdict=judged, description=answer)

    def started(self, run: StepRun, handle: Handle) -> State:
        """A created model is complete."""
        return self.look(run, handle)
