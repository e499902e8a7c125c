"""The table of statuses against botocore's own enums."""

from __future__ import annotations

import functools

import boto3
import pytest

from airflow_sagemaker_pipelines.steps.status import VERDICTS, Verdict, is_beyond_update, verdict

#: Enums of other services than SageMaker.
SERVICES = {
    "StepState": "emr",
    "ClusterState": "emr",
    "JobRunState": "emr-serverless",
    "ApplicationState": "emr-serverless",
}
#: What is a success, where it is not "Completed".
SUCCESSES = {
    "StepStatus": {"Succeeded"},
    # Told apart by the status itself.
    "PipelineExecutionStatus": {"Succeeded", "CompletedWithFailures"},
    "ModelApprovalStatus": {"Approved"},
    "EndpointStatus": {"InService"},
    "InferenceComponentStatus": {"InService"},
    "StepState": {"COMPLETED"},
    # The step of a cluster succeeds, not the cluster.
    "ClusterState": set(),
    "JobRunState": {"SUCCESS"},
    # An application that takes jobs.
    "ApplicationState": {"CREATED", "STARTING", "STARTED", "STOPPED"},
}


@functools.cache
def service_model(service):
    return boto3.client(service, region_name="us-east-1").meta.service_model


@pytest.mark.parametrize("shape", sorted(VERDICTS))
def test_every_status_that_aws_knows_has_a_verdict(shape):
    model = service_model(SERVICES.get(shape, "sagemaker"))

    assert set(VERDICTS[shape]) == set(model.shape_for(shape).enum)


@pytest.mark.parametrize("shape", sorted(VERDICTS))
def test_only_one_status_of_each_kind_is_a_success(shape):
    successes = {status for status, meaning in VERDICTS[shape].items() if meaning is Verdict.SUCCEEDED}

    assert successes == SUCCESSES.get(shape, {"Completed"})


@pytest.mark.parametrize("status", [None, "", "Finished", "completed", 7])
def test_a_missing_or_unheard_of_status_is_neither_a_success_nor_final(status):
    assert verdict("TrainingJobStatus", status) is Verdict.UNKNOWN
    assert not Verdict.UNKNOWN.is_final


def test_a_stopped_job_has_not_succeeded():
    assert verdict("ProcessingJobStatus", "Stopped") is Verdict.STOPPED
    assert Verdict.STOPPED.is_final


@pytest.mark.parametrize("shape", ["EndpointStatus", "InferenceComponentStatus"])
def test_what_is_being_changed_is_not_over(shape):
    changing = {status for status in VERDICTS[shape] if status.endswith("ing") and status != "Deleting"}

    assert {VERDICTS[shape][status] for status in changing} == {Verdict.RUNNING}


def test_a_failed_endpoint_cannot_be_updated_and_a_half_rolled_back_one_can():
    assert is_beyond_update("EndpointStatus", "Failed")
    assert not is_beyond_update("EndpointStatus", "UpdateRollbackFailed")
    assert not is_beyond_update("InferenceComponentStatus", None)


@pytest.mark.parametrize("status", ["Stopping", "Stopped", "Failed"])
def test_a_retry_makes_do_with_nothing_that_has_failed_or_is_being_stopped(status):
    assert not verdict("TrainingJobStatus", status).is_wanted


@pytest.mark.parametrize("status", ["InProgress", "Completed"])
def test_a_retry_makes_do_with_what_runs_or_has_succeeded(status):
    assert verdict("TrainingJobStatus", status).is_wanted


def test_a_job_that_is_being_stopped_has_not_ended():
    assert not verdict("TrainingJobStatus", "Stopping").is_final
