"""The table of statuses against botocore's own enums."""

from __future__ import annotations

import boto3
import pytest

from airflow_sagemaker_pipelines.steps.status import VERDICTS, Verdict, verdict


@pytest.fixture(scope="module")
def sagemaker_model():
    return boto3.client("sagemaker", region_name="us-east-1").meta.service_model


@pytest.mark.parametrize("shape", sorted(VERDICTS))
def test_every_status_that_aws_knows_has_a_verdict(sagemaker_model, shape):
    assert set(VERDICTS[shape]) == set(sagemaker_model.shape_for(shape).enum)


@pytest.mark.parametrize("shape", sorted(VERDICTS))
def test_only_a_completed_status_is_a_success(shape):
    successes = {status for status, meaning in VERDICTS[shape].items() if meaning is Verdict.SUCCEEDED}

    assert successes == {"Completed"}


@pytest.mark.parametrize("status", [None, "", "Finished", "completed", 7])
def test_a_missing_or_unheard_of_status_is_neither_a_success_nor_final(status):
    assert verdict("TrainingJobStatus", status) is Verdict.UNKNOWN
    assert not Verdict.UNKNOWN.is_final


def test_a_stopped_job_has_not_succeeded():
    assert verdict("ProcessingJobStatus", "Stopped") is Verdict.STOPPED
    assert Verdict.STOPPED.is_final
