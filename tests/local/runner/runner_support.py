"""What the tests of the runner share."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from airflow_sagemaker_pipelines.local.runner import Runner, RunResult

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client

ROLE = "arn:aws:iam::123456789012:role/Role"


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@dataclasses.dataclass
class Cloud:
    """A bucket, and the log of jobs."""

    url: str
    bucket: str
    s3: S3Client
    logs: CloudWatchLogsClient

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def put(self, key: str, body: str | bytes) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return self.uri(key)

    def put_tar(self, key: str, files: Mapping[str, str | bytes]) -> str:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, text in files.items():
                content = text.encode() if isinstance(text, str) else text
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return self.put(key, buffer.getvalue())

    def get(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def get_tar(self, key: str) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.get(key))) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}  # type: ignore[union-attr]

    def keys(self, prefix: str = "") -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def log(self, group: str, job: str) -> list[str]:
        try:
            streams = self.logs.describe_log_streams(
                logGroupName=f"/aws/sagemaker/{group}", logStreamNamePrefix=f"{job}/"
            )["logStreams"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [
            event["message"]
            for stream in streams
            for event in self.logs.get_log_events(
                logGroupName=f"/aws/sagemaker/{group}", logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]


class Background:
    """A run in a thread, as the endpoint does it."""

    def __init__(self, runner: Runner, kind: str, name: str, request: Mapping[str, Any]) -> None:
        self.stop = threading.Event()
        self.result: RunResult | None = None
        self.thread = threading.Thread(target=self._run, args=(runner, kind, name, request))
        self.thread.start()

    def _run(self, runner: Runner, kind: str, name: str, request: Mapping[str, Any]) -> None:
        self.result = runner.run(kind, name, request, self.stop)

    def end(self, timeout: float = 10) -> RunResult:
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "the run did not return"
        assert self.result is not None
        return self.result


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


def processing(script: str, **members: Any) -> dict[str, Any]:
    """A request that runs the script at an S3 URL as SDK's ScriptProcessor does."""
    name = script.rpartition("/")[2]
    inputs = [
        {
            "InputName": "code",
            "S3Input": {"S3Uri": script, "LocalPath": "/opt/ml/processing/input/code", "S3DataType": "S3Prefix"},
        },
        *members.pop("ProcessingInputs", []),
    ]
    application = {
        "ImageUri": "1.dkr.ecr.us-east-1.amazonaws.com/image:1",
        "ContainerEntrypoint": ["python3", f"/opt/ml/processing/input/code/{name}"],
        "ContainerArguments": members.pop("ContainerArguments", []),
    }
    return {
        "AppSpecification": application,
        "RoleArn": ROLE,
        "ProcessingInputs": inputs,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        **members,
    }


def living(marker: str) -> list[int]:
    """Processes that carry the marker on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
