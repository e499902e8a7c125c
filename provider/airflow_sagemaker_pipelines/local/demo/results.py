"""What a run has made, read back from S3 and from the model registry."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console

from airflow_sagemaker_pipelines.local.demo.assets import split_uri
from airflow_sagemaker_pipelines.local.demo.endpoint import Endpoint
from airflow_sagemaker_pipelines.local.demo.rows import find
from airflow_sagemaker_pipelines.local.demo.run import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


def print_results(console: Console, endpoint: Endpoint, run: Run) -> None:
    """Print metrics, model artifact, model package and transform output, as far as the run has made them."""
    s3, sagemaker = endpoint.s3(), endpoint.sagemaker()
    for result in run.results.values():
        for title, value in [*reports(s3, result), *artifacts(s3, result), *packages(sagemaker, result)]:
            console.print(f"[bold]{title}[/bold]", highlight=False)
            console.print(value, markup=False, soft_wrap=True)


def reports(s3: "S3Client", result: Any) -> Iterator[tuple[str, str]]:
    """The JSON files that a processing job has written: metrics."""
    outputs = (find(result, "ProcessingOutputConfig") or {}).get("Outputs") or []
    for output in outputs:
        for uri, _size in objects(s3, find(output, "S3Uri")):
            if uri.endswith(".json"):
                bucket, key = split_uri(uri)
                content = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
                yield "Metrics", f"{uri}\n{json.dumps(content, indent=2)}"


def artifacts(s3: "S3Client", result: Any) -> Iterator[tuple[str, str]]:
    """The model of a training job with its metrics, and the output of a transform job."""
    metrics = find(result, "FinalMetricDataList") or []
    values = ", ".join(f"{metric['MetricName']} {metric['Value']}" for metric in metrics)
    for title, prefix, note in (
        ("Model artifact", find(result, "S3ModelArtifacts"), values),
        ("Batch transform output", (find(result, "TransformOutput") or {}).get("S3OutputPath"), ""),
    ):
        for uri, size in objects(s3, prefix):
            yield title, "  ".join(filter(None, [uri, f"{size} bytes", note]))


def packages(sagemaker: "SageMakerClient", result: Any) -> Iterator[tuple[str, str]]:
    """The model package that a step has registered, as its group lists it."""
    arn = find(result, "ModelPackageArn")
    group = find(result, "ModelPackageGroupName")
    if arn is None or group is None:
        return
    for package in sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]:
        if package["ModelPackageArn"] == arn:
            status = f"{package['ModelPackageStatus']}, {package.get('ModelApprovalStatus')}"
            yield "Registered model package", f"{arn}  {status}"


def objects(s3: "S3Client", prefix: str | None) -> list[tuple[str, int]]:
    """The objects at or below an S3 URI: URI and size in bytes."""
    if not prefix:
        return []
    bucket, key = split_uri(prefix)
    found = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
    return [(f"s3://{bucket}/{item['Key']}", item["Size"]) for item in found]
