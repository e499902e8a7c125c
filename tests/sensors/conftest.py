"""What tests of sensors share."""

from __future__ import annotations

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_sagemaker_pipelines.triggers import pace


@pytest.fixture
def server(local_sagemaker, monkeypatch):
    """The server that tasks talk to."""
    # It speaks Airflow 3.3's language; whole runs do without it, and so go on older versions too.
    from tests.operators.worker import Server

    running = Server()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", running, raising=False)
    return running


@pytest.fixture
def hasty(monkeypatch):
    """Let what failed be repeated soon."""
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.01)
