"""Answers as JSON, and what AWS's errors mean."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
)

from airflow_sagemaker_pipelines.steps.aws import aws_call, is_transient, to_json
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError


def refusal(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "CreateTrainingJob")


def test_an_answer_becomes_plain_json():
    answer = {
        "CreationTime": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2))),
        "Data": b"\x00\x01",
        "Count": Decimal("3"),
        "Value": Decimal("0.5"),
        "Items": ({"At": datetime(2026, 1, 1)},),
        "ResponseMetadata": {"RequestId": "x"},
    }

    assert json.loads(json.dumps(to_json(answer))) == {
        "CreationTime": "2026-01-02T01:04:05.678Z",
        "Data": "AAE=",
        "Count": 3,
        "Value": 0.5,
        "Items": [{"At": "2026-01-01T00:00:00.000Z"}],
    }


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("ThrottlingException"), True),
        (refusal("InternalFailure", 500), True),
        (refusal("Whatever", 503), True),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), True),
        (refusal("ValidationException"), False),
        (refusal("AccessDeniedException"), False),
        (refusal("ExpiredTokenException"), True),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), True),
        (ParamValidationError(report="x"), False),
        (NoRegionError(), False),
    ],
)
def test_throttling_faults_and_silence_are_transient(error, expected):
    assert is_transient(error) is expected


def test_a_refused_call_names_the_step_the_operation_and_awss_words():
    with pytest.raises(StepRequestError) as caught, aws_call("CreateTrainingJob", step="Train"):
        raise refusal("ValidationException")

    assert str(caught.value) == "Step 'Train' failed: CreateTrainingJob was refused with ValidationException: why"
    assert caught.value.code == "ValidationException"


@pytest.mark.parametrize("code", ["ThrottlingException", "ResourceLimitExceeded"])
def test_a_call_that_may_succeed_later_is_told_apart(code):
    with pytest.raises(StepCallError), aws_call("CreateTrainingJob", step="Train"):
        raise refusal(code)


def test_step_errors_survive_pickling():
    import pickle

    error = StepRequestError("why", step="Train", resource="training job x", code="C")
    copy = pickle.loads(pickle.dumps(error))

    assert (str(copy), copy.code, type(copy)) == (str(error), "C", StepRequestError)
