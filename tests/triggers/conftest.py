"""Connections for triggers' tests."""

from __future__ import annotations

import pytest
from airflow.sdk.execution_time import task_runner

from tests.triggers.executions import RunServer
from tests.triggers.faulty_proxy import faulty_proxy


@pytest.fixture
def proxy(local_sagemaker, monkeypatch):
    """A proxy of the endpoint that fails as told; the Airflow connection ``proxied`` goes through it."""
    with faulty_proxy(local_sagemaker.url) as running:
        monkeypatch.setenv("AIRFLOW_CONN_PROXIED", running.connection())
        yield running


@pytest.fixture
def run_server(local_sagemaker, monkeypatch):
    """The server that triggers ask for states and XComs."""
    running = RunServer()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", running, raising=False)
    return running
