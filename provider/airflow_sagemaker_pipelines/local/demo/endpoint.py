"""The demo's AWS: the local endpoint, running the jobs' code."""

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components, python

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

REGION = "us-east-1"
ACCESS_KEY, SECRET_KEY = "local", "local"
START_SECONDS = 60.0


def clean_environment() -> dict[str, str]:
    """The caller's environment without its Airflow, without its AWS account, and without a proxy for loopback."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_"))}
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    return env | {
        # Nothing of the demo may reach a real account, whatever lies in the home directory.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True)
class Endpoint:
    """A running local endpoint."""

    url: str

    def _client_options(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "config": Config(proxies={}, retries={"total_max_attempts": 2}, read_timeout=20),
        }

    def s3(self) -> "S3Client":
        """An S3 client of the endpoint."""
        return boto3.client("s3", **self._client_options())

    def sagemaker(self) -> "SageMakerClient":
        """A SageMaker client of the endpoint."""
        return boto3.client("sagemaker", **self._client_options())


def start_endpoint(components: Components, interrupts: Interrupts, home: Path, env: Mapping[str, str]) -> Endpoint:
    """Start the endpoint on a free port of loopback and wait until it answers."""
    port_file = home / "endpoint.port"
    command = python("-m", "airflow_sagemaker_pipelines.local", "--port", "0", "--port-file", str(port_file))
    components.start("local endpoint", [*command, "--run-code"], env=env, cwd=home)

    def has_port() -> bool:
        components.check()
        return port_file.exists() and port_file.read_text().strip().isdigit()

    interrupts.wait_until("The local endpoint has not written its port", has_port, timeout=START_SECONDS)
    endpoint = Endpoint(f"http://127.0.0.1:{port_file.read_text().strip()}")

    def is_healthy() -> bool:
        components.check()
        return _answers(f"{endpoint.url}/_local/health")

    interrupts.wait_until("The local endpoint does not answer", is_healthy, timeout=START_SECONDS)
    return endpoint


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)  # noqa: PLR2004 - HTTP
    except (urllib.error.URLError, OSError):
        return False
