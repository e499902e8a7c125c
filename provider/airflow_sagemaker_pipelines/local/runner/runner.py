"""The runner: one call per job, from request to verdict."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from airflow_sagemaker_pipelines.local.runner import processing, training, transform
from airflow_sagemaker_pipelines.local.runner.container import Container, OptMl, choose_mode
from airflow_sagemaker_pipelines.local.runner.log_stream import LogStream
from airflow_sagemaker_pipelines.local.runner.results import REASON_LIMIT, CannotRunError, JobError, RunResult
from airflow_sagemaker_pipelines.local.runner.s3_transfer import S3Transfer
from airflow_sagemaker_pipelines.local.runner.work import Work

STOP_GRACE_SECONDS = 5.0
"""From SIGTERM to SIGKILL. SageMaker gives 120 seconds; nobody waits that long at a desk."""

_GROUPS = {"processing": "ProcessingJobs", "training": "TrainingJobs", "transform": "TransformJobs"}


class Runner:
    """Runs job requests against the S3 and CloudWatch Logs of the endpoint at ``endpoint_url``. Thread-safe.

    :param opt_ml: how jobs get their ``/opt/ml``; by default what the environment variable
        ``LOCAL_SAGEMAKER_OPT_ML`` says, else what works on this machine.
    :param stop_grace: seconds between SIGTERM and SIGKILL when a job is stopped.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        region: str,
        opt_ml: OptMl | None = None,
        stop_grace: float = STOP_GRACE_SECONDS,
    ) -> None:
        self.region = region
        self.mode = choose_mode(opt_ml)
        self._endpoint_url = endpoint_url
        self._grace = stop_grace
        session = boto3.session.Session(
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106 - any will do  # pragma: allowlist secret
            region_name=region,
        )
        config = Config(
            max_pool_connections=50,  # one client serves all jobs at once
            proxies={},  # the endpoint is on this machine
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path"},
            user_agent_extra="local-runner",  # lets an endpoint that injects faults spare its own calls
        )
        self._s3 = session.client("s3", endpoint_url=endpoint_url, config=config)
        self._logs = session.client("logs", endpoint_url=endpoint_url, config=config)

    def run(
        self,
        kind: str,
        name: str,
        request: Mapping[str, Any],
        stop: threading.Event,
        *,
        model: Mapping[str, Any] | None = None,
    ) -> RunResult | None:
        """Run one job and wait for its end.

        :param kind: ``processing``, ``training`` or ``transform``.
        :param name: the job's name.
        :param request: body of the Create…Job call; never changed.
        :param stop: set it to stop the job: SIGTERM, then SIGKILL; the result says ``stopped``.
        :param model: for a transform job, body of the CreateModel call of its model.
        :return: how it ended; None if nothing here can stand in for its image (the job's log says why).
        """
        if kind not in _GROUPS:
            return None
        if stop.is_set():
            return RunResult(succeeded=False, stopped=True)
        with (
            Container(self.mode, endpoint_url=self._endpoint_url, region=self.region) as container,
            LogStream(self._logs, f"/aws/sagemaker/{_GROUPS[kind]}", _stream(kind, name)) as log,
        ):
            work = Work(
                name=name,
                request=request,
                region=self.region,
                container=container,
                transfer=S3Transfer(self._s3, self.region),
                log=log.write,
                stop=stop,
                grace=self._grace,
            )
            try:
                if kind == "transform":
                    return transform.run(work, model or {})
                return processing.run(work) if kind == "processing" else training.run(work)
            except CannotRunError as error:
                work.note(f"not run: {error}")
                return None
            except JobError as error:
                if stop.is_set():
                    return RunResult(succeeded=False, stopped=True)
                work.note(str(error))
                return RunResult(succeeded=False, failure_reason=str(error)[:REASON_LIMIT])


def _stream(kind: str, name: str) -> str:
    host = "algo-1"
    if kind == "transform":
        host = f"i-{hashlib.sha256(name.encode()).hexdigest()[:17]}"
    return f"{name}/{host}-{int(time.time())}"
