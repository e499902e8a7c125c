"""Training, processing and transform jobs as a client sees them over HTTP."""

from __future__ import annotations

import io
import itertools
import json
import tarfile

import pytest
from botocore.exceptions import ClientError
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


def error_of(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_training_job_goes_from_in_progress_to_completed(sagemaker):
    sagemaker.create_training_job(**training_request("Train-1"))
    assert sagemaker.describe_training_job(TrainingJobName="Train-1")["TrainingJobStatus"] == "InProgress"

    job = wait_training(sagemaker, "Train-1")

    assert job["TrainingJobStatus"] == "Completed"
    assert job["TrainingJobArn"] == "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1"
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/models/Train-1/output/model.tar.gz"
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"]


def test_secondary_statuses_follow_each_other_without_gaps(sagemaker):
    sagemaker.create_training_job(**training_request())

    job = wait_training(sagemaker, "train-1")

    steps = job["SecondaryStatusTransitions"]
    assert [step["Status"] for step in steps] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert job["SecondaryStatus"] == "Completed"
    assert all(step["EndTime"] == following["StartTime"] for step, following in itertools.pairwise(steps))


def test_describe_gives_back_what_create_was_given(sagemaker):
    request = training_request(
        Environment={"A": "1"}, HyperParameters={"eta": "0.1"}, RetryStrategy={"MaximumRetryAttempts": 2}
    )
    sagemaker.create_training_job(**request)
    sagemaker.create_processing_job(**processing_request())

    training = sagemaker.describe_training_job(TrainingJobName="train-1")
    processing = sagemaker.describe_processing_job(ProcessingJobName="process-1")

    assert {name: training[name] for name in request} == request
    assert {name: processing[name] for name in processing_request()} == processing_request()


def test_second_training_job_of_a_name_is_refused_and_the_first_kept(sagemaker):
    sagemaker.create_training_job(**training_request("Train-1"))

    again = training_request("Train-1", HyperParameters={"other": "1"})
    code, message = error_of(sagemaker.create_training_job, **again)

    assert code == "ResourceInUse"
    assert message == (
        "Training job names must be unique within an AWS account and region, or a Training job with this name "
        "already exists (arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1)"
    )
    assert "HyperParameters" not in sagemaker.describe_training_job(TrainingJobName="Train-1")


def test_unknown_jobs_are_not_found_in_each_kinds_own_way(sagemaker):
    not_found = ("ValidationException", "Requested resource not found.")
    assert error_of(sagemaker.describe_training_job, TrainingJobName="x") == not_found
    assert error_of(sagemaker.describe_processing_job, ProcessingJobName="x") == not_found
    assert error_of(sagemaker.stop_transform_job, TransformJobName="x") == not_found
    tuning = error_of(sagemaker.describe_hyper_parameter_tuning_job, HyperParameterTuningJobName="x")
    assert tuning[0] == "ResourceNotFound"


def test_stopped_job_is_stopping_then_stopped(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", duration=30)
    sagemaker.create_training_job(**training_request())

    sagemaker.stop_training_job(TrainingJobName="train-1")

    assert sagemaker.describe_training_job(TrainingJobName="train-1")["TrainingJobStatus"] == "Stopping"
    job = wait_training(sagemaker, "train-1")
    assert job["TrainingJobStatus"] == "Stopped"
    assert [step["Status"] for step in job["SecondaryStatusTransitions"]][-2:] == ["Stopping", "Stopped"]


def test_stopping_a_job_that_is_over_is_refused_and_changes_nothing(sagemaker):
    sagemaker.create_processing_job(**processing_request())
    wait_processing(sagemaker, "process-1")

    code, message = error_of(sagemaker.stop_processing_job, ProcessingJobName="process-1")

    assert code == "ValidationException"
    assert "is in status Completed" in message
    job = sagemaker.describe_processing_job(ProcessingJobName="process-1")
    assert job["ProcessingJobStatus"] == "Completed"


def test_stopped_job_leaves_no_outputs(local_sagemaker, sagemaker, s3):
    local_sagemaker.rule(kind="Training", duration=0.3)
    sagemaker.create_training_job(**training_request())
    sagemaker.stop_training_job(TrainingJobName="train-1")

    wait_training(sagemaker, "train-1")
    sagemaker.create_training_job(**training_request("later"))
    wait_training(sagemaker, "later")

    assert keys(s3) == ["models/later/output/model.tar.gz"]


def test_job_that_outlives_its_limit_is_stopped_with_max_runtime_exceeded(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", duration=30)
    sagemaker.create_training_job(**training_request(StoppingCondition={"MaxRuntimeInSeconds": 1}))

    job = wait_training(sagemaker, "train-1")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_completed_training_job_has_an_artifact_that_opens(sagemaker, s3):
    sagemaker.create_training_job(**training_request())
    wait_training(sagemaker, "train-1")

    body = s3.get_object(Bucket=BUCKET, Key="models/train-1/output/model.tar.gz")["Body"].read()

    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getnames() == ["STUB"]


def test_final_metrics_depend_on_the_hyperparameters_alone(sagemaker):
    for name, eta in (("a", "0.1"), ("b", "0.1"), ("c", "0.2")):
        request = training_request(name, HyperParameters={"eta": eta})
        request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "val:acc", "Regex": "x"}]
        sagemaker.create_training_job(**request)

    values = [wait_training(sagemaker, name)["FinalMetricDataList"][0]["Value"] for name in "abc"]

    assert values[0] == values[1] != values[2]


def test_transform_writes_a_file_per_input(sagemaker, s3):
    create_model(sagemaker)
    s3.put_object(Bucket=BUCKET, Key="in/part/a.csv", Body=b"1,2\n3,4\n")
    sagemaker.create_transform_job(**transform_request())

    job = wait_transform(sagemaker, "transform-1")

    assert job["TransformJobStatus"] == "Completed"
    written = s3.get_object(Bucket=BUCKET, Key="out/part/a.csv.out")["Body"].read()
    assert written.splitlines() == [b"0", b"0"]


def test_transform_needs_its_model(sagemaker):
    code, message = error_of(sagemaker.create_transform_job, **transform_request())

    assert code == "ValidationException"
    assert message == ('Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/model-1".')


def test_missing_output_bucket_does_not_fail_a_job_whose_code_is_not_run(sagemaker):
    sagemaker.create_training_job(**training_request())

    assert wait_training(sagemaker, "train-1")["TrainingJobStatus"] == "Completed"


def test_a_job_is_deleted_once_it_is_over_and_its_name_is_free(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", duration=30, times=1)
    sagemaker.create_training_job(**training_request())
    assert error_of(sagemaker.delete_training_job, TrainingJobName="train-1")[0] == "ResourceInUse"
    sagemaker.stop_training_job(TrainingJobName="train-1")
    wait_training(sagemaker, "train-1")

    sagemaker.delete_training_job(TrainingJobName="train-1")

    sagemaker.create_training_job(**training_request())


def test_regions_do_not_see_each_others_jobs(local_sagemaker, sagemaker):
    sagemaker.create_training_job(**training_request())
    elsewhere = local_sagemaker.client("sagemaker", region_name="eu-west-1")

    assert elsewhere.list_training_jobs()["TrainingJobSummaries"] == []
    arn = elsewhere.create_training_job(**training_request())["TrainingJobArn"]
    assert arn == "arn:aws:sagemaker:eu-west-1:123456789012:training-job/train-1"


def test_finished_job_has_written_a_line_to_its_log(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="AlgorithmError: no rows")
    sagemaker.create_processing_job(**processing_request("Process-1"))
    wait_processing(sagemaker, "Process-1")

    logs = local_sagemaker.client("logs")
    group = "/aws/sagemaker/ProcessingJobs"
    events = logs.filter_log_events(logGroupName=group, logStreamNamePrefix="Process-1/")["events"]

    assert events[0]["logStreamName"].startswith("Process-1/algo-1-")
    assert events[-1]["message"] == "AlgorithmError: no rows"


def test_state_changes_reach_a_queue_through_eventbridge(local_sagemaker, sagemaker):
    sqs, events = local_sagemaker.client("sqs"), local_sagemaker.client("events")
    queue = sqs.create_queue(QueueName="changes")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]}
    events.put_rule(Name="sagemaker", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="sagemaker", Targets=[{"Id": "1", "Arn": arn}])

    sagemaker.create_training_job(**training_request())
    received = []

    def statuses():
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        received.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return [event["detail"]["TrainingJobStatus"] for event in received]

    assert until(statuses, lambda found: "Completed" in found) == ["InProgress", "Completed"]
    assert received[-1]["resources"] == [received[-1]["detail"]["TrainingJobArn"]]
    assert received[-1]["detail"]["CreationTime"].isdigit()
