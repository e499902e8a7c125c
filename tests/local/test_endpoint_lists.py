"""List operations: pages, filters, order."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from endpoint_support import training_request, wait_training


@pytest.fixture
def many(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", duration=60)
    for index in range(12):
        sagemaker.create_training_job(**training_request(f"job-{index:02d}"))
    return [f"job-{index:02d}" for index in range(12)]


def names(answer):
    return [summary["TrainingJobName"] for summary in answer["TrainingJobSummaries"]]


def test_a_page_has_ten_entries_if_the_request_does_not_say(sagemaker, many):
    answer = sagemaker.list_training_jobs()

    assert names(answer) == many[:10]
    assert names(sagemaker.list_training_jobs(NextToken=answer["NextToken"])) == many[10:]


def test_paginator_finds_every_job_once(sagemaker, many):
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        SortBy="Name", SortOrder="Descending", PaginationConfig={"PageSize": 5}
    )

    assert [name for page in pages for name in names(page)] == many[::-1]


def test_the_last_page_has_no_token_even_when_it_is_full(sagemaker, many):
    assert "NextToken" not in sagemaker.list_training_jobs(MaxResults=12)


def test_a_job_made_between_two_pages_shifts_nothing(sagemaker, many):
    first = sagemaker.list_training_jobs(SortBy="Name", MaxResults=6)
    sagemaker.create_training_job(**training_request("a-new-one"))

    second = sagemaker.list_training_jobs(SortBy="Name", MaxResults=100, NextToken=first["NextToken"])

    assert names(first) + names(second) == many


def test_more_than_a_hundred_are_refused(local_sagemaker):
    relaxed = local_sagemaker.client("sagemaker")
    with pytest.raises(ClientError, match="less than or equal to 100"):
        relaxed.list_training_jobs(MaxResults=101)


def test_filters_hold_together(sagemaker, many):
    sagemaker.stop_training_job(TrainingJobName="job-03")
    wait_training(sagemaker, "job-03")

    assert names(sagemaker.list_training_jobs(StatusEquals="Stopped")) == ["job-03"]
    assert names(sagemaker.list_training_jobs(NameContains="B-1")) == ["job-10", "job-11"]
    assert names(sagemaker.list_training_jobs(NameContains="-1", StatusEquals="Stopped")) == []


def test_creation_time_filters_cut_where_they_say(sagemaker, many):
    moment = sagemaker.describe_training_job(TrainingJobName="job-05")["CreationTime"]

    after = sagemaker.list_training_jobs(CreationTimeAfter=moment, MaxResults=100)
    before = sagemaker.list_training_jobs(CreationTimeBefore=moment, MaxResults=100)

    # boto3 sends the time with its full precision, so the job of that moment is in neither.
    assert set(names(after)) | set(names(before)) >= set(many) - {"job-05"}
    assert "job-04" in names(before)
    assert "job-06" in names(after)


def test_a_made_up_token_is_refused(sagemaker, many):
    with pytest.raises(ClientError, match="Invalid NextToken"):
        sagemaker.list_training_jobs(NextToken="abc")
