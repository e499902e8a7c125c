"""Small pipelines for tests of tasks on a worker, and a look at the jobs that they make."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_sagemaker_pipelines import pipeline_dag

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
CONSOLE = "https://us-east-1.console.aws.amazon.com"
URL = {"Name": "Url", "Type": "String", "DefaultValue": "s3://lake/in"}


def training(name: str = "Train", *, after: Iterable[str] = (), policies: Iterable[Any] = (), **arguments: Any) -> Any:
    """Return a Training step.

    :param after: the steps that it depends on.
    :param policies: its retry policies.
    """
    return {
        "Name": name,
        "Type": "Training",
        "DependsOn": [*after],
        "RetryPolicies": [*policies],
        "Arguments": {
            "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "image"},
            "OutputDataConfig": {"S3OutputPath": "s3://lake/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "HyperParameters": {"url": {"Get": "Parameters.Url"}},
        }
        | arguments,
    }


def document_of(*steps: Any, declared: Iterable[Mapping[str, Any]] = (URL,)) -> dict[str, Any]:
    """Return a definition of steps, or of one Training step."""
    return {"Version": "2020-12-01", "Parameters": [*declared], "Steps": list(steps) or [training()]}


def dag_of(*steps: Any, retries: int = 2, default_args: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
    """Return the DAG of steps, or of one Training step."""
    arguments = {"role_arn": ROLE, "poll_interval": 0.1} | arguments
    defaults = {"retries": retries} | dict(default_args or {})
    return pipeline_dag("abalone", document_of(*steps), default_args=defaults, **arguments)


def created(local_sagemaker: Any) -> int:
    """How often AWS was asked to create a training job."""
    return int(local_sagemaker.calls().get("sagemaker.CreateTrainingJob", 0))


def jobs(local_sagemaker: Any) -> dict[str, str]:
    """The training jobs, the first one first, with their status."""
    listed = local_sagemaker.client("sagemaker").list_training_jobs(SortBy="CreationTime", SortOrder="Ascending")
    return {job["TrainingJobName"]: job["TrainingJobStatus"] for job in listed["TrainingJobSummaries"]}


def describe(local_sagemaker: Any, name: str) -> Any:
    """What AWS says of a training job."""
    return local_sagemaker.client("sagemaker").describe_training_job(TrainingJobName=name)


def ended(local_sagemaker: Any) -> None:
    """Wait until no training job runs."""
    deadline = time.monotonic() + 30
    while "InProgress" in jobs(local_sagemaker).values():
        assert time.monotonic() < deadline, "training jobs still run"
        time.sleep(0.02)
