"""Tuning and AutoML jobs."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from endpoint_support import auto_ml_request, auto_ml_v2_request, tuning_request, until, wait_tuning


def children(sagemaker, name, **more):
    return sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name, **more)[
        "TrainingJobSummaries"
    ]


def test_training_jobs_of_a_tuning_job_are_ordered_by_objective_and_the_best_is_named(sagemaker):
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request())
    job = wait_tuning(sagemaker, "tune-1")

    best_first = children(sagemaker, "tune-1", SortBy="FinalObjectiveMetricValue", SortOrder="Descending")

    values = [item["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for item in best_first]
    assert len(values) == 4
    assert values == sorted(values, reverse=True)
    assert job["BestTrainingJob"]["TrainingJobName"] == best_first[0]["TrainingJobName"]
    assert job["TrainingJobStatusCounters"]["Completed"] == 4


def test_a_minimised_objective_has_its_best_at_the_other_end(sagemaker):
    request = tuning_request()
    request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] = "Minimize"
    sagemaker.create_hyper_parameter_tuning_job(**request)
    job = wait_tuning(sagemaker, "tune-1")

    lowest = children(sagemaker, "tune-1", SortBy="FinalObjectiveMetricValue", SortOrder="Ascending")[0]

    assert job["BestTrainingJob"]["TrainingJobName"] == lowest["TrainingJobName"]


def test_a_training_job_of_a_tuning_job_can_be_described(sagemaker):
    arn = sagemaker.create_hyper_parameter_tuning_job(**tuning_request())["HyperParameterTuningJobArn"]
    summary = children(sagemaker, "tune-1")[0]

    job = sagemaker.describe_training_job(TrainingJobName=summary["TrainingJobName"])

    assert job["TuningJobArn"] == arn
    assert job["HyperParameters"]["rounds"] == "10"
    assert 0.1 <= float(job["HyperParameters"]["eta"]) <= 0.5
    assert set(summary["TunedHyperParameters"]) == {"eta", "depth", "kind"}


def test_the_same_search_finds_the_same_values_under_another_name(sagemaker):
    for name in ("one", "two"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(name))
        wait_tuning(sagemaker, name)

    scores = [
        [item["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for item in children(sagemaker, name)]
        for name in ("one", "two")
    ]

    assert scores[0] == scores[1]
    assert len(set(scores[0])) == 4


def test_no_more_jobs_run_at_once_than_the_limit(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", duration=60)
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(total=10, parallel=3))

    assert len(children(sagemaker, "tune-1")) == 3
    job = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune-1")
    assert job["TrainingJobStatusCounters"]["InProgress"] == 3


def test_stopping_a_tuning_job_stops_its_training_jobs(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", duration=60)
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request())

    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune-1")

    assert wait_tuning(sagemaker, "tune-1")["HyperParameterTuningJobStatus"] == "Stopped"
    assert {item["TrainingJobStatus"] for item in children(sagemaker, "tune-1")} == {"Stopped"}


def test_a_tuning_job_survives_a_failed_training_job_and_leaves_it_out_of_the_ranking(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", times=1)
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request())

    job = wait_tuning(sagemaker, "tune-1")

    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 1
    assert len(children(sagemaker, "tune-1", SortBy="FinalObjectiveMetricValue")) == 3
    assert len(children(sagemaker, "tune-1")) == 4


def test_a_tuning_job_whose_training_jobs_all_fail_fails(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed")
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request())

    job = wait_tuning(sagemaker, "tune-1")

    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("All training jobs failed")


def test_tuning_names_are_short_and_unique(sagemaker):
    with pytest.raises(ClientError, match="less than or equal to 32"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request("x" * 33))
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request())
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request())


@pytest.mark.parametrize("version", ["", "_v2"])
def test_auto_ml_job_ends_with_a_best_candidate(sagemaker, version):
    request = auto_ml_v2_request("automl-1") if version else auto_ml_request()
    getattr(sagemaker, f"create_auto_ml_job{version}")(**request)

    job = until(
        lambda: getattr(sagemaker, f"describe_auto_ml_job{version}")(AutoMLJobName="automl-1"),
        lambda answer: answer["AutoMLJobStatus"] == "Completed",
    )

    assert job["AutoMLJobSecondaryStatus"] == "Completed"
    assert job["BestCandidate"]["CandidateStatus"] == "Completed"
    locations = job["BestCandidate"]["CandidateProperties"]["CandidateArtifactLocations"]
    assert locations["ModelInsights"].startswith("s3://local-bucket/automl/automl-1/")


def test_auto_ml_job_can_be_stopped_and_listed(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="AutoML", duration=60)
    sagemaker.create_auto_ml_job(**auto_ml_request())

    sagemaker.stop_auto_ml_job(AutoMLJobName="automl-1")

    until(lambda: sagemaker.list_auto_ml_jobs(StatusEquals="Stopped")["AutoMLJobSummaries"])
