"""When a failed step is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_sagemaker_pipelines._compat import TaskDeferralError
from airflow_sagemaker_pipelines.definition import load_definition
from airflow_sagemaker_pipelines.definition.policies import ExceptionType
from airflow_sagemaker_pipelines.operators.retries import decide, exception_types, retries_of
from airflow_sagemaker_pipelines.steps.errors import (
    StepCallError,
    StepFailedError,
    StepRequestError,
    StepStoppedError,
)


def step(*policies, kind="Training"):
    arguments = {"StepConfig": {}, "ClusterId": "j-1"} if kind == "EMR" else {}
    node = {"Name": "Train", "Type": kind, "Arguments": arguments, "RetryPolicies": list(policies)}
    return load_definition({"Steps": [node]}).all_steps["Train"]


def policy(*types, **keys):
    return {"ExceptionType": list(types), "IntervalSeconds": 10, "BackoffRate": 3.0, **keys}


def refused(code):
    return StepCallError("why", step="Train", code=code)


def failed(reason):
    return StepFailedError(reason, step="Train")


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (refused("ThrottlingException"), "Training", {ExceptionType.THROTTLING}),
        (refused("TooManyRequestsException"), "Training", {ExceptionType.THROTTLING}),
        (refused("InternalFailure"), "Training", {ExceptionType.SERVICE_FAULT}),
        (refused(None), "Training", {ExceptionType.SERVICE_FAULT}),
        (refused("ResourceLimitExceeded"), "Training", {ExceptionType.RESOURCE_LIMIT}),
        (refused("LimitExceededException"), "EMR", {ExceptionType.EMR_RESOURCE_LIMIT}),
        (failed("InternalServerError: try again"), "Training", {ExceptionType.JOB_INTERNAL_ERROR}),
        (failed("InternalServerError: try again"), "Tuning", set()),
        (failed("CapacityError: no capacity"), "Training", {ExceptionType.CAPACITY_ERROR}),
        (failed("AlgorithmError: bad code"), "Training", set()),
        (StepStoppedError("x", step="Train"), "Training", set()),
        (TaskDeferralError("Trigger failure"), "Training", {ExceptionType.SERVICE_FAULT}),
        (ValueError("x"), "Training", set()),
    ],
)
def test_failures_are_told_apart_by_awss_words(error, kind, expected):
    assert exception_types(error, step(kind=kind)) == expected


def test_a_policy_gives_the_delay_and_the_number_of_retries():
    one = step(policy("SageMaker.CAPACITY_ERROR", MaxAttempts=2))
    error = failed("CapacityError: no capacity")

    decisions = [decide(error, one, failures=count, author_retries=0) for count in range(3)]

    assert [decision.retry for decision in decisions] == [True, True, False]
    assert [decision.delay for decision in decisions[:2]] == [timedelta(seconds=10), timedelta(seconds=30)]


def test_throttling_and_faults_are_retried_without_any_policy():
    assert decide(refused("ThrottlingException"), step(), failures=0, author_retries=0).retry
    assert decide(refused("InternalFailure"), step(), failures=4, author_retries=0).retry
    assert not decide(refused("InternalFailure"), step(), failures=5, author_retries=0).retry


def test_a_steps_own_policy_stands_before_the_implicit_one():
    never = step(policy("Step.THROTTLING", MaxAttempts=0))

    assert not decide(refused("ThrottlingException"), never, failures=0, author_retries=0).retry


def test_what_no_policy_covers_is_retried_as_often_as_the_author_says():
    error = failed("AlgorithmError: bad code")

    assert not decide(error, step(), failures=0, author_retries=0).retry
    assert decide(error, step(), failures=1, author_retries=2).retry
    assert decide(error, step(), failures=1, author_retries=2).delay is None
    assert not decide(error, step(), failures=2, author_retries=2).retry


def test_time_may_bound_the_retries_instead_of_a_number():
    one = step(policy("Step.SERVICE_FAULT", ExpireAfterMin=10))
    error = refused("InternalFailure")

    assert decide(error, one, failures=0, author_retries=0, running_for=timedelta(minutes=9)).retry
    assert not decide(error, one, failures=0, author_retries=0, running_for=timedelta(minutes=10)).retry


def test_a_delay_never_exceeds_twelve_hours():
    one = step(policy("Step.SERVICE_FAULT", MaxAttempts=20, IntervalSeconds=43200))

    assert decide(refused("InternalFailure"), one, failures=19, author_retries=0).delay == timedelta(hours=12)


@pytest.mark.parametrize(
    ("one", "least"),
    [
        (step(), 5),
        (step(policy("SageMaker.CAPACITY_ERROR", MaxAttempts=20)), 25),
        (step(policy("SageMaker.CAPACITY_ERROR", ExpireAfterMin=0)), 5),
    ],
)
def test_airflow_is_asked_for_as_many_retries_as_the_policies_may_need(one, least):
    assert retries_of(one) == least


def test_a_step_that_calls_nothing_needs_no_retries():
    fail = load_definition({"Steps": [{"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}]})

    assert retries_of(fail.all_steps["F"]) == 0


def test_a_wrong_request_is_not_a_failure_that_policies_know():
    assert exception_types(StepRequestError("x", step="Train", code="ValidationException"), step()) == set()
