"""Waiting by events: what an event brings about, and what happens without it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.local import engine
from airflow_sagemaker_pipelines.steps.events import create_event_queue
from airflow_sagemaker_pipelines.triggers import events, pace
from airflow_sagemaker_pipelines.triggers.events import EventQueue
from airflow_sagemaker_pipelines.triggers.wait import TIMED_OUT
from airflow_sagemaker_pipelines.triggers.watch import Watch
from tests.local.endpoint_support import auto_ml_request, processing_request
from tests.steps.types.step_runs import EndpointClients, start, step_run
from tests.triggers.waiting import Triggerer, Waiting, calls, end_of, stop, train, until, verdicts

RECEIVE = "sqs.ReceiveMessage"


@pytest.fixture(autouse=True)
def _short_long_polls(monkeypatch):
    # The threads of a test end with it.
    monkeypatch.setattr(events, "_LONG_POLL_SECONDS", 1)


@pytest.fixture(autouse=True)
def _jobs_stop_at_once(monkeypatch):
    monkeypatch.setattr(engine, "STOP_LIMIT", 0.0)


@pytest.fixture
def queue(local_sagemaker):
    """The URL of a queue that a rule feeds."""
    clients = EndpointClients(local_sagemaker)
    return create_event_queue(clients, queue_name="job-ends", rule_name="job-ends").url


@pytest.fixture
def silent_queue(local_sagemaker):
    """The URL of a queue that nobody feeds."""
    return local_sagemaker.client("sqs").create_queue(QueueName="silent")["QueueUrl"]


@pytest.fixture
def heard(monkeypatch):
    """The keys of which some watch has heard, and whether somebody waited for it there."""
    keys = []
    hear = Watch.hear

    def note(looks, key):
        found = hear(looks, key)
        keys.append((key, found))
        return found

    monkeypatch.setattr(Watch, "hear", note)
    return keys


def ended(name, status="Completed"):
    """EventBridge's event about a training job."""
    detail = {"TrainingJobName": name, "TrainingJobStatus": status}
    return {"source": "aws.sagemaker", "detail-type": "SageMaker Training Job State Change", "detail": detail}


def send(local_sagemaker, queue, *bodies):
    for body in bodies:
        text = body if isinstance(body, str) else json.dumps(body)
        local_sagemaker.client("sqs").send_message(QueueUrl=queue, MessageBody=text)


def left(local_sagemaker, queue):
    """How many messages a queue has, hidden ones included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = local_sagemaker.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


async def quiet(local_sagemaker, triggers, triggerer=None):
    """Start triggers, and return when they wait for events and nothing else."""
    triggerer = triggerer or Triggerer()
    tasks = [triggerer.start(trigger) for trigger in triggers]
    await until(lambda: sum(calls(local_sagemaker)) >= 1 and local_sagemaker.calls().get(RECEIVE, 0) >= 1)
    before = -1
    # Nothing is asked for a second: the first look is over.
    while before != (before := sum(calls(local_sagemaker))):
        await asyncio.sleep(1.0)
    local_sagemaker.clear_calls()
    return tasks


async def given_up(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_an_event_makes_its_job_be_described_and_no_other(local_sagemaker, queue):
    waiting = Waiting(local_sagemaker, event_queue_url=queue, poll_interval=600)
    names = [f"job-{number}" for number in range(20)]
    train(local_sagemaker, *names)

    async def wait():
        tasks = await quiet(local_sagemaker, [waiting.trigger(name) for name in names])
        stop(local_sagemaker, "job-3", "job-7")
        found = [await end_of(tasks[3]), await end_of(tasks[7])]
        await given_up(tasks)
        return found

    # Without the event it would be looked at in five minutes.
    assert pace.QUIET_INTERVAL >= 300
    assert [event["verdict"] for event in asyncio.run(wait())] == ["stopped", "stopped"]
    assert calls(local_sagemaker) == (0, 2)


def test_waits_for_events_ask_aws_nothing(local_sagemaker, queue):
    waiting = Waiting(local_sagemaker, event_queue_url=queue, poll_interval=0.1)
    train(local_sagemaker, "one", "two")

    async def wait():
        tasks = await quiet(local_sagemaker, [waiting.trigger("one"), waiting.trigger("two")])
        await asyncio.sleep(1.5)
        await given_up(tasks)

    asyncio.run(wait())

    assert set(local_sagemaker.calls()) <= {RECEIVE}


def test_events_that_come_twice_or_out_of_order_do_no_harm(local_sagemaker, silent_queue):
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue, poll_interval=600)
    train(local_sagemaker, "one", "two")

    async def wait():
        tasks = await quiet(local_sagemaker, [waiting.trigger("one"), waiting.trigger("two")])
        stop(local_sagemaker, "one")
        in_progress = ended("one", "InProgress")
        send(local_sagemaker, silent_queue, ended("one", "Stopped"), ended("one", "Stopped"), in_progress)
        send(local_sagemaker, silent_queue, ended("one", "Completed"))
        event = await end_of(tasks[0])
        assert not tasks[1].done()
        await given_up(tasks)
        return event

    # The event says "Completed"; the job says what it is.
    assert asyncio.run(wait())["verdict"] == "stopped"
    assert calls(local_sagemaker) == (0, 1)


def test_a_false_event_costs_some_looks_and_ends_nothing(local_sagemaker, silent_queue):
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue, poll_interval=0.3)
    train(local_sagemaker, "one", "two")

    async def wait():
        tasks = await quiet(local_sagemaker, [waiting.trigger("one"), waiting.trigger("two")])
        send(local_sagemaker, silent_queue, ended("one"))
        await until(lambda: calls(local_sagemaker)[1] >= 2)
        assert not any(task.done() for task in tasks)
        # From now on it is polled, so that its real end is seen though no event tells of it.
        stop(local_sagemaker, "one")
        event = await end_of(tasks[0])
        await given_up(tasks)
        return event

    assert asyncio.run(wait())["verdict"] == "stopped"


def test_messages_that_are_no_events_about_ends_are_deleted(local_sagemaker, silent_queue):
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue, poll_interval=600)
    train(local_sagemaker, "one", "two")
    send(local_sagemaker, silent_queue, "what is this", "[]", "{}", '{"detail-type": 5}', "[" * 5000, "null")
    send(local_sagemaker, silent_queue, ended("one", "InProgress"))

    async def wait():
        tasks = await quiet(local_sagemaker, [waiting.trigger("one"), waiting.trigger("two")])
        await until(lambda: left(local_sagemaker, silent_queue) == 0)
        stop(local_sagemaker, "one")
        send(local_sagemaker, silent_queue, ended("one"))
        event = await end_of(tasks[0])
        await given_up(tasks)
        return event

    assert asyncio.run(wait())["verdict"] == "stopped"


def test_an_event_for_another_triggerer_is_left_to_it_for_a_while(local_sagemaker, silent_queue, monkeypatch, heard):
    monkeypatch.setattr(events, "_KEPT_SECONDS", 3.0)
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue, poll_interval=600)
    train(local_sagemaker, "one")

    async def wait():
        tasks = await quiet(local_sagemaker, [waiting.trigger("one")])
        sent = time.time()
        send(local_sagemaker, silent_queue, ended("stranger"))
        await until(lambda: left(local_sagemaker, silent_queue) == 0)
        gone = time.time()
        await given_up(tasks)
        return gone - sent

    # Clocks of SQS have milliseconds.
    assert asyncio.run(wait()) >= 2.9
    assert len(heard) >= 2
    assert set(heard) == {("stranger", False)}
    # To hear of it again and again is not to spin: it rests for longer and longer.
    assert len(heard) <= 5


def test_two_triggerers_with_one_queue_leave_each_other_their_events(local_sagemaker, queue):
    names = [f"job-{number}" for number in range(6)]
    train(local_sagemaker, *names)
    # Each connection has its own receiver, as each process would.
    first, second = (Waiting(local_sagemaker, event_queue_url=queue, poll_interval=600) for _ in range(2))
    triggers = [(first, second)[number % 2].trigger(name) for number, name in enumerate(names)]

    async def wait():
        tasks = await quiet(local_sagemaker, triggers)
        stop(local_sagemaker, *names)
        return [await end_of(task, 60) for task in tasks]

    assert [event["verdict"] for event in asyncio.run(wait())] == ["stopped"] * 6
    assert calls(local_sagemaker) == (0, 6)


def test_step_types_share_the_receiver_of_a_queue(local_sagemaker, queue):
    waiting = Waiting(local_sagemaker, event_queue_url=queue, poll_interval=600)
    train(local_sagemaker, "train")
    local_sagemaker.rule(kind="Processing", duration=3600)
    sagemaker = local_sagemaker.client("sagemaker")
    sagemaker.create_processing_job(**processing_request("process"))

    async def wait():
        processing = waiting.trigger("process", step_type="Processing")
        tasks = await quiet(local_sagemaker, [waiting.trigger("train"), processing])
        receivers = [key for key in EventQueue._open if key[0] is asyncio.get_running_loop()]
        stop(local_sagemaker, "train")
        sagemaker.stop_processing_job(ProcessingJobName="process")
        return len(receivers), [await end_of(task) for task in tasks]

    receivers, found = asyncio.run(wait())

    assert receivers == 1
    assert [event["verdict"] for event in found] == ["stopped", "stopped"]
    assert calls(local_sagemaker) == (0, 2)


def test_an_event_that_is_lost_costs_the_quiet_interval(local_sagemaker, silent_queue, monkeypatch):
    monkeypatch.setattr(pace, "QUIET_INTERVAL", 1.5)
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue, poll_interval=0.1)
    train(local_sagemaker, "one", "two", duration=0.5)

    assert verdicts(waiting.trigger("one"), waiting.trigger("two")) == ["succeeded", "succeeded"]


def test_the_deadline_does_not_wait_for_an_event(local_sagemaker, silent_queue):
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue, poll_interval=600)
    train(local_sagemaker, "one", "two")
    deadline = time.time() + 1.5

    found = verdicts(waiting.trigger("one", deadline=deadline), waiting.trigger("two", deadline=deadline))

    assert found == [TIMED_OUT] * 2


def test_the_deadline_of_a_lone_wait_does_not_wait_for_an_event(local_sagemaker, silent_queue):
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue, poll_interval=600)
    train(local_sagemaker, "one")

    assert verdicts(waiting.trigger("one", deadline=time.time() + 1.5)) == [TIMED_OUT]


def test_jobs_are_polled_as_usual_when_the_queue_does_not_exist(local_sagemaker, silent_queue):
    local_sagemaker.client("sqs").delete_queue(QueueUrl=silent_queue)
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue)
    train(local_sagemaker, "one", "two", duration=2)

    assert verdicts(waiting.trigger("one"), waiting.trigger("two")) == ["succeeded", "succeeded"]


@pytest.mark.parametrize("fault", ["denied", "internal", "reset"])
def test_a_queue_that_cannot_be_read_is_tried_again(local_sagemaker, queue, monkeypatch, fault):
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.1)
    waiting = Waiting(local_sagemaker, event_queue_url=queue, poll_interval=0.2)
    train(local_sagemaker, "one", "two")
    local_sagemaker.fault(fault, service="sqs", operation="ReceiveMessage", times=4)

    async def wait():
        triggerer = Triggerer()
        tasks = [triggerer.start(waiting.trigger(name)) for name in ("one", "two")]
        # Deaf, it polls; then it hears, and is quiet.
        await until(lambda: calls(local_sagemaker)[0] >= 3)
        await until(lambda: local_sagemaker.calls().get(RECEIVE, 0) >= 6)
        await asyncio.sleep(1.0)
        local_sagemaker.clear_calls()
        await asyncio.sleep(1.5)
        polled = sum(calls(local_sagemaker))
        stop(local_sagemaker, "one", "two")
        return polled, [await end_of(task) for task in tasks]

    polled, found = asyncio.run(wait())

    assert polled == 0
    assert [event["verdict"] for event in found] == ["stopped", "stopped"]


def test_a_bug_in_the_receiver_leaves_polling(local_sagemaker, silent_queue, monkeypatch):
    def receive_badly(queue):
        raise KeyError("what is this")

    monkeypatch.setattr(EventQueue, "_receive", receive_badly)
    waiting = Waiting(local_sagemaker, event_queue_url=silent_queue)
    train(local_sagemaker, "one", "two", duration=2)

    assert verdicts(waiting.trigger("one"), waiting.trigger("two")) == ["succeeded", "succeeded"]


def test_a_queue_is_deaf_from_the_first_failure_to_the_next_answer(local_sagemaker, silent_queue, monkeypatch):
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.3)
    local_sagemaker.fault("denied", service="sqs", operation="ReceiveMessage", times=2)
    connection = AwsConnection(**Waiting(local_sagemaker).connection)

    class Nobody:
        def hear(self, key):
            return False

        def notice(self):
            pass

    async def listen():
        with EventQueue.heard(silent_queue, connection, Nobody()) as queue:
            await until(lambda: queue.is_deaf)
            await until(lambda: not queue.is_deaf)
            return local_sagemaker.calls()[RECEIVE]

    assert asyncio.run(listen()) >= 3


def test_types_without_events_are_polled_as_usual(local_sagemaker, queue):
    waiting = Waiting(local_sagemaker, event_queue_url=queue, step_type="AutoML")
    local_sagemaker.rule(kind="AutoML", duration=2)
    for name in ("one", "two"):
        local_sagemaker.client("sagemaker").create_auto_ml_job(**auto_ml_request(name))

    assert verdicts(waiting.trigger("one"), waiting.trigger("two")) == ["succeeded", "succeeded"]


def test_an_emr_serverless_step_hears_first_of_its_application_and_then_of_its_run(local_sagemaker, queue, heard):
    local_sagemaker.rule(kind="EMRServerlessApplication", duration=3)
    local_sagemaker.rule(kind="EMRServerless", duration=3)
    arguments = {
        "ExecutionRoleArn": "arn:aws:iam::123456789012:role/R",
        "ApplicationConfig": {"name": "app", "releaseLabel": "emr-6.15.0", "type": "SPARK"},
        "JobConfig": {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}},
    }
    run = step_run(local_sagemaker, {"Name": "Spark", "Type": "EMRServerless", "Arguments": arguments})
    waiting = Waiting(local_sagemaker, event_queue_url=queue, step_type="EMRServerless", poll_interval=600)
    handle = start(run).handle
    assert "run" not in handle

    assert verdicts(waiting.trigger(handle=handle)) == ["succeeded"]

    runs = local_sagemaker.client("emr-serverless").list_job_runs(applicationId=handle["application"])["jobRuns"]
    assert len(runs) == 1
    # That of the run may come when a look has already seen it end.
    assert (handle["application"], True) in heard


def test_a_wait_that_begins_when_another_has_ended_hears_its_own_event(local_sagemaker, queue, monkeypatch):
    # A long poll cannot be taken back: it receives what comes after the wait for which it began.
    monkeypatch.setattr(events, "_LONG_POLL_SECONDS", 10)
    waiting = Waiting(local_sagemaker, event_queue_url=queue, poll_interval=600)
    train(local_sagemaker, "first", "second")

    async def wait():
        triggerer = Triggerer()
        (first,) = await quiet(local_sagemaker, [waiting.trigger("first")], triggerer)
        stop(local_sagemaker, "first")
        await end_of(first)
        second = triggerer.start(waiting.trigger("second"))
        await until(lambda: calls(local_sagemaker)[1] >= 2)
        await asyncio.sleep(0.5)
        stop(local_sagemaker, "second")
        # What a receiver takes that nobody listens to is hidden for 30 seconds.
        return await end_of(second, 20)

    assert asyncio.run(wait())["verdict"] == "stopped"


def test_nobody_receives_when_nobody_waits(local_sagemaker, queue):
    waiting = Waiting(local_sagemaker, event_queue_url=queue, poll_interval=600)
    train(local_sagemaker, "one")

    async def wait():
        await given_up(await quiet(local_sagemaker, [waiting.trigger("one")]))
        loop = asyncio.get_running_loop()
        await until(lambda: not any(key[0] is loop for key in [*EventQueue._open]))

    asyncio.run(wait())
