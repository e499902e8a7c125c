"""Fixtures for the tests of pipeline executions."""

from __future__ import annotations

import pytest
from pipeline_support import Client


@pytest.fixture
def pipelines(local_sagemaker, clients):
    """A client with short words for what these tests do again and again."""
    return Client(local_sagemaker, clients["sagemaker"])


@pytest.fixture
def choose(local_sagemaker):
    """Choose what AWS leaves open, for one test; retries wait for hundredths of a second."""
    local_sagemaker.choose(time_scale=0.01)
    return local_sagemaker.choose
