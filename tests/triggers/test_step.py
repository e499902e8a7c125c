"""The trigger of a step against the local endpoint: what it says, and when it stops a job."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from importlib import import_module
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.serde import deserialize, serialize

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.triggers import step as triggers
from airflow_sagemaker_pipelines.triggers.step import REFUSED, TIMED_OUT, StepTrigger
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY
from tests.operators.worker import Server, event_of
from tests.triggers.faulty_proxy import DENIED, GARBAGE, SERVER_ERROR, THROTTLED, faulty_proxy

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
TASK = {"dag_id": "abalone", "task_id": "Train", "run_id": "run-1", "map_index": -1}


def create(local_sagemaker, name="job"):
    local_sagemaker.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingInputMode": "File", "TrainingImage": "image"},
        OutputDataConfig={"S3OutputPath": "s3://lake/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )


def trigger_of(name="job", *, deadline=None, poll_interval=0.1, **connection):
    return StepTrigger(
        step_type="Training",
        handle={"name": name},
        connection=AwsConnection(**connection).serialize(),
        poll_interval=poll_interval,
        deadline=deadline,
    )


def status(local_sagemaker, name="job"):
    return local_sagemaker.client("sagemaker").describe_training_job(TrainingJobName=name)["TrainingJobStatus"]


def stops(local_sagemaker):
    return local_sagemaker.calls().get("sagemaker.StopTrainingJob", 0)


def until(holds, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


@pytest.fixture
def long_job(local_sagemaker):
    local_sagemaker.rule(kind="Training", duration=3600)
    create(local_sagemaker)


@pytest.fixture
def server(monkeypatch):
    """What the triggerer asks for the state of a task."""
    running = Server()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", running, raising=False)
    return running


def test_a_triggerer_makes_the_same_trigger_again():
    trigger = trigger_of(deadline=1e9, aws_conn_id=None, verify=False, botocore_config={"read_timeout": 7})

    # The way through the database.
    classpath, arguments = trigger.serialize()
    stored = json.loads(json.dumps(serialize(arguments)))
    module, _, name = classpath.rpartition(".")
    again = getattr(import_module(module), name)(**deserialize(stored))

    assert type(again) is StepTrigger
    assert again.serialize() == trigger.serialize()


def test_a_job_that_completes_is_a_success_with_its_description(local_sagemaker):
    create(local_sagemaker)

    event = event_of(trigger_of())

    assert event["handle"] == {"name": "job"}
    assert event["verdict"] == "succeeded"
    assert event["outputs"]["TrainingJobStatus"] == "Completed"
    assert event["outputs"]["ModelArtifacts"]["S3ModelArtifacts"] == "s3://lake/models/job/output/model.tar.gz"


def test_a_job_that_fails_says_why(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    create(local_sagemaker)

    event = event_of(trigger_of())

    assert (event["verdict"], event["reason"]) == ("failed", "AlgorithmError: no data")
    assert event["outputs"] is None


def test_a_job_that_somebody_stops_is_no_success(local_sagemaker, long_job):
    local_sagemaker.client("sagemaker").stop_training_job(TrainingJobName="job")

    assert event_of(trigger_of())["verdict"] == "stopped"


def test_a_job_that_aws_does_not_know_is_refused_at_once(local_sagemaker):
    event = event_of(trigger_of("no-such-job"))

    assert event["verdict"] == REFUSED
    assert "not found" in event["reason"]
    assert local_sagemaker.calls()["sagemaker.DescribeTrainingJob"] == 1


def test_a_denied_call_is_refused_at_once(local_sagemaker, long_job, proxy):
    proxy.fail("DescribeTrainingJob", DENIED)

    event = event_of(trigger_of(aws_conn_id="proxied", botocore_config=proxy.one_request))

    assert (event["verdict"], event["reason"]) == (REFUSED, "not authorized to perform this")


def test_the_deadline_ends_the_waiting_not_the_job(local_sagemaker, long_job):
    event = event_of(trigger_of(deadline=time.time() + 0.5))

    assert event["verdict"] == TIMED_OUT
    # The task stops it, as it knows whether that is wanted.
    assert status(local_sagemaker) == "InProgress"


def test_a_job_that_has_ended_by_the_deadline_counts(local_sagemaker):
    create(local_sagemaker)
    until(lambda: status(local_sagemaker) == "Completed")

    assert event_of(trigger_of(deadline=time.time() - 60))["verdict"] == "succeeded"


@pytest.mark.parametrize("fault", [SERVER_ERROR, GARBAGE, THROTTLED])
def test_an_answer_that_may_be_better_next_time_is_asked_for_again(local_sagemaker, proxy, fault):
    create(local_sagemaker)
    until(lambda: status(local_sagemaker) == "Completed")
    proxy.fail("DescribeTrainingJob", fault, fault)

    event = event_of(trigger_of(aws_conn_id="proxied", botocore_config=proxy.one_request))

    assert event["verdict"] == "succeeded"
    assert proxy.calls["DescribeTrainingJob"] == 3


def test_an_endpoint_that_is_away_for_a_while_is_asked_again(local_sagemaker, monkeypatch):
    create(local_sagemaker)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with faulty_proxy(local_sagemaker.url) as stand_in:
        monkeypatch.setenv("AIRFLOW_CONN_PROXIED", stand_in.connection(endpoint_url=f"http://127.0.0.1:{port}"))
    trigger = trigger_of(aws_conn_id="proxied", botocore_config=stand_in.one_request)

    async def wait():
        events = trigger.run()
        event = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.5)
        assert not event.done()
        with faulty_proxy(local_sagemaker.url, port) as back:
            payload = (await asyncio.wait_for(event, 20)).payload
            return payload, back.calls

    payload, calls = asyncio.run(wait())

    assert payload["verdict"] == "succeeded"
    assert calls["DescribeTrainingJob"] == 1


def test_trouble_does_not_outlast_the_deadline(local_sagemaker, long_job, proxy):
    proxy.fail("DescribeTrainingJob", *[SERVER_ERROR] * 1000)

    event = event_of(trigger_of(deadline=time.time() + 0.5, aws_conn_id="proxied", botocore_config=proxy.one_request))

    assert event["verdict"] == TIMED_OUT


def test_a_trigger_that_fires_too_early_for_the_scheduler_does_not(local_sagemaker, monkeypatch):
    monkeypatch.setattr(triggers, "_FIRST_LOOK_SECONDS", 0.6)
    create(local_sagemaker)
    until(lambda: status(local_sagemaker) == "Completed")
    trigger = trigger_of()
    trigger.task_instance = SimpleNamespace(**TASK)
    started = time.monotonic()

    event_of(trigger)

    assert time.monotonic() - started >= 0.6


# What a kill does. Airflow cancels the task of the trigger with this text, and calls on_kill only when it comes back.
KILL = "__airflow_user_action__"


async def killed(trigger, *, after=0.3, cut_short=None):
    """Run a trigger as the triggerer does, kill its task, and return whether on_kill was called."""

    async def run():
        async for _ in trigger.run():
            pass

    running = asyncio.ensure_future(run())
    await asyncio.sleep(after)
    running.cancel(KILL)
    try:
        await running
    except asyncio.CancelledError as error:
        if error.args != (KILL,):
            return False
    kill = asyncio.ensure_future(trigger.on_kill())
    if cut_short is not None:
        await asyncio.sleep(cut_short)
        kill.cancel(KILL)
    try:
        await kill
    except asyncio.CancelledError:
        # The triggerer goes on to live, and with it the stop that has begun.
        await asyncio.sleep(1.0)
    return True


def test_killing_the_task_stops_the_job(local_sagemaker, long_job):
    assert asyncio.run(killed(trigger_of(poll_interval=60)))

    assert status(local_sagemaker) in ("Stopping", "Stopped")
    assert stops(local_sagemaker) == 1


def test_a_kill_in_the_middle_of_a_poll_stops_the_job(local_sagemaker, long_job, monkeypatch):
    def slow(trigger):
        time.sleep(0.6)
        return ask(trigger)

    ask = StepTrigger._ask
    monkeypatch.setattr(StepTrigger, "_ask", slow)

    assert asyncio.run(killed(trigger_of(), after=0.2)), "the text of Airflow's cancellation was lost"

    assert status(local_sagemaker) in ("Stopping", "Stopped")


def test_a_stop_outlives_airflows_patience(local_sagemaker, long_job, monkeypatch):
    # Airflow 3.3 cancels on_kill after a second; here after a tenth, while it still asks whether it may stop the job.
    async def ask_long(trigger):
        await asyncio.sleep(0.5)
        return False

    monkeypatch.setattr(StepTrigger, "_is_waited_for", ask_long)

    asyncio.run(killed(trigger_of(poll_interval=60), cut_short=0.1))

    assert status(local_sagemaker) in ("Stopping", "Stopped")


def test_a_kill_after_the_event_stops_nothing(local_sagemaker, long_job):
    async def end_and_kill():
        trigger = trigger_of(deadline=time.time())
        event = await anext(trigger.run())
        await trigger.on_kill()
        return event

    assert asyncio.run(end_and_kill()).payload["verdict"] == TIMED_OUT
    assert stops(local_sagemaker) == 0
    assert status(local_sagemaker) == "InProgress"


def kill_on(server, *, state, made, map_index=-1):
    """Kill a task of which the server says this."""
    server.states["Train" if map_index < 0 else f"Train_{map_index}"] = state
    server.xcoms[TASK["dag_id"], TASK["run_id"], TASK["task_id"]] = {HANDLE_KEY: made}
    trigger = trigger_of()
    trigger.task_instance = SimpleNamespace(**(TASK | {"map_index": map_index}))
    asyncio.run(trigger.on_kill())


def test_a_triggerer_that_another_has_replaced_stops_nothing(local_sagemaker, long_job, server):
    kill_on(server, state="deferred", made={"name": "job"})

    assert stops(local_sagemaker) == 0


def test_a_replaced_triggerer_knows_an_iteration_of_a_loop_by_its_index(local_sagemaker, long_job, server):
    kill_on(server, state="deferred", made={"name": "job"}, map_index=1)

    assert stops(local_sagemaker) == 0


@pytest.mark.parametrize("state", ["failed", "success", "queued", "running"])
def test_the_job_of_a_task_that_waits_no_longer_is_stopped(local_sagemaker, long_job, server, state):
    kill_on(server, state=state, made={"name": "job"})

    assert stops(local_sagemaker) == 1


def test_the_job_of_an_earlier_try_is_stopped_while_a_new_one_waits(local_sagemaker, long_job, server):
    # After a clear, the new try begins before the trigger of the old one hears of it.
    create(local_sagemaker, "job-1")

    kill_on(server, state="deferred", made={"name": "job-1"})

    assert status(local_sagemaker, "job") in ("Stopping", "Stopped")
    assert status(local_sagemaker, "job-1") == "InProgress"


def test_stopping_a_job_that_is_over_is_no_error(local_sagemaker):
    create(local_sagemaker)
    until(lambda: status(local_sagemaker) == "Completed")

    asyncio.run(trigger_of().on_kill())

    assert status(local_sagemaker) == "Completed"
