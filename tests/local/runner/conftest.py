"""S3 and CloudWatch Logs over HTTP, and a runner in each mode of ``/opt/ml``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from runner_support import Background, Cloud, client

from airflow_sagemaker_pipelines.local.runner import OptMl, Runner
from airflow_sagemaker_pipelines.local.runner.container import _can_bind


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def clients(moto_url: str) -> tuple[Any, Any]:
    return client("s3", moto_url), client("logs", moto_url)


@pytest.fixture
def cloud(moto_url: str, clients: tuple[Any, Any]) -> Cloud:
    s3, logs = clients
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    return Cloud(moto_url, bucket, s3, logs)


@pytest.fixture(scope="session")
def runners(moto_url: str) -> dict[OptMl, Runner]:
    return {mode: Runner(endpoint_url=moto_url, region="us-east-1", opt_ml=mode, stop_grace=1.0) for mode in OptMl}


@pytest.fixture(params=list(OptMl), ids=lambda mode: mode.value)
def runner(request: pytest.FixtureRequest, runners: dict[OptMl, Runner]) -> Runner:
    """Each test with it runs twice: with ``/opt/ml`` bound, and rewritten."""
    if request.param is OptMl.BIND and not _can_bind():
        pytest.skip("no mount namespaces here")
    return runners[request.param]


@pytest.fixture
def any_runner(runners: dict[OptMl, Runner]) -> Runner:
    """For what does not depend on the mode: what this machine can do best."""
    return runners[OptMl.BIND if _can_bind() else OptMl.REWRITE]


@pytest.fixture
def in_background() -> Iterator[Callable[..., Background]]:
    started: list[Background] = []

    def start(runner: Runner, *arguments: Any) -> Background:
        started.append(Background(runner, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.stop.set()
        one.thread.join(10)
