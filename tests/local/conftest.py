"""Fixtures for the tests of the local endpoint: clients of one endpoint per session, emptied for each test."""

from __future__ import annotations

from typing import Any

import pytest
from endpoint_support import BUCKET


@pytest.fixture(scope="session")
def local_sagemaker_settings() -> dict[str, Any]:
    return {"duration": 0.1}


@pytest.fixture(scope="session")
def clients(local_sagemaker_session):
    """Clients are expensive to make, and the endpoint is the same for all tests."""
    return {service: local_sagemaker_session.client(service) for service in ("sagemaker", "s3")}


@pytest.fixture
def sagemaker(local_sagemaker, clients):
    return clients["sagemaker"]


@pytest.fixture
def s3(local_sagemaker, clients):
    clients["s3"].create_bucket(Bucket=BUCKET)
    return clients["s3"]


@pytest.fixture
def state(local_sagemaker):
    return local_sagemaker._server.state
