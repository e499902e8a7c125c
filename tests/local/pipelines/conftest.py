"""Fixtures for the tests of pipeline executions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pipeline_support import Client


@pytest.fixture
def pipelines(local_sagemaker, clients):
    """A client with short words for what these tests do again and again."""
    return Client(local_sagemaker, clients["sagemaker"])


@pytest.fixture
def choose(local_sagemaker):
    """Choose what AWS leaves open, for one test."""
    state = local_sagemaker._server.state
    before = state.settings

    def choose(**changes):
        state.settings = replace(state.settings, pipelines=replace(state.settings.pipelines, **changes))

    choose(time_scale=0.01)
    yield choose
    state.settings = before
