"""EMRServerless steps, on an application that exists and on one of their own."""

from __future__ import annotations

import json

import pytest

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_runs import ROLE as PIPELINE_ROLE
from tests.steps.types.step_runs import finish, outputs_of, start, violations, wait

ROLE = "arn:aws:iam::123456789012:role/EMRServerlessExecutionRole"
APPLICATION = {"name": "spark-app", "releaseLabel": "emr-6.15.0", "type": "SPARK"}


def serverless(job=None, **arguments):
    driver = {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}}
    return {
        "Name": "Spark",
        "Type": "EMRServerless",
        "Arguments": {"ExecutionRoleArn": ROLE, "JobConfig": driver | (job or {}), **arguments},
    }


@pytest.fixture
def emr(local_sagemaker):
    return local_sagemaker.client("emr-serverless")


@pytest.fixture
def application(local_sagemaker, emr):
    """Give an application that takes jobs."""
    local_sagemaker.rule(kind="EMRServerlessApplication", name="shared", duration=0)
    return emr.create_application(**APPLICATION | {"name": "shared"})["applicationId"]


@pytest.fixture
def on_shared(run_of, application):
    def make(**keys):
        return run_of(serverless(ApplicationId=application), **keys)

    return make


@pytest.fixture
def on_own(run_of):
    def make(**keys):
        return run_of(serverless(ApplicationConfig=APPLICATION), **keys)

    return make


@pytest.fixture(params=["on_shared", "on_own"])
def on_either(request):
    return request.getfixturevalue(request.param)


def job_runs(emr):
    return [
        job_run
        for application in emr.list_applications()["applications"]
        for job_run in emr.list_job_runs(applicationId=application["id"])["jobRuns"]
    ]


def test_outputs_are_the_answer_of_get_job_run(on_either):
    run = on_either()
    state = finish(run)

    outputs = outputs_of(run, state)

    assert state.verdict is Verdict.SUCCEEDED
    assert outputs["jobRun"]["state"] == "SUCCESS"
    assert outputs["jobRun"]["jobDriver"] == {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}
    assert json.loads(json.dumps(outputs)) == outputs


def test_no_worker_waits_for_a_new_application(local_sagemaker, emr, on_own):
    local_sagemaker.rule(kind="EMRServerlessApplication", duration=1.5)
    run = on_own()

    state = start(run)

    assert state.verdict is Verdict.RUNNING
    assert job_runs(emr) == []
    assert wait(run, state).verdict is Verdict.SUCCEEDED
    assert len(job_runs(emr)) == 1


def test_two_triggerers_that_poll_start_one_run(local_sagemaker, emr, on_own):
    local_sagemaker.rule(kind="EMRServerlessApplication", duration=0)
    run = on_own()
    runner = runner_of(StepType.EMR_SERVERLESS)
    request = runner.request(run)
    application = emr.create_application(**request["CreateApplication"])["applicationId"]
    job = request["StartJobRun"] | {"applicationId": application}
    handle = {"name": "x", "application": application, "start": job, "earlier": 0}

    first, second = runner.poll(run.clients, handle), runner.poll(run.clients, handle)

    assert first.handle == second.handle
    assert len(job_runs(emr)) == 1


def test_polling_a_new_application_does_not_rely_on_aws_remembering_tokens(local_sagemaker, on_own):
    finish(on_own())

    assert local_sagemaker.calls()["emr-serverless.StartJobRun"] == 1


def test_a_created_application_is_left(emr, on_own):
    finish(on_own())

    (application,) = emr.list_applications()["applications"]
    assert application["state"] == "STARTED"


def test_a_failed_run_says_why(local_sagemaker, on_either):
    local_sagemaker.rule(kind="EMRServerless", outcome="Failed", reason="Job failed: exit code 1")

    state = finish(on_either())

    assert (state.verdict, state.reason) == (Verdict.FAILED, "Job failed: exit code 1")


def test_a_refused_run_of_a_new_application_says_why(on_own, run_of):
    # moto, as AWS, refuses timeouts below five minutes.
    step = serverless({"executionTimeoutMinutes": 1}, ApplicationConfig=APPLICATION)

    state = finish(run_of(step))

    assert state.verdict is Verdict.FAILED
    assert "StartJobRun was refused with ValidationException: RunTimeout must be at least" in state.reason


def test_a_second_start_finds_what_runs(emr, on_either):
    run = on_either()
    start(run)

    again = start(run)

    assert wait(run, again).verdict is Verdict.SUCCEEDED
    assert len(job_runs(emr)) == 1
    assert len(emr.list_applications()["applications"]) == 1


def test_a_second_start_takes_over_what_has_succeeded(emr, on_either):
    run = on_either()
    finish(run)

    assert start(run).verdict is Verdict.SUCCEEDED
    assert len(job_runs(emr)) == 1


def test_a_retry_after_a_failure_runs_again_on_the_same_application(local_sagemaker, emr, on_either):
    local_sagemaker.rule(kind="EMRServerless", outcome="Failed", times=1)
    run = on_either()

    first, second, third = finish(run), finish(run), finish(run)

    assert (first.verdict, second.verdict, third.verdict) == (Verdict.FAILED, Verdict.SUCCEEDED, Verdict.SUCCEEDED)
    assert len(job_runs(emr)) == 2
    assert len(emr.list_applications()["applications"]) == 1


def test_a_cleared_task_starts_anew(emr, on_either):
    finish(on_either())
    finish(on_either(life=1))

    assert len(job_runs(emr)) == 2


def test_stopping_cancels_the_run(local_sagemaker, on_shared):
    local_sagemaker.rule(kind="EMRServerless", duration=60)
    run = on_shared()
    state = start(run)

    runner_of(StepType.EMR_SERVERLESS).stop(run.clients, state.handle)

    assert wait(run, state).verdict is Verdict.STOPPED


def test_stopping_cancels_also_a_run_that_a_poll_has_started(local_sagemaker, on_own):
    local_sagemaker.rule(kind="EMRServerless", duration=60)
    run = on_own()
    runner, state = runner_of(StepType.EMR_SERVERLESS), start(run)
    while "run" not in runner.poll(run.clients, state.handle).handle:
        pass

    runner.stop(run.clients, state.handle)

    assert wait(run, state).verdict is Verdict.STOPPED


def test_stopping_what_is_over_does_nothing(on_either):
    run = on_either()
    state = finish(run)

    runner_of(StepType.EMR_SERVERLESS).stop(run.clients, state.handle)

    assert runner_of(StepType.EMR_SERVERLESS).poll(run.clients, state.handle).verdict is Verdict.SUCCEEDED


def test_the_requests_are_valid(run_of):
    request = runner_of(StepType.EMR_SERVERLESS).request(run_of(serverless(ApplicationConfig=APPLICATION)))

    assert violations("emr-serverless", "CreateApplication", request["CreateApplication"]) == ""
    job = request["StartJobRun"] | {"applicationId": "00abc"}
    assert violations("emr-serverless", "StartJobRun", job) == ""
    assert 0 < len(job["clientToken"]) <= 64
    assert 0 < len(job["name"]) <= 256


@pytest.mark.parametrize(
    ("job", "arguments", "role"),
    [
        ({"executionRoleArn": "arn:aws:iam::123456789012:role/Job"}, {}, "arn:aws:iam::123456789012:role/Job"),
        ({}, {}, ROLE),
        ({}, {"ExecutionRoleArn": None}, PIPELINE_ROLE),
    ],
)
def test_the_role_is_the_jobs_then_the_steps_then_the_pipelines(run_of, job, arguments, role):
    run = run_of(serverless(job, ApplicationId="00abc", **arguments))

    request = runner_of(StepType.EMR_SERVERLESS).request(run)

    assert request["StartJobRun"]["executionRoleArn"] == role


def test_an_application_that_does_not_exist_is_refused_in_awss_words(run_of):
    with pytest.raises(StepRequestError, match="Application 00abc does not exist"):
        start(run_of(serverless(ApplicationId="00abc")))


def test_messages_name_the_run_and_its_application(on_shared, application):
    state = start(on_shared())

    text = runner_of(StepType.EMR_SERVERLESS).resource(state.handle)
    assert text == f"EMR Serverless job run {state.handle['run']} on application {application}"


def test_an_application_that_somebody_has_deleted_is_replaced(emr, on_own):
    first = finish(on_own())
    application = first.handle["application"]
    emr.stop_application(applicationId=application)
    emr.delete_application(applicationId=application)

    again = finish(on_own())

    assert again.verdict is Verdict.SUCCEEDED
    assert again.handle["application"] != application
