"""Connections for triggers' tests."""

from __future__ import annotations

import pytest

from tests.triggers.faulty_proxy import faulty_proxy


@pytest.fixture
def proxy(local_sagemaker, monkeypatch):
    """A proxy of the endpoint that fails as told; the Airflow connection ``proxied`` goes through it."""
    with faulty_proxy(local_sagemaker.url) as running:
        monkeypatch.setenv("AIRFLOW_CONN_PROXIED", running.connection())
        yield running
