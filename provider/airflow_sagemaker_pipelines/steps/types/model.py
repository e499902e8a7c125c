"""Model steps."""

from __future__ import annotations

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, to_json
from airflow_sagemaker_pipelines.steps.job import NamedResource
from airflow_sagemaker_pipelines.steps.runner import Handle, State
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
        answer = clients("sagemaker").describe_model(ModelName=handle["name"])
        return State(handle=handle, verdict=Verdict.SUCCEEDED, description=to_json(answer))

    def started(self, clients: Clients, handle: Handle) -> State:
        """A created model is complete."""
        return self.poll(clients, handle)
