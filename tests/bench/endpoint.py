"""Local AWS endpoints, one for each thing that is measured, so that its calls are counted alone."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from airflow_sagemaker_pipelines.local.demo.endpoint import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    START_SECONDS,
    Endpoint,
    clean_environment,
)
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components, python
from airflow_sagemaker_pipelines.steps.events import create_event_queue
from tests.bench.workload import BUCKET, CHANNELS

ACCOUNT = "123456789012"
EVENTS = "airflow-sagemaker-events"
DESCRIBE = "sagemaker.DescribeTrainingJob"


@dataclass(frozen=True)
class CountingEndpoint(Endpoint):
    """A running endpoint."""

    name: str

    @property
    def connection(self) -> dict[str, Any]:
        """An Airflow connection to it."""
        extra = {"endpoint_url": self.url, "region_name": REGION}
        return {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY, "extra": extra}

    def prepare(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Forget everything; then have the bucket with the jobs' input, and rules for the jobs."""
        self._ask("/_local/reset", {})
        if rules:
            self._ask("/_local/rules", list(rules))
        s3 = self.s3()
        s3.create_bucket(Bucket=BUCKET)
        for name in CHANNELS:
            s3.put_object(Bucket=BUCKET, Key=f"abalone/{name}/data.csv", Body=b"1,2,3\n")
        self.clear_calls()

    @property
    def event_queue_url(self) -> str:
        """Where the queue of :meth:`make_event_queue` is."""
        return f"{self.url}/{ACCOUNT}/{EVENTS}"

    def make_event_queue(self) -> None:
        """Have a queue that is told when jobs end."""
        create_event_queue(
            lambda service: boto3.client(service, **self._client_options()), queue_name=EVENTS, rule_name=EVENTS
        )
        self.clear_calls()

    def calls(self) -> Counter[str]:
        """How often it was asked for each operation, by ``service.Operation``."""
        return Counter(self._ask("/_local/calls"))

    def clear_calls(self) -> None:
        """Begin to count at zero."""
        self._ask("/_local/calls", method="DELETE")

    def _ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        data = None if body is None else json.dumps(body).encode()
        with opener.open(urllib.request.Request(f"{self.url}{path}", data=data, method=method), timeout=60) as answer:
            return json.load(answer)


def start_endpoint(components: Components, home: Path, name: str) -> CountingEndpoint:
    """Start an endpoint whose jobs take an hour, unless told otherwise.

    :param name: a word.
    """
    port_file = home / f"{name}.port"
    command = python("-m", "airflow_sagemaker_pipelines.local", "--port", "0", "--port-file", str(port_file))
    components.start(f"endpoint {name}", [*command, "--duration", "3600"], env=clean_environment())

    def listens() -> bool:
        components.check()
        return port_file.exists()

    Interrupts().wait_until(f"The endpoint {name} does not listen", listens, timeout=START_SECONDS)
    return CountingEndpoint(f"http://127.0.0.1:{port_file.read_text().strip()}", name)


def job_times(endpoint: CountingEndpoint) -> dict[str, tuple[float, float]]:
    """Return by the name of each training job that has ended when it was created and when it ended, as Unix times."""
    pages = endpoint.sagemaker().get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 100})
    return {
        job["TrainingJobName"]: (job["CreationTime"].timestamp(), job["TrainingEndTime"].timestamp())
        for page in pages
        for job in page["TrainingJobSummaries"]
        if "TrainingEndTime" in job
    }
