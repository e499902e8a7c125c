"""What tests of tasks on a worker share."""

from __future__ import annotations

import pytest
from airflow.sdk.execution_time import task_runner

from tests.operators.worker import Server
from tests.triggers.faulty_proxy import faulty_proxy


@pytest.fixture
def server(local_sagemaker, monkeypatch):
    """The server that tasks talk to."""
    running = Server()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", running, raising=False)
    return running


@pytest.fixture
def proxy(local_sagemaker, monkeypatch):
    """A proxy of the endpoint that fails as told; the Airflow connection ``proxied`` goes through it."""
    with faulty_proxy(local_sagemaker.url) as running:
        monkeypatch.setenv("AIRFLOW_CONN_PROXIED", running.connection())
        yield running
