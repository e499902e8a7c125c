"""Builds one DAG in a fresh process and prints what that cost, as JSON.

    python dag_build.py ours|amazon <number of tasks>

Both sides make the same chain of training jobs: ours from a definition's JSON, the other by hand with the operators of
the Amazon provider.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import datetime
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/service-role/AmazonSageMaker-ExecutionRole"
IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def channel(name: str) -> dict[str, Any]:
    """Return one input channel as the SageMaker SDK writes it."""
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://sagemaker-eu-west-1-123456789012/abalone/{name}",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"DataSource": {"S3DataSource": source}, "ContentType": "text/csv", "ChannelName": name}


def training_request() -> dict[str, Any]:
    """Return a training request of about 1.8 kB of JSON, as the SageMaker SDK's XGBoost estimator makes it."""
    return {
        "AlgorithmSpecification": {
            "TrainingInputMode": "File",
            "TrainingImage": IMAGE,
            "MetricDefinitions": [{"Name": "validation:rmse", "Regex": ".*\\[[0-9]+\\].*#011validation-rmse:(\\S+)"}],
        },
        "OutputDataConfig": {"S3OutputPath": "s3://sagemaker-eu-west-1-123456789012/abalone/models"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "ResourceConfig": {"VolumeSizeInGB": 30, "InstanceCount": 1, "InstanceType": "ml.m5.xlarge"},
        "RoleArn": ROLE,
        "InputDataConfig": [channel("train"), channel("validation")],
        "HyperParameters": {
            "objective": "reg:squarederror",
            "num_round": "50",
            "max_depth": "5",
            "eta": "0.2",
            "gamma": "4",
            "min_child_weight": "6",
            "subsample": "0.7",
        },
        "Environment": {"STAGE": "production", "TEAM": "forecasting"},
        "DebugHookConfig": {
            "S3OutputPath": "s3://sagemaker-eu-west-1-123456789012/abalone/debug",
            "CollectionConfigurations": [],
        },
        "ProfilerConfig": {
            "S3OutputPath": "s3://sagemaker-eu-west-1-123456789012/abalone/profile",
            "DisableProfiler": False,
        },
        "Tags": [{"Key": "project", "Value": "abalone"}, {"Key": "cost-centre", "Value": "4711"}],
    }


def build_ours(count: int) -> tuple[float, float, Any]:
    """Return seconds to import, seconds to build, and the DAG."""
    steps = [
        {
            "Name": f"Train{index}",
            "Type": "Training",
            "Arguments": training_request(),
            **({"DependsOn": [f"Train{index - 1}"]} if index else {}),
        }
        for index in range(count)
    ]
    text = json.dumps({"Version": "2020-12-01", "Steps": steps})
    start = time.perf_counter()
    from airflow_sagemaker_pipelines.dags import pipeline_dag

    imported = time.perf_counter()
    dag = pipeline_dag("bench", text, start_date=datetime(2026, 1, 1))
    return imported - start, time.perf_counter() - imported, dag


def build_amazon(count: int) -> tuple[float, float, Any]:
    """Return the same for a DAG written by hand."""
    from airflow.sdk import DAG

    start = time.perf_counter()
    from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator

    imported = time.perf_counter()
    with DAG("bench", start_date=datetime(2026, 1, 1)) as dag:
        previous = None
        for index in range(count):
            config = training_request() | {"TrainingJobName": f"Train{index}"}
            task = SageMakerTrainingOperator(task_id=f"Train{index}", config=config, deferrable=True)
            if previous is not None:
                previous >> task
            previous = task
    return imported - start, time.perf_counter() - imported, dag


def main() -> None:
    """Print the figures of one side."""
    import airflow.sdk
    from airflow.sdk import DAG, Param, TaskGroup  # noqa: F401  both sides need them; they are not what is compared

    side, count = sys.argv[1], int(sys.argv[2])
    import_seconds, build_seconds, dag = {"ours": build_ours, "amazon": build_amazon}[side](count)
    boto3 = "boto3" in sys.modules
    from airflow.serialization.serialized_objects import DagSerialization

    size = len(json.dumps(DagSerialization.to_dict(dag)))
    figures = {
        "airflow": airflow.sdk.__version__,
        "import_ms": import_seconds * 1000,
        "build_ms": build_seconds * 1000,
        "serialized_bytes": size,
        "request_bytes": len(json.dumps(training_request())),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "imports_boto3": boto3,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
