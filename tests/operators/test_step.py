"""The task of a step on a worker against the local endpoint: tries, waiting, failures, connections."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest

from airflow_sagemaker_pipelines import pipeline_dag
from airflow_sagemaker_pipelines.operators import step as steps
from airflow_sagemaker_pipelines.triggers import pace
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
from tests.operators.pipelines import CONSOLE, ROLE, created, dag_of, describe, ended, jobs, training
from tests.operators.worker import Worker, event_of
from tests.triggers.faulty_proxy import DENIED, DROPPED, SERVER_ERROR

VERDICTS = {"timed out": TIMED_OUT, "refused": REFUSED}


def given_up(waiting, verdict):
    """The event of a trigger that will not see the job's end."""
    return {"handle": waiting.trigger.handle, "verdict": VERDICTS[verdict], "reason": "no permission"}


# What a task does


def test_a_task_starts_its_job_waits_without_a_worker_and_returns_what_aws_says(local_sagemaker, server):
    worker = Worker(dag_of(), server)

    waiting = worker.start("Train")

    assert waiting.state == "deferred"
    assert list(jobs(local_sagemaker)) == [waiting.trigger.handle["name"]]
    done = worker.resume(waiting, event_of(waiting.trigger), "Train")
    assert done.state == "success"
    assert server.xcom("Train")["TrainingJobStatus"] == "Completed"


def test_the_rendered_request_is_what_is_sent(local_sagemaker, server):
    worker = Worker(dag_of(parameters={"Url": "s3://lake/{{ ds }}"}), server)

    waiting = worker.start("Train")

    shown = server.rendered["request"]
    shown = json.loads(shown) if isinstance(shown, str) else shown
    assert shown["HyperParameters"] == {"url": "s3://lake/2026-01-01"}
    assert shown["RoleArn"] == ROLE
    (name,) = jobs(local_sagemaker)
    described = describe(local_sagemaker, name)
    assert {member: described[member] for member in shown if member != "Tags"} == {
        member: shown[member] for member in shown if member != "Tags"
    }
    assert waiting.trigger.handle == {"name": name}


def test_a_resumed_task_does_not_resolve_again(local_sagemaker, server):
    # The author's template has no value any more by the time the job has ended.
    worker = Worker(dag_of(parameters={"Url": "{{ ti.xcom_pull(task_ids='Other', key='url') or 1 / 0 }}"}), server)
    server.xcoms["abalone", worker.run_id, "Other"] = {"url": "s3://lake/once"}
    waiting = worker.start("Train")
    shown = server.rendered["request"]
    server.xcoms.pop(("abalone", worker.run_id, "Other"))

    done = worker.resume(waiting, event_of(waiting.trigger), "Train")

    assert done.state == "success"
    assert server.rendered["request"] == shown
    assert created(local_sagemaker) == 1


def test_links_lead_to_the_job_while_the_task_waits(local_sagemaker, server):
    Worker(dag_of(), server).start("Train")

    (name,) = jobs(local_sagemaker)
    console = server.xcom("Train", "_link_console")
    assert console == f"{CONSOLE}/sagemaker/home?region=us-east-1#/jobs/{name}"
    assert f"$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3D{name}" in server.xcom(
        "Train", "_link_logs"
    )


# Further tries


def test_a_retry_attaches_to_the_job_that_runs(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=1.0)
    worker = Worker(dag_of(), server)
    lost = worker.start("Train")

    again = worker.run("Train", try_number=2)

    assert again.state == "success"
    (name,) = jobs(local_sagemaker)
    assert server.xcom("Train")["TrainingJobName"] == lost.trigger.handle["name"] == name


def test_a_retry_takes_over_the_job_that_has_completed(local_sagemaker, server):
    worker = Worker(dag_of(), server)
    worker.start("Train")
    ended(local_sagemaker)

    again = worker.start("Train", try_number=2)

    # At once: there is nothing to wait for.
    assert again.state == "success"
    assert len(jobs(local_sagemaker)) == 1
    assert server.xcom("Train")["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize("outcome", ["Failed", "Stopped"])
def test_a_retry_replaces_a_job_that_did_not_succeed(local_sagemaker, server, outcome):
    local_sagemaker.rule(kind="Training", outcome=outcome, reason="AlgorithmError: x", times=1)
    worker = Worker(dag_of(), server)

    assert worker.run("Train").state == "up_for_retry"
    assert worker.run("Train", try_number=2).state == "success"

    first, second = jobs(local_sagemaker)
    assert list(jobs(local_sagemaker).values()) == [outcome, "Completed"]
    assert second.startswith(first)
    # The tab shows the request that was sent in the end.
    shown = server.rendered["request"]
    assert (json.loads(shown) if isinstance(shown, str) else shown)["TrainingJobName"] == second


def test_a_cleared_task_starts_anew(local_sagemaker, server):
    worker = Worker(dag_of(), server)
    worker.run("Train")

    # After one try, a clear makes room for as many more as the task has retries.
    retries = worker.dag.get_task("Train").retries
    cleared = worker.run("Train", try_number=2, max_tries=1 + retries)

    assert cleared.state == "success"
    assert list(jobs(local_sagemaker).values()) == ["Completed", "Completed"]


def test_a_retry_after_a_clear_attaches_to_the_new_job(local_sagemaker, server):
    worker = Worker(dag_of(), server)
    worker.run("Train")
    max_tries = 1 + worker.dag.get_task("Train").retries
    worker.start("Train", try_number=2, max_tries=max_tries)

    worker.run("Train", try_number=3, max_tries=max_tries)

    assert len(jobs(local_sagemaker)) == 2


def test_other_runs_make_jobs_of_their_own(local_sagemaker, server):
    for run_id in ("run-1", "run-2"):
        assert Worker(dag_of(), server, run_id=run_id).run("Train").state == "success"

    assert len(jobs(local_sagemaker)) == 2


# Lost answers


def test_when_the_answer_to_create_is_lost_the_client_finds_the_job(local_sagemaker, server, proxy):
    proxy.fail("CreateTrainingJob", DROPPED)
    worker = Worker(dag_of(aws_conn_id="proxied"), server)

    assert worker.run("Train").state == "success"

    assert proxy.calls["CreateTrainingJob"] == 2
    assert len(jobs(local_sagemaker)) == 1


def test_when_the_client_gives_up_the_task_looks_for_the_job_itself(local_sagemaker, server, proxy):
    proxy.fail("CreateTrainingJob", DROPPED)
    worker = Worker(dag_of(aws_conn_id="proxied", botocore_config=proxy.one_request), server)

    assert worker.run("Train").state == "success"

    assert proxy.calls["CreateTrainingJob"] == 1
    assert list(jobs(local_sagemaker).values()) == ["Completed"]


def test_when_it_cannot_look_either_the_next_try_finds_the_job(local_sagemaker, server, proxy):
    proxy.fail("CreateTrainingJob", DROPPED)
    proxy.fail("DescribeTrainingJob", SERVER_ERROR)
    worker = Worker(dag_of(aws_conn_id="proxied", botocore_config=proxy.one_request), server)

    lost = worker.run("Train")
    assert lost.state == "up_for_retry"
    assert "CreateTrainingJob got no answer" in str(lost.error)

    assert worker.run("Train", try_number=2).state == "success"
    assert list(jobs(local_sagemaker).values()) == ["Completed"]


# Timeouts and kills


def test_execution_timeout_is_the_deadline_of_the_waiting(local_sagemaker, server):
    worker = Worker(dag_of(default_args={"execution_timeout": timedelta(hours=2)}), server)

    trigger = worker.start("Train").trigger

    assert trigger.deadline == pytest.approx(time.time() + 7200, abs=60)


def test_without_execution_timeout_a_step_may_take_28_days(local_sagemaker, server):
    trigger = Worker(dag_of(), server).start("Train").trigger

    assert trigger.deadline == pytest.approx(time.time() + 28 * 86400, abs=60)


def test_a_task_that_runs_out_of_time_stops_its_job_and_says_so(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    # Longer than the task takes to start: that part has the same limit.
    worker = Worker(dag_of(retries=0, default_args={"execution_timeout": timedelta(seconds=8)}), server)
    waiting = worker.start("Train")
    trigger = waiting.trigger
    trigger.deadline = time.time()

    late = worker.resume(waiting, event_of(trigger), "Train")

    assert late.state == "failed"
    (name,) = jobs(local_sagemaker)
    assert str(late.error) == f"Step 'Train' ran out of time: the task's time is up (training job {name})"
    assert jobs(local_sagemaker)[name] in ("Stopping", "Stopped")


def test_killing_a_task_on_its_worker_stops_the_job(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    outcome = Worker(dag_of(), server).start("Train")
    server.states["Train"] = "failed"

    # Airflow's signal handler calls this on the task that it runs.
    outcome.task.on_kill()

    assert set(jobs(local_sagemaker).values()) <= {"Stopping", "Stopped"}


def test_with_stop_on_kill_off_a_kill_on_the_worker_leaves_the_job(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    outcome = Worker(dag_of(stop_on_kill=False), server).start("Train")
    server.states["Train"] = "failed"

    outcome.task.on_kill()

    assert list(jobs(local_sagemaker).values()) == ["InProgress"]


@pytest.mark.parametrize("stops", [True, False])
@pytest.mark.parametrize("verdict", ["timed out", "refused"])
def test_a_task_that_gives_up_waiting_stops_its_job_unless_stop_on_kill_is_off(local_sagemaker, server, verdict, stops):
    local_sagemaker.rule(kind="Training", duration=3600)
    worker = Worker(dag_of(stop_on_kill=stops, retries=0), server)
    waiting = worker.start("Train")

    failed = worker.resume(waiting, given_up(waiting, verdict), "Train")

    assert failed.state == "failed"
    assert (list(jobs(local_sagemaker).values()) == ["InProgress"]) is not stops


@pytest.mark.parametrize(
    ("verdict", "said"), [("timed out", "ran out of time: the task's time is up"), ("refused", "no permission")]
)
def test_a_job_that_cannot_be_stopped_does_not_hide_why_the_task_gives_up(local_sagemaker, server, verdict, said):
    local_sagemaker.rule(kind="Training", duration=3600)
    local_sagemaker.fault("denied", operation="StopTrainingJob")
    worker = Worker(dag_of(retries=0), server)
    waiting = worker.start("Train")

    failed = worker.resume(waiting, given_up(waiting, verdict), "Train")

    assert failed.state == "failed"
    assert str(failed.error).startswith("Step 'Train' ")
    assert said in str(failed.error)


def test_killing_a_task_that_has_made_nothing_calls_nothing(local_sagemaker, server):
    dag_of().get_task("Train").on_kill()

    assert local_sagemaker.calls() == {}


# Failures


def test_a_stopped_job_fails_its_task(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", outcome="Stopped")

    stopped = Worker(dag_of(retries=0), server).run("Train")

    assert stopped.state == "failed"
    assert str(stopped.error).startswith("Step 'Train' was stopped: ")


def test_a_request_that_aws_refuses_is_not_retried(local_sagemaker, server):
    bad = training(ResourceConfig={"InstanceType": "ml.nonsense", "InstanceCount": 1, "VolumeSizeInGB": 30})

    refused = Worker(dag_of(bad), server).run("Train")

    assert refused.state == "failed"
    assert type(refused.error).__name__ == "AirflowFailException"
    assert "Step 'Train' failed: CreateTrainingJob was refused with ValidationException" in str(refused.error)
    assert created(local_sagemaker) == 1


def test_a_request_that_cannot_be_resolved_is_not_retried(local_sagemaker, server):
    later = training("Later", HyperParameters={"model": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}})
    worker = Worker(dag_of(training(), later), server)

    # Train has left nothing.
    unresolved = worker.run("Later")

    assert unresolved.state == "failed"
    assert "Step 'Later' failed: " in str(unresolved.error)
    assert "task 'Train' has left no result" in str(unresolved.error)
    assert created(local_sagemaker) == 0


def test_a_fail_step_is_not_retried(local_sagemaker, server):
    worker = Worker(dag_of({"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "too bad"}}), server)

    failed = worker.run("No")

    assert failed.state == "failed"
    assert type(failed.error).__name__ == "AirflowFailException"
    assert "Step 'No' failed: too bad" in str(failed.error)


def test_a_wrong_parameter_is_not_retried(local_sagemaker, server):
    parameters = [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]
    document = {"Version": "2020-12-01", "Parameters": parameters, "Steps": [training(HyperParameters={})]}
    arguments = {"role_arn": ROLE, "default_args": {"retries": 3}}
    dag = pipeline_dag("abalone", document, parameters={"Count": "{{ 'many' }}"}, **arguments)

    failed = Worker(dag, server).run("Train")

    assert failed.state == "failed"
    assert type(failed.error).__name__ == "AirflowFailException"
    assert "Count" in str(failed.error)
    assert created(local_sagemaker) == 0


def test_when_aws_does_not_tell_the_state_the_task_fails_for_good(local_sagemaker, server, proxy, monkeypatch):
    monkeypatch.setattr(pace, "MOST_DENIALS", 1)
    proxy.fail("DescribeTrainingJob", DENIED)

    refused = Worker(dag_of(aws_conn_id="proxied", botocore_config=proxy.one_request), server).run("Train")

    assert refused.state == "failed"
    assert "AWS does not tell its state: not authorized to perform this" in str(refused.error)


@pytest.mark.parametrize("mark", ["failed", "success", "skipped"])
def test_a_mark_that_comes_before_the_task_waits_stops_its_job(local_sagemaker, server, monkeypatch, mark):
    local_sagemaker.rule(kind="Training", duration=3600)
    worker = Worker(dag_of(), server)
    note = steps.SageMakerStepOperator._note

    def note_and_be_marked(task, context, state):
        note(task, context, state)
        server.states["Train"] = mark

    monkeypatch.setattr(steps.SageMakerStepOperator, "_note", note_and_be_marked)

    outcome = worker.start("Train")

    assert outcome.state == "failed"
    assert "somebody has ended the task" in str(outcome.error)
    (status,) = jobs(local_sagemaker).values()
    assert status in ("Stopping", "Stopped")


def test_a_service_fault_is_retried(local_sagemaker, server, proxy):
    proxy.fail("CreateTrainingJob", SERVER_ERROR)
    worker = Worker(dag_of(aws_conn_id="proxied", botocore_config=proxy.one_request), server)

    assert worker.run("Train").state == "up_for_retry"
    assert worker.run("Train", try_number=2).state == "success"


# Connections


def test_connection_settings_reach_workers_and_triggers(local_sagemaker, server, proxy):
    config = {"user_agent_extra": "team/7", "read_timeout": 7}
    dag = dag_of(aws_conn_id="proxied", region_name="eu-west-1", verify=False, botocore_config=config)

    assert Worker(dag, server).run("Train").state == "success"

    sent = dict(proxy.requests)
    assert set(sent) == {"CreateTrainingJob", "DescribeTrainingJob"}
    for headers in sent.values():
        assert "team/7" in headers["User-Agent"]
        assert "/eu-west-1/sagemaker/" in headers["Authorization"]
    assert "eu-west-1" in server.xcom("Train")["TrainingJobArn"]
    # Nothing has gone past the connection's endpoint.
    assert created(local_sagemaker) == proxy.calls["CreateTrainingJob"] == 1
