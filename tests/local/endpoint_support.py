"""Requests and waits for the tests of the local endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:1"
BUCKET = "local-bucket"


def training_request(name: str = "train-1", **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **more,
    }


def processing_request(name: str = "process-1", **more: Any) -> dict[str, Any]:
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
    output = {"S3Uri": f"s3://{BUCKET}/evaluation", "LocalPath": "/opt/ml/processing/evaluation"}
    return {
        "ProcessingJobName": name,
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
        "Environment": {"STAGE": "test"},
        "ProcessingOutputConfig": {
            "Outputs": [{"OutputName": "evaluation", "S3Output": {**output, "S3UploadMode": "EndOfJob"}}]
        },
        **more,
    }


def transform_request(name: str = "transform-1", **more: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}
    return {
        "TransformJobName": name,
        "ModelName": "model-1",
        "TransformInput": {"DataSource": {"S3DataSource": source}},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        **more,
    }


def tuning_request(name: str = "tune-1", *, total: int = 4, parallel: int = 2, **more: Any) -> dict[str, Any]:
    training = training_request()
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "val:acc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": total, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5"}],
                "IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "8"}],
                "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}],
            },
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"rounds": "10"},
            "AlgorithmSpecification": {
                **training["AlgorithmSpecification"],
                "MetricDefinitions": [{"Name": "val:acc", "Regex": "acc=(.*)"}],
            },
            **{key: training[key] for key in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")},
        },
        **more,
    }


def auto_ml_request(name: str = "automl-1", **more: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}
    return {
        "AutoMLJobName": name,
        "InputDataConfig": [{"DataSource": {"S3DataSource": source}, "TargetAttributeName": "y"}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/automl"},
        "RoleArn": ROLE,
        **more,
    }


def auto_ml_v2_request(name: str = "automl-2") -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}
    return {
        "AutoMLJobName": name,
        "AutoMLJobInputDataConfig": [{"DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/automl"},
        "AutoMLProblemTypeConfig": {"TabularJobConfig": {"TargetAttributeName": "y"}},
        "RoleArn": ROLE,
    }


def create_model(sagemaker: Any, name: str = "model-1") -> str:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    answer = sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    return str(answer["ModelArn"])


def create_endpoint_config(sagemaker: Any, name: str = "config-1", model: str = "model-1") -> str:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    answer = sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    return str(answer["EndpointConfigArn"])


def package_request(group: str = "group-1", **more: Any) -> dict[str, Any]:
    return {
        "ModelPackageGroupName": group,
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        **more,
    }


def until(ask: Callable[[], Any], wanted: Callable[[Any], bool] = bool, *, seconds: float = 10.0) -> Any:
    """Ask until the answer is wanted; fail with the last answer."""
    deadline = time.monotonic() + seconds
    while not wanted(answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s; last answer: {answer}")
        time.sleep(0.02)
    return answer


def wait_training(sagemaker: Any, name: str) -> dict[str, Any]:
    return until(
        lambda: sagemaker.describe_training_job(TrainingJobName=name),
        lambda answer: answer["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"),
    )


def wait_processing(sagemaker: Any, name: str) -> dict[str, Any]:
    return until(
        lambda: sagemaker.describe_processing_job(ProcessingJobName=name),
        lambda answer: answer["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped"),
    )


def wait_transform(sagemaker: Any, name: str) -> dict[str, Any]:
    return until(
        lambda: sagemaker.describe_transform_job(TransformJobName=name),
        lambda answer: answer["TransformJobStatus"] in ("Completed", "Failed", "Stopped"),
    )


def wait_tuning(sagemaker: Any, name: str) -> dict[str, Any]:
    return until(
        lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
        lambda answer: answer["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped"),
    )


def wait_endpoint(sagemaker: Any, name: str, *statuses: str) -> dict[str, Any]:
    return until(
        lambda: sagemaker.describe_endpoint(EndpointName=name),
        lambda answer: answer["EndpointStatus"] in (statuses or ("InService", "Failed")),
    )


def keys(s3: Any) -> list[str]:
    return sorted(item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []))
