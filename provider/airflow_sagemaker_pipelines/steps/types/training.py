"""Training steps, also those of ``@step`` functions, notebook jobs, model repacking and serverless training."""

from __future__ import annotations

from airflow_sagemaker_pipelines.definition import ExecutionVariable, StepType
from airflow_sagemaker_pipelines.steps.job import SageMakerJob


class Training(SageMakerJob):
    """A training job."""

    step_type = StepType.TRAINING
    noun = "training job"
    create = "create_training_job"
    describe = "describe_training_job"
    stop_call = "stop_training_job"
    name_member = "TrainingJobName"
    name_variable = ExecutionVariable.TRAINING_JOB_NAME
    status_member = "TrainingJobStatus"
    log_group = "/aws/sagemaker/TrainingJobs"
    console = "jobs"
