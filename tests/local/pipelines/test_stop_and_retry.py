"""Stopping executions, and retrying them in place."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from pipeline_support import after, compare, condition, fail, get, process, train, until


def refused(text):
    return pytest.raises(ClientError, match=rf"\(ConflictException\).*{text}")


def test_a_stop_stops_the_running_jobs_and_starts_nothing_more(local_sagemaker, pipelines, sagemaker):
    local_sagemaker.rule(kind="Training", duration=60)
    pipelines.create(train("Train"), process("Done"), process("After", DependsOn=["Train"]))
    arn = pipelines.start()
    pipelines.until_step(arn, "Train")
    pipelines.until_step(arn, "Done", "Succeeded")

    pipelines.stop(arn)
    assert pipelines.status(arn) in ("Stopping", "Stopped")
    pipelines.ended(arn)

    assert pipelines.status(arn) == "Stopped"
    assert pipelines.states(arn) == {"Train": "Stopped", "Done": "Succeeded"}
    name = pipelines.steps(arn)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped"
    with refused("is in status Stopped and cannot be stopped"):
        pipelines.stop(arn)


def test_a_stop_ends_a_step_that_waits_for_its_next_attempt(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="InternalServerError: again", duration=0)
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 600, "MaxAttempts": 3}
    pipelines.create(train("Train", RetryPolicies=[policy]))
    arn = pipelines.start()
    until(lambda: pipelines.steps(arn).get("Train", {}).get("AttemptCount") == 2)

    pipelines.stop(arn)
    pipelines.ended(arn)

    assert pipelines.states(arn) == {"Train": "Stopped"}


@pytest.mark.parametrize("status", ["Stopped", "Failed"])
def test_a_job_that_somebody_else_stops(local_sagemaker, pipelines, sagemaker, choose, status):
    choose(stopped_job_status=status)
    local_sagemaker.rule(kind="Training", duration=60)
    pipelines.create(train("Train"), process("After", DependsOn=["Train"]))
    arn = pipelines.start()
    step = pipelines.until_step(arn, "Train")

    sagemaker.stop_training_job(TrainingJobName=step["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2])
    pipelines.ended(arn)

    assert pipelines.states(arn) == {"Train": status}


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_what_a_stopped_step_makes_of_its_execution(local_sagemaker, pipelines, choose, status):
    choose(stopped_step_execution_status=status)
    local_sagemaker.rule(kind="Training", outcome="Stopped")

    assert pipelines.status(pipelines.run(train("Train"))) == status


def test_a_stopped_step_can_have_a_handler(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Training", outcome="Stopped")
    arn = pipelines.run(train("Train"), process("OnStop", DependsOn=after(Train="Stopped")))

    assert pipelines.states(arn) == {"Train": "Stopped", "OnStop": "Succeeded"}
    assert pipelines.status(arn) == "CompletedWithFailures"


def test_a_retry_goes_on_in_place(local_sagemaker, pipelines):
    local_sagemaker.rule(name="-Second-", outcome="Failed", reason="AlgorithmError: once", times=1)
    arn = pipelines.run(process("First"), train("Second", DependsOn=["First"]), process("Third", DependsOn=["Second"]))
    before = pipelines.steps(arn)
    assert pipelines.status(arn) == "Failed"

    pipelines.retry(arn, ClientRequestToken="r" * 32)
    pipelines.ended(arn)
    pipelines.retry(arn, ClientRequestToken="r" * 32)

    steps = pipelines.steps(arn)
    assert pipelines.status(arn) == "Succeeded"
    assert {name: step["StepStatus"] for name, step in steps.items()} == dict.fromkeys(
        ("First", "Second", "Third"), "Succeeded"
    )
    assert steps["First"] == before["First"]
    assert steps["Second"]["Metadata"] != before["Second"]["Metadata"]
    assert "FailureReason" not in pipelines.describe(arn)
    with refused("is in status Succeeded and cannot be retried"):
        pipelines.retry(arn)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_stopped_execution_may_be_resumed(local_sagemaker, pipelines, choose, allowed):
    choose(retry_stopped=allowed)
    local_sagemaker.rule(kind="Training", duration=60, times=1)
    pipelines.create(train("Train"))
    arn = pipelines.start()
    pipelines.until_step(arn, "Train")
    pipelines.stop(arn)
    pipelines.ended(arn)

    if not allowed:
        with refused("is in status Stopped and cannot be retried"):
            pipelines.retry(arn)
        return
    pipelines.retry(arn, ParallelismConfiguration={"MaxParallelExecutionSteps": 7})
    pipelines.ended(arn)
    assert pipelines.status(arn) == "Succeeded"
    assert pipelines.describe(arn)["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 7}


def test_an_execution_that_a_fail_step_ended_is_not_retried(pipelines):
    arn = pipelines.run(fail("No"))

    with refused("was ended by a Fail step"):
        pipelines.retry(arn)


@pytest.mark.parametrize("kept", [True, False])
def test_a_retry_may_keep_the_outcomes_of_conditions(local_sagemaker, pipelines, choose, kept):
    choose(retry_keeps_outcomes=kept)
    local_sagemaker.rule(kind="Training", outcome="Failed", times=1)
    arn = pipelines.run(condition("Check", compare(1, 1), yes=[train("Train")]))
    before = pipelines.steps(arn)["Check"]

    pipelines.retry(arn)
    pipelines.ended(arn)

    assert pipelines.status(arn) == "Succeeded"
    assert (pipelines.steps(arn)["Check"] == before) is kept


@pytest.mark.parametrize("kept", [True, False])
def test_a_retry_may_keep_the_start_time(local_sagemaker, pipelines, choose, kept, sagemaker):
    choose(retry_keeps_start_time=kept)
    local_sagemaker.rule(kind="Training", outcome="Failed", times=1)
    environment = {"Environment": {"BEGIN": get("Execution.StartDateTime")}}
    pipelines.create(train("Train", arguments=environment))
    arn = pipelines.ended(pipelines.start())

    def began():
        name = pipelines.steps(arn)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
        return sagemaker.describe_training_job(TrainingJobName=name)["Environment"]["BEGIN"]

    first = began()
    pipelines.retry(arn)
    pipelines.ended(arn)

    assert (began() == first) is kept
