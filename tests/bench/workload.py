"""What both sides run: training jobs, from a pipeline's definition and from a DAG written by hand."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG

BUCKET = "sagemaker-eu-west-1-123456789012"
ROLE = "arn:aws:iam::123456789012:role/service-role/AmazonSageMaker-ExecutionRole"
IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"
CHANNELS = ("train", "validation")
START_DATE = datetime(2026, 1, 1)


def channel(name: str) -> dict[str, Any]:
    """Return one input channel as the SageMaker SDK writes it."""
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{BUCKET}/abalone/{name}",
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
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/abalone/models"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "ResourceConfig": {"VolumeSizeInGB": 30, "InstanceCount": 1, "InstanceType": "ml.m5.xlarge"},
        "RoleArn": ROLE,
        "InputDataConfig": [channel(name) for name in CHANNELS],
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
        "DebugHookConfig": {"S3OutputPath": f"s3://{BUCKET}/abalone/debug", "CollectionConfigurations": []},
        "ProfilerConfig": {"S3OutputPath": f"s3://{BUCKET}/abalone/profile", "DisableProfiler": False},
        "Tags": [{"Key": "project", "Value": "abalone"}, {"Key": "cost-centre", "Value": "4711"}],
    }


def step_name(index: int) -> str:
    """Return the name of a step, which its job's name contains."""
    return f"Train{index}"


def definition(count: int, *, chained: bool = True) -> str:
    """Return a pipeline of training steps, one after the other or side by side."""
    steps = [
        {
            "Name": step_name(index),
            "Type": "Training",
            "Arguments": training_request(),
            **({"DependsOn": [step_name(index - 1)]} if chained and index else {}),
        }
        for index in range(count)
    ]
    return json.dumps({"Version": "2020-12-01", "Steps": steps})


def ours(dag_id: str, text: str, **arguments: Any) -> DAG:
    """Make the DAG of a definition."""
    from airflow_sagemaker_pipelines.dags import pipeline_dag

    return pipeline_dag(dag_id, text, start_date=START_DATE, schedule=None, **arguments)


def amazon(dag_id: str, count: int, *, chained: bool = True, **arguments: Any) -> DAG:
    """Make the same DAG by hand, of the Amazon provider's operators.

    :param arguments: of each operator.
    """
    from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
    from airflow.sdk import DAG

    with DAG(dag_id, start_date=START_DATE, schedule=None) as dag:
        previous = None
        for index in range(count):
            name = step_name(index)
            task = SageMakerTrainingOperator(
                task_id=name,
                config=training_request() | {"TrainingJobName": f"bench-{name}"},
                # Its default is to follow the job's log, which this package does not do either.
                print_log=False,
                **arguments,
            )
            if chained and previous is not None:
                previous >> task
            previous = task
    return dag


def amazon_pipeline(dag_id: str, _text: str, **arguments: Any) -> DAG:
    """Make a DAG that runs a pipeline, which is there already, as one task of the Amazon provider's.

    :param arguments: of the operator, among them the pipeline's name.
    """
    from airflow.providers.amazon.aws.operators.sagemaker import SageMakerStartPipelineOperator
    from airflow.sdk import DAG

    with DAG(dag_id, start_date=START_DATE, schedule=None) as dag:
        SageMakerStartPipelineOperator(task_id="pipeline", deferrable=True, **arguments)
    return dag
