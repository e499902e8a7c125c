"""Transform steps."""

from __future__ import annotations

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.job import SageMakerJob


class Transform(SageMakerJob):
    """A batch transform job. It runs with its model's role."""

    step_type = StepType.TRANSFORM
    noun = "transform job"
    create = "create_transform_job"
    describe = "describe_transform_job"
    stop_call = "stop_transform_job"
    name_member = "TransformJobName"
    role_member = None
    status_member = "TransformJobStatus"
    log_group = "/aws/sagemaker/TransformJobs"
    console = "transform-jobs"
