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
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.triggers import looks, pace, watch
from airflow_sagemaker_pipelines.triggers import step as triggers
from airflow_sagemaker_pipelines.triggers.step import StepTrigger
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
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


def test_a_call_that_is_denied_again_and_again_is_refused(local_sagemaker, long_job, proxy, monkeypatch):
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.01)
    proxy.fail("DescribeTrainingJob", *[DENIED] * pace.MOST_DENIALS)

    event = event_of(trigger_of(aws_conn_id="proxied", botocore_config=proxy.one_request))

    assert (event["verdict"], event["reason"]) == (REFUSED, "not authorized to perform this")
    assert proxy.calls["DescribeTrainingJob"] == pace.MOST_DENIALS


def test_credentials_that_are_wrong_for_a_moment_are_taken_anew(local_sagemaker, proxy, monkeypatch):
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.01)
    create(local_sagemaker)
    until(lambda: status(local_sagemaker) == "Completed")
    proxy.fail("DescribeTrainingJob", *[DENIED] * (pace.MOST_DENIALS - 1))
    made = []
    forget = watch.forget_shared_clients
    monkeypatch.setattr(watch, "forget_shared_clients", lambda: made.append(1) or forget())

    event = event_of(trigger_of(aws_conn_id="proxied", botocore_config=proxy.one_request))

    assert event["verdict"] == "succeeded"
    assert len(made) == pace.MOST_DENIALS - 1


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
    monkeypatch.setattr(triggers, "_EARLIEST_RESUMPTION_SECONDS", 0.6)
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
    def slow(*arguments):
        time.sleep(0.6)
        return describe(*arguments)

    describe = looks.describe
    monkeypatch.setattr(looks, "describe", slow)

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


def test_a_stop_that_aws_does_not_answer_is_repeated(local_sagemaker, long_job, monkeypatch):
    monkeypatch.setattr(pace, "back_off", lambda failures: 0.05)
    local_sagemaker.fault("internal", operation="StopTrainingJob", times=2)
    once = {"retries": {"total_max_attempts": 1}}

    assert asyncio.run(killed(trigger_of(poll_interval=60, botocore_config=once)))

    assert status(local_sagemaker) in ("Stopping", "Stopped")
    assert stops(local_sagemaker) == 3


def test_a_stop_that_aws_refuses_is_not_repeated(local_sagemaker, long_job):
    local_sagemaker.fault("denied", operation="StopTrainingJob")

    assert asyncio.run(killed(trigger_of(poll_interval=60)))

    assert status(local_sagemaker) == "InProgress"
    assert stops(local_sagemaker) == 1


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


# --- how a task ends from here


@pytest.fixture
def waits_for(server):
    """A trigger that waits for a job on behalf of a task of a scheduler."""

    def make(name="job", **arguments):
        trigger = trigger_of(name)
        _, stored = trigger.serialize()
        trigger = StepTrigger(**stored | {"ends_task": True, "try_number": 1} | arguments)
        trigger.task_instance = SimpleNamespace(**TASK)
        return trigger

    return make


def fired(trigger, seconds=20):
    """The event itself, not what it says."""

    async def first():
        return await asyncio.wait_for(anext(trigger.run()), seconds)

    return asyncio.run(first())


@pytest.fixture
def ended_job(local_sagemaker):
    create(local_sagemaker)
    until(lambda: status(local_sagemaker) == "Completed")


def test_a_success_ends_the_task_at_once_with_the_result_in_xcom(server, waits_for, ended_job, monkeypatch):
    # Nothing is resumed, so there is nothing that could be resumed too early.
    monkeypatch.setattr(triggers, "_EARLIEST_RESUMPTION_SECONDS", 3600)
    as_a_worker_gets_it = event_of(trigger_of())["outputs"]

    event = fired(waits_for())

    assert type(event) is TaskSuccessEvent
    # Airflow 3.3.2 makes JSON of them twice, so they are not in the event.
    assert event.xcoms is None
    assert server.xcoms == {("abalone", "run-1", "Train"): {"return_value": as_a_worker_gets_it}}
    assert as_a_worker_gets_it["TrainingJobStatus"] == "Completed"


def test_the_result_of_an_iteration_of_a_loop_is_pushed_under_its_index(server, waits_for, ended_job, monkeypatch):
    pushed = []
    monkeypatch.setattr(server, "_SetXCom", pushed.append)
    trigger = waits_for()
    trigger.task_instance = SimpleNamespace(**TASK | {"map_index": 3})

    assert type(fired(trigger)) is TaskSuccessEvent
    assert [(message.task_id, message.key, message.map_index) for message in pushed] == [("Train", "return_value", 3)]


def test_a_success_resumes_the_task_if_a_worker_has_more_to_do(server, waits_for, ended_job, monkeypatch):
    monkeypatch.setattr(triggers, "_EARLIEST_RESUMPTION_SECONDS", 0)

    event = fired(waits_for(ends_task=False))

    assert type(event) is TriggerEvent
    assert (event.payload["verdict"], event.payload["try_number"]) == ("succeeded", 1)
    assert server.xcoms == {}


def test_a_success_resumes_the_task_under_dag_test(server, waits_for, ended_job):
    trigger = waits_for()
    trigger.task_instance = None

    event = fired(trigger)

    assert type(event) is TriggerEvent
    assert event.payload["outputs"]["TrainingJobStatus"] == "Completed"
    assert server.xcoms == {}


@pytest.mark.parametrize(("outcome", "verdict"), [("Failed", "failed"), ("Stopped", "stopped")])
def test_what_is_no_success_resumes_the_task_but_not_too_early(
    local_sagemaker, waits_for, monkeypatch, outcome, verdict
):
    monkeypatch.setattr(triggers, "_EARLIEST_RESUMPTION_SECONDS", 1.5)
    local_sagemaker.rule(kind="Training", outcome=outcome, duration=0)
    create(local_sagemaker)
    began = time.monotonic()

    event = fired(waits_for())

    assert type(event) is TriggerEvent
    assert event.payload["verdict"] == verdict
    assert time.monotonic() - began >= 1.5


def test_a_passed_deadline_does_not_resume_the_task_too_early(local_sagemaker, long_job, waits_for, monkeypatch):
    monkeypatch.setattr(triggers, "_EARLIEST_RESUMPTION_SECONDS", 1.5)
    began = time.monotonic()

    event = fired(waits_for(deadline=time.time() - 1))

    assert event.payload["verdict"] == TIMED_OUT
    assert time.monotonic() - began >= 1.5


def test_a_worker_ends_the_task_when_the_result_cannot_be_pushed_from_here(server, waits_for, ended_job, monkeypatch):
    def refuse(message):
        raise RuntimeError("no api server")

    monkeypatch.setattr(triggers, "_EARLIEST_RESUMPTION_SECONDS", 1.5)
    monkeypatch.setattr(server, "_SetXCom", refuse)
    began = time.monotonic()

    event = fired(waits_for())

    assert type(event) is TriggerEvent
    assert event.payload["verdict"] == "succeeded"
    assert event.payload["outputs"]["TrainingJobStatus"] == "Completed"
    assert time.monotonic() - began >= 1.5


def test_a_kill_after_the_end_stops_nothing(local_sagemaker, waits_for, ended_job):
    async def end_and_kill():
        trigger = waits_for()
        await anext(trigger.run())
        await trigger.on_kill()

    asyncio.run(end_and_kill())

    assert stops(local_sagemaker) == 0


def test_a_kill_stops_nothing_if_the_pipeline_says_so(local_sagemaker, long_job):
    _, stored = trigger_of(poll_interval=60).serialize()

    assert asyncio.run(killed(StepTrigger(**stored | {"stop_on_kill": False})))

    assert stops(local_sagemaker) == 0
    assert status(local_sagemaker) == "InProgress"
