"""The sensor of jobs on a worker and in a triggerer, against the local endpoint."""

from __future__ import annotations

import asyncio
import pickle
import re
import time
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, Asset

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.sensors.job import JobFailedError, JobStoppedError, SageMakerJobSensor
from airflow_sagemaker_pipelines.triggers import pace
from airflow_sagemaker_pipelines.triggers.step import StepTrigger
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY
from tests.local.endpoint_support import (
    auto_ml_request,
    create_model,
    processing_request,
    training_request,
    transform_request,
    tuning_request,
    until,
)
from tests.operators.pipelines import CONSOLE, ended, jobs
from tests.operators.pipelines import dag_of as pipeline_of
from tests.operators.worker import Worker, event_of

DESCRIBE, STOP = "sagemaker.DescribeTrainingJob", "sagemaker.StopTrainingJob"
LINE = r"\[algo-1 \d\d:\d\d:\d\dZ\]"


def dag_of(**arguments):
    """A DAG with a sensor, which is called Wait."""
    with DAG("watching", schedule=None) as dag:
        SageMakerJobSensor(
            task_id="Wait", **{"job_type": "Training", "job_name": "job", "poll_interval": 0.1} | arguments
        )
    return dag


def train(local_sagemaker, name="job", **rule):
    """Somebody starts a training job."""
    if rule:
        local_sagemaker.rule(kind="Training", **rule)
    local_sagemaker.client("sagemaker").create_training_job(**training_request(name))


def calls(local_sagemaker, operation=DESCRIBE):
    return local_sagemaker.calls().get(operation, 0)


# What the sensor does


def test_a_job_that_has_completed_is_found_at_once(local_sagemaker, server):
    train(local_sagemaker)
    ended(local_sagemaker)
    local_sagemaker.clear_calls()

    done = Worker(dag_of(), server).start("Wait")

    assert done.state == "success"
    assert server.xcom("Wait")["TrainingJobName"] == "job"
    assert server.xcom("Wait")["TrainingJobStatus"] == "Completed"
    assert calls(local_sagemaker) == 1


def test_a_job_that_runs_is_waited_for_without_a_worker(local_sagemaker, server):
    train(local_sagemaker, duration=1.0)
    worker = Worker(dag_of(), server)

    waiting = worker.start("Wait")

    assert waiting.state == "deferred"
    done = worker.resume(waiting, event_of(waiting.trigger), "Wait")
    assert done.state == "success"
    assert server.xcom("Wait")["TrainingJobStatus"] == "Completed"


REQUESTS = {
    "Training": training_request,
    "Processing": processing_request,
    "Transform": transform_request,
    "Tuning": tuning_request,
    "AutoML": auto_ml_request,
}
NAMES = {"Tuning": "HyperParameterTuningJob", "AutoML": "AutoMLJob"}


@pytest.mark.parametrize("job_type", sorted(REQUESTS))
def test_jobs_of_every_type_are_waited_for(local_sagemaker, server, job_type):
    client = local_sagemaker.client("sagemaker")
    create_model(client)
    stem = NAMES.get(job_type, f"{job_type}Job")
    create = {"AutoML": "create_auto_ml_job", "Tuning": "create_hyper_parameter_tuning_job"}
    getattr(client, create.get(job_type, f"create_{job_type.lower()}_job"))(**REQUESTS[job_type]("job"))

    done = Worker(dag_of(job_type=job_type), server).run("Wait")

    assert done.state == "success"
    assert server.xcom("Wait")[f"{stem}Name"] == "job"
    assert server.xcom("Wait")[f"{stem}Status"] == "Completed"


def test_the_job_may_be_named_by_another_task(local_sagemaker, server):
    train(local_sagemaker, "nightly-2026-01-01")
    worker = Worker(dag_of(job_name="{{ ti.xcom_pull(task_ids='Start') }}-{{ ds }}"), server)
    server.xcoms["watching", worker.run_id, "Start"] = {"return_value": "nightly"}

    assert worker.run("Wait").state == "success"
    assert server.xcom("Wait")["TrainingJobName"] == "nightly-2026-01-01"


def test_sensors_share_their_looks_with_the_steps_of_pipelines(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    step = Worker(pipeline_of(), server).start("Train").trigger

    sensor = Worker(dag_of(), server).start("Wait").trigger

    assert type(sensor) is StepTrigger
    assert sensor.shared_stream_key() == step.shared_stream_key()


def test_the_trigger_knows_what_the_author_wants(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    wanted = {"event_queue_url": "https://queue", "stop_on_kill": True, "stream_logs": True, "poll_interval": 7.0}

    trigger = Worker(dag_of(region_name="us-east-1", **wanted), server).start("Wait").trigger

    assert trigger.connection["region_name"] == "us-east-1"
    assert (trigger.event_queue_url, trigger.poll_interval) == ("https://queue", 7.0)
    assert (trigger.stop_on_kill, trigger.streams_log, trigger.ends_task) == (True, True, True)
    plain = Worker(dag_of(), server).start("Wait").trigger
    assert (plain.event_queue_url, plain.stop_on_kill, plain.streams_log) == (None, False, False)


def test_a_success_ends_on_a_worker_if_that_has_more_to_do(local_sagemaker, server):
    train(local_sagemaker, duration=3600)

    trigger = Worker(dag_of(outlets=[Asset("model")]), server).start("Wait").trigger

    assert not trigger.ends_task


def test_links_lead_to_the_job_while_the_sensor_waits(local_sagemaker, server):
    train(local_sagemaker, duration=3600)

    Worker(dag_of(), server).start("Wait")

    assert server.xcom("Wait", "_link_console") == f"{CONSOLE}/sagemaker/home?region=us-east-1#/jobs/job"
    assert "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3Djob" in server.xcom("Wait", "_link_logs")


# Failures


def place(name="job"):
    group = "$252Faws$252Fsagemaker$252FTrainingJobs"
    log = f"{CONSOLE}/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/{group}$3FlogStreamNameFilter$3D"
    return f"(log: {log}{name}$252F)"


@pytest.mark.parametrize("is_over", [True, False])
@pytest.mark.parametrize(("outcome", "error"), [("Failed", JobFailedError), ("Stopped", JobStoppedError)])
def test_a_job_without_success_fails_the_task_for_good(local_sagemaker, server, outcome, error, is_over):
    train(local_sagemaker, outcome=outcome, reason="AlgorithmError: no data", duration=0.1 if is_over else 1.0)
    if is_over:
        ended(local_sagemaker)

    failed = Worker(dag_of(retries=3), server).run("Wait")

    assert failed.state == "failed"
    assert type(failed.error) is error
    first, *lines = str(failed.error).splitlines()
    happened = {"Failed": "has failed", "Stopped": "was stopped"}[outcome]
    assert first == f"The training job job {happened}: AlgorithmError: no data {place()}"
    assert lines
    assert all(re.match(LINE, line) for line in lines)


def test_an_error_is_the_same_in_another_process(local_sagemaker, server):
    train(local_sagemaker, outcome="Failed", reason="AlgorithmError: no data")
    error = Worker(dag_of(), server).run("Wait").error

    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again)) == (type(error), str(error))


def test_a_job_without_a_log_is_shown_in_the_console(local_sagemaker, server):
    local_sagemaker.rule(kind="AutoML", outcome="Failed", reason="no target")
    local_sagemaker.client("sagemaker").create_auto_ml_job(**auto_ml_request("job"))

    failed = Worker(dag_of(job_type="AutoML"), server).run("Wait")

    console = f"{CONSOLE}/sagemaker/home?region=us-east-1#/auto-ml/job"
    assert str(failed.error) == f"The AutoML job job has failed: no target (console: {console})"


def test_a_job_that_does_not_exist_is_said_so_at_once(local_sagemaker, server):
    missing = Worker(dag_of(retries=3, region_name="us-east-1"), server).start("Wait")

    assert missing.state == "failed"
    assert str(missing.error).startswith(
        "AWS does not tell the state of training job job (connection 'aws_default', region us-east-1): "
    )
    assert "not found" in str(missing.error)
    assert calls(local_sagemaker) == 1


@pytest.mark.parametrize("setting", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("is_over", [True, False])
def test_a_sensor_that_must_not_fail_is_skipped(local_sagemaker, server, setting, is_over):
    train(local_sagemaker, outcome="Failed", duration=0.1 if is_over else 1.0)
    if is_over:
        ended(local_sagemaker)

    assert Worker(dag_of(**{setting: True}), server).run("Wait").state == "skipped"


def test_a_name_that_nobody_knows_may_be_skipped_too(local_sagemaker, server):
    assert Worker(dag_of(soft_fail=True), server).start("Wait").state == "skipped"


def test_a_crashed_trigger_is_another_try(local_sagemaker, server):
    train(local_sagemaker, duration=1.0)
    worker = Worker(dag_of(retries=1), server)
    worker.start("Wait")

    assert worker.resume_crashed("Wait").state == "up_for_retry"
    assert worker.run("Wait", try_number=2).state == "success"


# Bad input


@pytest.mark.parametrize("job_type", ["Model", "Job", "training", "TrainingJob", StepType.CALLBACK, None, ["Training"]])
def test_a_type_that_makes_no_job_is_refused_when_the_dag_is_built(job_type):
    with pytest.raises(
        ValueError, match="job_type must be one of 'Processing', 'Training', 'Transform', 'Tuning', 'Auto"
    ):
        dag_of(job_type=job_type)


def test_a_type_may_be_given_as_step_type():
    assert dag_of(job_type=StepType.TUNING).get_task("Wait").job_type is StepType.TUNING


@pytest.mark.parametrize("name", ["", "{{ none }}", None, 7])
def test_a_name_that_is_none_is_refused_without_a_call(local_sagemaker, server, name):
    # As NativeEnvironment renders it.
    dag = dag_of(job_name=name)
    dag.render_template_as_native_obj = True

    refused = Worker(dag, server).start("Wait")

    assert refused.state == "failed"
    assert str(refused.error).startswith("job_name must be the name of a job, not ")
    assert calls(local_sagemaker) == 0


# Faults


@pytest.mark.parametrize("fault", ["throttle", "denied", "reset", "truncate"])
def test_a_first_look_that_goes_wrong_for_a_moment_is_repeated_by_the_triggerer(local_sagemaker, server, hasty, fault):
    train(local_sagemaker)
    ended(local_sagemaker)
    local_sagemaker.fault(fault, operation="DescribeTrainingJob", times=2)
    worker = Worker(dag_of(botocore_config={"retries": {"total_max_attempts": 1}, "user_agent_extra": fault}), server)

    waiting = worker.start("Wait")

    assert waiting.state == "deferred"
    assert worker.resume(waiting, event_of(waiting.trigger), "Wait").state == "success"
    assert server.xcom("Wait")["TrainingJobStatus"] == "Completed"


def test_a_look_that_is_denied_again_and_again_fails_the_task(local_sagemaker, server, hasty):
    train(local_sagemaker)
    local_sagemaker.fault("denied", operation="DescribeTrainingJob")

    refused = Worker(dag_of(retries=3), server).run("Wait")

    assert refused.state == "failed"
    assert "AWS does not tell the state of training job job (connection 'aws_default'): " in str(refused.error)
    assert "not authorized" in str(refused.error)
    assert calls(local_sagemaker) == 1 + pace.MOST_DENIALS


# Time


def test_the_timeout_is_the_deadline_of_the_waiting(local_sagemaker, server):
    train(local_sagemaker, duration=3600)

    trigger = Worker(dag_of(timeout=timedelta(hours=2)), server).start("Wait").trigger

    assert trigger.deadline == pytest.approx(time.time() + 7200, abs=60)


def test_without_a_timeout_it_is_that_of_airflows_sensors(local_sagemaker, server):
    train(local_sagemaker, duration=3600)

    trigger = Worker(dag_of(), server).start("Wait").trigger

    assert trigger.deadline == pytest.approx(time.time() + 7 * 86400, abs=60)


def late(worker, **tries):
    """Let a sensor's time be up while it waits."""
    waiting = worker.start("Wait", **tries)
    trigger = waiting.trigger
    trigger.deadline = time.time()
    event = event_of(trigger)
    assert event["verdict"] == TIMED_OUT
    return worker.resume(waiting, event, "Wait", **tries)


def test_a_sensor_whose_time_is_up_fails_without_another_try_and_leaves_the_job(local_sagemaker, server):
    train(local_sagemaker, duration=3600)

    failed = late(Worker(dag_of(timeout=90, retries=3), server))

    assert failed.state == "failed"
    assert type(failed.error).__name__ == "AirflowSensorTimeout"
    assert str(failed.error) == "training job job: nothing to report after 90 seconds"
    assert jobs(local_sagemaker) == {"job": "InProgress"}


def test_a_sensor_whose_time_is_up_may_be_skipped(local_sagemaker, server):
    train(local_sagemaker, duration=3600)

    assert late(Worker(dag_of(soft_fail=True), server)).state == "skipped"


def test_a_sensor_whose_time_is_up_stops_the_job_if_it_is_told_to(local_sagemaker, server):
    train(local_sagemaker, duration=3600)

    assert late(Worker(dag_of(stop_on_kill=True), server)).state == "failed"

    assert jobs(local_sagemaker)["job"] in {"Stopping", "Stopped"}


def test_a_job_that_cannot_be_stopped_does_not_hide_that_time_is_up(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    local_sagemaker.fault("denied", operation="StopTrainingJob")

    failed = late(Worker(dag_of(stop_on_kill=True), server))

    assert type(failed.error).__name__ == "AirflowSensorTimeout"
    assert calls(local_sagemaker, STOP) == 1


def age(server, seconds):
    """Let the first try of a task's present life have begun so much earlier."""
    key = max(key for key in server.stored if key[1].startswith("first_try"))
    server.stored[key] = (datetime.fromisoformat(server.stored[key]) - timedelta(seconds=seconds)).isoformat()


def test_tries_share_the_timeout(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    worker = Worker(dag_of(timeout=7200, retries=3), server)
    worker.start("Wait")
    age(server, 3600)

    trigger = worker.start("Wait", try_number=2).trigger

    assert trigger.deadline == pytest.approx(time.time() + 3600, abs=60)


def test_a_try_that_begins_too_late_looks_once_more(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    worker = Worker(dag_of(timeout=7200, retries=3), server)
    worker.start("Wait")
    age(server, 7300)

    assert worker.start("Wait", try_number=2).state == "failed"
    local_sagemaker.client("sagemaker").stop_training_job(TrainingJobName="job")
    until(lambda: jobs(local_sagemaker)["job"] == "Stopped")
    assert type(worker.start("Wait", try_number=3).error) is JobStoppedError


def test_a_cleared_sensor_has_the_whole_timeout_again(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    worker = Worker(dag_of(timeout=7200, retries=3), server)
    worker.start("Wait")
    age(server, 7300)

    trigger = worker.start("Wait", try_number=2, max_tries=4).trigger

    assert trigger.deadline == pytest.approx(time.time() + 7200, abs=60)


def test_without_notes_each_try_has_the_whole_timeout(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    worker = Worker(dag_of(timeout=7200, retries=3), server, has_store=False)

    trigger = worker.start("Wait", try_number=2).trigger

    assert trigger.deadline == pytest.approx(time.time() + 7200, abs=60)


def test_a_new_try_that_gets_the_event_of_the_old_one_looks_itself(local_sagemaker, server):
    # As Airflow 3.1.0 does after a clear.
    train(local_sagemaker, duration=3600)
    worker = Worker(dag_of(), server)
    waiting = worker.start("Wait")
    old = {"handle": {"name": "job"}, "try_number": 1, "verdict": REFUSED, "reason": "gone"}

    again = worker.resume(waiting, old, "Wait", try_number=2)

    assert again.state == "deferred"
    assert again.trigger.try_number == 2


# Kills


def killed(server, trigger, *, state="failed"):
    """Kill the waiting sensor as the triggerer does, when the server says this of it."""
    server.states["Wait"] = state
    server.xcoms["watching", "run-1", "Wait"] = {HANDLE_KEY: {"name": "job"}}
    trigger.task_instance = SimpleNamespace(dag_id="watching", task_id="Wait", run_id="run-1", map_index=-1)
    asyncio.run(trigger.on_kill())


@pytest.mark.parametrize("stops", [True, False])
def test_a_kill_stops_the_job_only_if_the_sensor_is_told_to(local_sagemaker, server, stops):
    train(local_sagemaker, duration=3600)
    waiting = Worker(dag_of(stop_on_kill=stops), server).start("Wait")

    killed(server, waiting.trigger)

    assert calls(local_sagemaker, STOP) == stops


@pytest.mark.parametrize("stops", [True, False])
def test_a_kill_on_the_worker_stops_the_job_only_if_the_sensor_is_told_to(local_sagemaker, server, stops):
    train(local_sagemaker, duration=3600)
    waiting = Worker(dag_of(stop_on_kill=stops), server).start("Wait")
    server.states["Wait"] = "failed"

    waiting.task.on_kill()

    assert calls(local_sagemaker, STOP) == stops


def test_a_worker_that_was_taken_for_dead_leaves_the_job_to_the_next_try(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    waiting = Worker(dag_of(stop_on_kill=True), server).start("Wait")
    server.states["Wait"] = "up_for_retry"

    waiting.task.on_kill()

    assert calls(local_sagemaker, STOP) == 0


def test_a_triggerer_that_another_has_replaced_stops_nothing(local_sagemaker, server):
    train(local_sagemaker, duration=3600)
    waiting = Worker(dag_of(stop_on_kill=True), server).start("Wait")
    assert server.xcom("Wait", HANDLE_KEY) == {"name": "job"}

    killed(server, waiting.trigger, state="deferred")

    assert calls(local_sagemaker, STOP) == 0
