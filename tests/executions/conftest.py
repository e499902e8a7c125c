"""Clients of the local endpoint, for tests of what is done to executions."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.local import engine
from tests.steps.types.step_runs import EndpointClients


@pytest.fixture
def clients(local_sagemaker):
    return EndpointClients(local_sagemaker)


@pytest.fixture
def once(local_sagemaker):
    """Clients whose calls are one request each: a fault is not botocore's to mend."""
    return EndpointClients(local_sagemaker, retries={"total_max_attempts": 1})


@pytest.fixture(autouse=True)
def _jobs_stop_at_once(monkeypatch):
    monkeypatch.setattr(engine, "STOP_LIMIT", 0.0)
