"""Cleanup steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_sagemaker_pipelines.definition import ExpressionError
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepFailedError, StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.faults import Fault, FaultyClients, WorkerDiedError
from tests.steps.types.step_run_support import BUCKET, IMAGE, begin, finish, raw_answer, step_run

TRAINED = {"TrainingJobName": "job-1", "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models/"}}
PROCESSED = {
    "ProcessingOutputConfig": {
        "Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": f"s3://{BUCKET}/processed"}}, {"OutputName": "features"}]
    }
}
TRANSFORMED = {"TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/scored"}}
OUTPUTS = {"Train": TRAINED, "Process": PROCESSED, "Score": TRANSFORMED}
VPC = {"VpcConfig": {"Subnets": ["s"], "SecurityGroupIds": ["g"]}}
KEPT = ["models/job-1", "models/job-10/output/model.tar.gz", "processed/b.csv", "processed2/x.csv", "scored/c.out"]


@pytest.fixture(autouse=True)
def s3(local_sagemaker):
    client = local_sagemaker.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for key in ["models/job-1/output/model.tar.gz", "models/job-1/debug/x", "processed/a.csv", *KEPT]:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    return client


def keys(client):
    return {item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


TRAIN = {
    "Name": "Train",
    "Type": "Training",
    "Arguments": {
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": IMAGE},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    },
}


def run_of(local_sagemaker, *sources, outputs=OUTPUTS, **more):
    kinds = {"Process": "Processing", "Score": "Transform", "Tune": "Tuning"}
    others = [{"Name": name, "Type": kind, "Arguments": {}} for name, kind in kinds.items()]
    cleanup = {"Name": "Clean", "Type": "Cleanup", "Arguments": {"Resources": {"S3": list(sources)}}}
    return step_run(local_sagemaker, TRAIN, *others, cleanup, outputs=outputs, **more)


def test_a_training_jobs_own_folder_is_deleted_and_nothing_beside_it(local_sagemaker, s3):
    state = begin(run_of(local_sagemaker, {"StepName": "Train"}))

    assert state.verdict is Verdict.SUCCEEDED
    assert state.description == {"CleanedSteps": ["Train"], "FailedSteps": [], "SkippedSteps": []}
    assert keys(s3) == {*KEPT, "processed/a.csv"}


def test_exactly_the_listed_objects_are_deleted(local_sagemaker, s3):
    sources = [
        {"StepName": "Process", "S3Uris": [f"s3://{BUCKET}/processed/a.csv", f"s3://{BUCKET}/processed/none.csv"]},
        {"StepName": "Score", "S3Uris": [f"s3://{BUCKET}/scored/c.out"]},
    ]
    before = keys(s3)

    state = begin(run_of(local_sagemaker, *sources))

    assert state.description["CleanedSteps"] == ["Process", "Score"]
    assert before - keys(s3) == {"processed/a.csv", "scored/c.out"}


def test_more_objects_than_one_call_takes_are_all_deleted(local_sagemaker, s3):
    uris = [f"s3://{BUCKET}/processed/n{number}" for number in range(1500)]
    local_sagemaker.clear_calls()

    begin(run_of(local_sagemaker, {"StepName": "Process", "S3Uris": [*uris, f"s3://{BUCKET}/processed/a.csv"]}))

    assert "processed/a.csv" not in keys(s3)
    assert local_sagemaker.calls()["s3.DeleteObjects"] == 2


@pytest.mark.parametrize(
    ("uri", "step"),
    [
        (f"s3://{BUCKET}/processed2/x.csv", "Process"),
        (f"s3://{BUCKET}/processed/", "Process"),
        (f"s3://{BUCKET}/processed", "Process"),
        (f"s3://another/{BUCKET}/processed/a.csv", "Process"),
        (f"s3://{BUCKET}/models/job-10/output/model.tar.gz", "Train"),
    ],
)
def test_an_object_outside_the_steps_output_is_refused_and_nothing_is_deleted(local_sagemaker, s3, uri, step):
    before = keys(s3)

    with pytest.raises(StepRequestError, match=f"{uri} is not an object in the output of step '{step}'"):
        begin(
            run_of(
                local_sagemaker,
                {"StepName": "Score", "S3Uris": [f"s3://{BUCKET}/scored/c.out"]},
                {"StepName": step, "S3Uris": [uri]},
            )
        )

    assert keys(s3) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"StepName": "Process"}, "needs S3Uris"),
        ({"StepName": "Process", "S3Uris": []}, "needs S3Uris"),
        ({"StepName": "Tune"}, "is a Tuning step"),
    ],
)
def test_a_source_that_cannot_be_cleaned_fails_the_step(local_sagemaker, source, message):
    with pytest.raises(StepRequestError, match=message):
        begin(run_of(local_sagemaker, source, outputs={**OUTPUTS, "Tune": {}}))


@pytest.mark.parametrize(("step", "job"), [("Train", TRAINED | VPC), ("Process", PROCESSED | {"NetworkConfig": VPC})])
def test_a_source_in_a_vpc_is_skipped(local_sagemaker, s3, step, job):
    before = keys(s3)
    source = (
        {"StepName": step, "S3Uris": [f"s3://{BUCKET}/processed/a.csv"]} if step == "Process" else {"StepName": step}
    )

    state = begin(run_of(local_sagemaker, source, outputs={step: job}))

    assert state.description == {"CleanedSteps": [], "FailedSteps": [], "SkippedSteps": [step]}
    assert keys(s3) == before


class NoResult(dict):
    """Outputs of a step that has left none, as its task's XComs tell it."""

    def __missing__(self, step):
        raise ExpressionError(f"task '{step}' has left no result; clear it to run it again")


def test_a_source_that_made_nothing_is_skipped(local_sagemaker):
    state = begin(run_of(local_sagemaker, {"StepName": "Train"}, outputs=NoResult(), made=NoResult()))

    assert state.description["SkippedSteps"] == ["Train"]


def test_what_a_stopped_job_has_left_is_deleted(local_sagemaker, s3):
    local_sagemaker.rule(kind="Training", outcome="Stopped")
    job = finish(step_run(local_sagemaker, TRAIN))
    left = f"models/{job.handle['name']}/output/partial"
    s3.put_object(Bucket=BUCKET, Key=left, Body=b"x")

    state = begin(run_of(local_sagemaker, {"StepName": "Train"}, outputs=NoResult(), made={"Train": job.handle}))

    assert state.description["CleanedSteps"] == ["Train"]
    assert left not in keys(s3)


def test_a_failed_deletion_fails_the_step_after_the_others_are_done(local_sagemaker, s3):
    elsewhere = {"TransformOutput": {"S3OutputPath": "s3://no-such-bucket/scored"}}
    sources = [{"StepName": "Score", "S3Uris": ["s3://no-such-bucket/scored/c.out"]}, {"StepName": "Train"}]

    with pytest.raises(StepFailedError, match="'Score': NoSuchBucket"):
        begin(run_of(local_sagemaker, *sources, outputs=OUTPUTS | {"Score": elsewhere}))

    assert "models/job-1/debug/x" not in keys(s3)


@pytest.mark.parametrize(("code", "error"), [("AccessDenied", StepFailedError), ("InternalError", StepCallError)])
def test_an_object_that_s3_does_not_delete_fails_the_step(local_sagemaker, code, error):
    run = run_of(local_sagemaker, {"StepName": "Train"})
    body = f"<DeleteResult><Error><Key>k</Key><Code>{code}</Code><Message>no</Message></Error></DeleteResult>"
    events = run.clients("s3").meta.events
    events.register("before-send.s3.DeleteObjects", lambda **_: raw_answer(body.encode(), 200))

    with pytest.raises(error, match=f"'Train': {code}: no"):
        begin(run)


def test_a_second_start_finds_nothing_left_to_do(local_sagemaker):
    run = run_of(local_sagemaker, {"StepName": "Train"})

    assert begin(run).description == begin(run).description


def test_the_request_shows_what_will_be_deleted(local_sagemaker):
    run = run_of(local_sagemaker, {"StepName": "Train"})

    request = runner_of(run.step.type).request(run)

    assert request["Resources"]["S3"] == [{"StepName": "Train", "S3Prefix": f"s3://{BUCKET}/models/job-1/"}]


@pytest.mark.parametrize("operation", ["ListObjectsV2", "DeleteObjects"])
@pytest.mark.parametrize("fault", Fault)
def test_whatever_goes_wrong_a_retry_deletes_the_rest(local_sagemaker, s3, operation, fault):
    run = run_of(local_sagemaker, {"StepName": "Train"})
    faulty = replace(run, clients=FaultyClients(local_sagemaker, operation, fault))

    try:
        state = begin(faulty)
    except (StepCallError, WorkerDiedError):
        state = begin(run)

    assert state.description["CleanedSteps"] == ["Train"]
    assert keys(s3) == {*KEPT, "processed/a.csv"}
