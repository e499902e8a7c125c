"""Steps and definitions for tests that run whole DAGs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_sagemaker_pipelines import pipeline_dag

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
BUCKET = "sagemaker-us-east-1-123456789012"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}


def dag_of(*steps: dict[str, Any], declared: list[dict[str, Any]] | None = None, **arguments: Any) -> Any:
    """Make a DAG of steps, which polls and retries fast."""
    # Airflow 3.3 takes the delay from the definition's retry policy instead.
    arguments["default_args"] = {"retry_delay": timedelta(seconds=1), **arguments.get("default_args", {})}
    document = {"Version": "2020-12-01", "Parameters": declared or [], "Steps": list(steps)}
    return pipeline_dag("abalone", document, **{"role_arn": ROLE, "poll_interval": 0.2, **arguments})


def processing(name: str, *, arguments: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return a Processing step with one output, ``out``, and a property file in it, ``Report``."""
    target = {
        "S3Uri": f"s3://{BUCKET}/{name}",
        "LocalPath": "/opt/ml/processing/out",
        "S3UploadMode": "EndOfJob",
    }
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "ProcessingResources": {"ClusterConfig": CLUSTER},
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "x.py"]},
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": target}]},
            **(arguments or {}),
        },
        "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "evaluation.json"}],
    } | keys


def training(name: str, *, arguments: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return a Training step."""
    return {
        "Name": name,
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": IMAGE},
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/model"},
            "ResourceConfig": CLUSTER,
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            **(arguments or {}),
        },
    } | keys


def job_names(local_sagemaker: Any, kind: str = "processing") -> list[str]:
    """Return the names of all jobs of a kind, oldest first."""
    client = local_sagemaker.client("sagemaker")
    pages = client.get_paginator(f"list_{kind}_jobs").paginate(SortBy="CreationTime", SortOrder="Ascending")
    member = f"{kind.capitalize()}Job"
    return [job[f"{member}Name"] for page in pages for job in page[f"{member}Summaries"]]


def steps_run(local_sagemaker: Any, kind: str = "processing") -> list[str]:
    """Return the steps that have started a job, by the part of the job's name that says so."""
    return [name.split("-")[2] for name in job_names(local_sagemaker, kind)]
