"""Jobs whose code is run, with a runner that does as it is told: what the endpoint makes of the runner's word."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading

import pytest
from endpoint_support import (
    BUCKET,
    create_model,
    keys,
    processing_request,
    training_request,
    transform_request,
    until,
    wait_processing,
    wait_training,
    wait_transform,
)

from airflow_sagemaker_pipelines.local.runner import Metric, RunResult


class FakeRunner:
    """Stands in for the runner: answers with what the test put there."""

    def __init__(self):
        self.calls = []
        self.answer = lambda stop: RunResult(succeeded=True)

    def run(self, kind, name, request, stop, *, model=None):
        self.calls.append((kind, name, request, model))
        return self.answer(stop)


@pytest.fixture
def runner(state, monkeypatch):
    fake = FakeRunner()
    monkeypatch.setattr(state, "settings", dataclasses.replace(state.settings, run_code=True))
    monkeypatch.setattr(state, "_runner", fake)
    return fake


def stopped(stop):
    stop.wait(10)
    return RunResult(succeeded=False, stopped=True)


def test_a_job_is_in_progress_until_its_code_ends(sagemaker, runner):
    go = threading.Event()
    runner.answer = lambda stop: RunResult(succeeded=go.wait(10), exit_message="done")
    sagemaker.create_processing_job(**processing_request())

    until(lambda: runner.calls)
    job = sagemaker.describe_processing_job(ProcessingJobName="process-1")
    assert job["ProcessingJobStatus"] == "InProgress"
    go.set()

    job = wait_processing(sagemaker, "process-1")
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "done")
    assert runner.calls[0][:2] == ("processing", "process-1")
    assert runner.calls[0][2]["Environment"] == {"STAGE": "test"}


def test_the_runners_failure_is_the_jobs_failure(sagemaker, runner):
    reason = "AlgorithmError: division by zero, exit code: 1"
    runner.answer = lambda stop: RunResult(succeeded=False, failure_reason=reason)
    sagemaker.create_training_job(**training_request())

    job = wait_training(sagemaker, "train-1")

    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", reason)


def test_metrics_of_the_code_are_the_final_metrics(sagemaker, runner):
    moment = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    runner.answer = lambda stop: RunResult(succeeded=True, metrics=(Metric(name="auc", value=0.8, timestamp=moment),))
    sagemaker.create_training_job(**training_request())

    metric = wait_training(sagemaker, "train-1")["FinalMetricDataList"][0]

    assert (metric["MetricName"], metric["Timestamp"]) == ("auc", moment)
    assert metric["Value"] == pytest.approx(0.8)


def test_stopping_a_job_ends_its_code(sagemaker, runner):
    runner.answer = stopped
    sagemaker.create_training_job(**training_request())
    until(lambda: runner.calls)

    sagemaker.stop_training_job(TrainingJobName="train-1")

    assert wait_training(sagemaker, "train-1")["TrainingJobStatus"] == "Stopped"


def test_code_that_ran_out_of_time_is_max_runtime_exceeded(sagemaker, runner):
    runner.answer = lambda stop: RunResult(succeeded=False, timed_out=True)
    sagemaker.create_training_job(**training_request())

    job = wait_training(sagemaker, "train-1")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_what_cannot_be_run_is_driven_by_the_clock(sagemaker, runner, s3):
    runner.answer = lambda stop: None
    sagemaker.create_training_job(**training_request())

    assert wait_training(sagemaker, "train-1")["TrainingJobStatus"] == "Completed"
    assert keys(s3) == ["models/train-1/output/model.tar.gz"]


def test_what_cannot_be_run_fails_without_its_bucket_or_input(sagemaker, runner):
    runner.answer = lambda stop: None
    sagemaker.create_training_job(**training_request())
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/none"}
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
    sagemaker.create_training_job(**training_request("train-2", InputDataConfig=[channel]))

    first, second = wait_training(sagemaker, "train-1"), wait_training(sagemaker, "train-2")

    assert first["FailureReason"] == f"ClientError: The specified bucket does not exist: {BUCKET}"
    assert second["FailureReason"].startswith(
        f'ClientError: No S3 objects found under S3 URL "s3://{BUCKET}/none" given in input data source.'
    )


def test_a_rule_wins_over_running_the_code(local_sagemaker, sagemaker, runner):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="CapacityError: none left")
    sagemaker.create_training_job(**training_request())

    assert wait_training(sagemaker, "train-1")["FailureReason"] == "CapacityError: none left"
    assert runner.calls == []


def test_a_transform_job_hands_its_model_over(sagemaker, runner):
    create_model(sagemaker)
    sagemaker.create_transform_job(**transform_request())
    wait_transform(sagemaker, "transform-1")

    assert runner.calls[0][3]["PrimaryContainer"]["ModelDataUrl"] == f"s3://{BUCKET}/model.tar.gz"


def test_a_broken_runner_is_an_internal_error_of_the_job(sagemaker, runner):
    def broken(stop):
        raise ZeroDivisionError

    runner.answer = broken
    sagemaker.create_training_job(**training_request())

    assert wait_training(sagemaker, "train-1")["FailureReason"].startswith("InternalServerError")


def test_a_reset_ends_running_code(local_sagemaker, sagemaker, runner):
    ended = threading.Event()

    def wait(stop):
        stop.wait(10)
        ended.set()
        return RunResult(succeeded=False, stopped=True)

    runner.answer = wait
    sagemaker.create_training_job(**training_request())
    until(lambda: runner.calls)

    local_sagemaker.reset()

    assert ended.wait(5)
