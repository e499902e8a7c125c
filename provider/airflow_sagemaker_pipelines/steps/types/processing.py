"""Processing steps."""

from __future__ import annotations

from airflow_sagemaker_pipelines.definition import ExecutionVariable, StepType
from airflow_sagemaker_pipelines.steps.job import SageMakerJob


class Processing(SageMakerJob):
    """A processing job."""

    step_type = StepType.PROCESSING
    noun = "processing job"
    create = "create_processing_job"
    describe = "describe_processing_job"
    stop_call = "stop_processing_job"
    name_member = "ProcessingJobName"
    name_variable = ExecutionVariable.PROCESSING_JOB_NAME
    status_member = "ProcessingJobStatus"
    log_group = "/aws/sagemaker/ProcessingJobs"
    console = "processing-jobs"
