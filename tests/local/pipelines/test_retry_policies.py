"""Retries of steps, by their policies and without."""

from __future__ import annotations

import re

import pytest
from endpoint_support import training_request
from pipeline_support import train

INTERNAL = "InternalServerError: We encountered an internal error."


def policy(*types, **more):
    return {"ExceptionType": list(types), **more}


def test_a_job_that_failed_internally_is_tried_again_under_a_new_name(local_sagemaker, pipelines, choose):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason=INTERNAL, times=2, duration=0)
    arn = pipelines.run(train("Train", RetryPolicies=[policy("SageMaker.JOB_INTERNAL_ERROR", MaxAttempts=3)]))

    step = pipelines.steps(arn)["Train"]
    assert (step["StepStatus"], step["AttemptCount"]) == ("Succeeded", 3)
    assert re.search(r"train-[a-z0-9]{10}-2$", step["Metadata"]["TrainingJob"]["Arn"])


@pytest.mark.parametrize(
    ("reason", "policies", "attempts"),
    [
        (INTERNAL, [], 1),
        (INTERNAL, [policy("SageMaker.JOB_INTERNAL_ERROR", MaxAttempts=0)], 1),
        (INTERNAL, [policy("SageMaker.JOB_INTERNAL_ERROR", MaxAttempts=2)], 3),
        (INTERNAL, [policy("SageMaker.JOB_INTERNAL_ERROR", ExpireAfterMin=0)], 1),
        (INTERNAL, [policy("SageMaker.CAPACITY_ERROR", MaxAttempts=2)], 1),
        ("CapacityError: no capacity", [policy("SageMaker.CAPACITY_ERROR", MaxAttempts=2)], 3),
        ("AlgorithmError: bad", [policy("SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR")], 1),
    ],
)
def test_only_what_a_policy_names_is_retried(local_sagemaker, pipelines, choose, *, reason, policies, attempts):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason=reason, duration=0)
    arn = pipelines.run(train("Train", RetryPolicies=policies))

    step = pipelines.steps(arn)["Train"]
    assert (step["StepStatus"], step["AttemptCount"], step["FailureReason"]) == ("Failed", attempts, reason)


@pytest.mark.parametrize("error", ["ThrottlingException", "InternalFailure"])
@pytest.mark.parametrize("retries", [2, 5])
def test_throttling_and_faults_are_retried_without_a_policy(local_sagemaker, pipelines, choose, error, retries):
    choose(implicit_retries=retries, time_scale=0.0)
    refusal = local_sagemaker.rule(operation="CreateTrainingJob", error=error, reason="Rate exceeded", times=4)
    arn = pipelines.run(train("Train"))

    enough = retries >= 4
    assert refusal.taken == min(retries + 1, 4)
    assert pipelines.states(arn) == {"Train": "Succeeded" if enough else "Failed"}


def test_a_quota_is_retried_by_its_policy_only(local_sagemaker, pipelines, choose):
    local_sagemaker.rule(operation="CreateTrainingJob", error="ResourceLimitExceeded", reason="No more", times=2)
    arn = pipelines.run(train("Train"))

    step = pipelines.steps(arn)["Train"]
    assert step["FailureReason"] == (
        "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: No more\n"
        f"Retry not appropriate on execution of step with PipelineExecutionArn {arn.lower()} and StepId Train. "
        "No retry policy configured for the exception type SAGEMAKER_RESOURCE_LIMIT."
    )
    assert step["Metadata"] == {}
    arn = pipelines.run(train("Train", RetryPolicies=[policy("SageMaker.RESOURCE_LIMIT")]), name="other")
    assert pipelines.steps(arn)["Train"]["AttemptCount"] == 2


@pytest.mark.parametrize(("per_policy", "attempts"), [(True, 3), (False, 2)])
def test_retries_count_per_policy_or_per_step(local_sagemaker, pipelines, choose, per_policy, attempts):
    choose(retries_per_policy=per_policy)
    local_sagemaker.rule(kind="Training", outcome="Failed", reason=INTERNAL, times=1, duration=0)
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="CapacityError: none", times=1, duration=0)
    policies = [policy(f"SageMaker.{kind}", MaxAttempts=1) for kind in ("JOB_INTERNAL_ERROR", "CAPACITY_ERROR")]
    arn = pipelines.run(train("Train", RetryPolicies=policies))

    assert pipelines.steps(arn)["Train"]["AttemptCount"] == attempts


def test_a_rule_with_an_error_is_for_the_calls_of_steps_and_for_names(local_sagemaker, pipelines, sagemaker):
    refusal = local_sagemaker.rule(operation="CreateTrainingJob", name="-Bad-", error="AccessDenied", reason="Not you")
    local_sagemaker.rule(operation=".*", error="AccessDenied", times=0)
    arn = pipelines.run(train("Bad"), train("Good"))
    sagemaker.create_training_job(**training_request("a-Bad-one"))

    assert pipelines.states(arn) == {"Bad": "Failed", "Good": "Succeeded"}
    assert pipelines.steps(arn)["Bad"]["FailureReason"] == (
        "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: Not you"
    )
    assert refusal.taken == 1
    with pytest.raises(ValueError, match="not at kind and image"):
        local_sagemaker.rule(kind="Training", error="ThrottlingException")
