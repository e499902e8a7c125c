"""Fixtures for the tests of step types."""

from __future__ import annotations

import pytest

from tests.steps.types.step_runs import BUCKET, step_run


@pytest.fixture
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


@pytest.fixture
def run_of(local_sagemaker):
    """Give a run of one step."""

    def make(step, **keys):
        return step_run(local_sagemaker, step, **keys)

    return make
