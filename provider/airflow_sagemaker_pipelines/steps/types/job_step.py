"""Job steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import input_members
from airflow_sagemaker_pipelines.steps.job import SageMakerJob
from airflow_sagemaker_pipelines.steps.runner import Handle, StepRun


class Job(SageMakerJob):
    """A job of CreateJob, such as an agent evaluation; its category is part of what names it."""

    step_type = StepType.JOB
    noun = "job"
    create = "create_job"
    describe = "describe_job"
    stop_call = "stop_job"
    name_member = "JobName"
    status_member = "JobStatus"
    #: ListJobs wants a category, so there would be a call for each.
    is_listed = False

    def complete(self, run: StepRun, request: dict[str, Any]) -> None:
        """Add the role, and take out the network where CreateJob does not know it.

        The SageMaker SDK's evaluation templates write ``VpcConfig``, which is no member of CreateJob in the API model
        up to botocore 1.44: the call would be refused before it is sent. A botocore that knows the member gets it.
        """
        super().complete(run, request)
        if "VpcConfig" not in input_members(run.clients, "sagemaker", "CreateJob"):
            request.pop("VpcConfig", None)

    def handle(self, run: StepRun, request: Mapping[str, Any]) -> Handle:
        """Return name and category."""
        return {"name": request["JobName"], "category": request["JobCategory"]}

    def key(self, handle: Handle) -> dict[str, Any]:
        """Return name and category, both of which DescribeJob and StopJob require."""
        return {"JobName": handle["name"], "JobCategory": handle["category"]}
