"""Connections for triggers' tests."""

from __future__ import annotations

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_sagemaker_pipelines.local import engine
from airflow_sagemaker_pipelines.triggers import execution_watch, pace, pipeline, pipeline_execution
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


@pytest.fixture
def jobs_stop_at_once(monkeypatch):
    """Let a stopped job have ended before the answer to the call."""
    monkeypatch.setattr(engine, "STOP_LIMIT", 0.0)


@pytest.fixture
def hasty(monkeypatch):
    """Let looks at executions come soon after each other, also after failures."""
    monkeypatch.setattr(execution_watch, "_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.01)


@pytest.fixture
def hasty_triggers(hasty, jobs_stop_at_once, monkeypatch):
    """Let triggers that wait in executions do everything soon."""
    monkeypatch.setattr(pipeline, "_NOTE_INTERVAL", 0.05)
    monkeypatch.setattr(pipeline, "_EARLIEST_RESUMPTION_SECONDS", 0.1)
    monkeypatch.setattr(pipeline_execution, "_TASKS_INTERVAL", 0.05)
