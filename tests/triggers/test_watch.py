"""Waits that share one loop: what they ask AWS, and when it answers badly."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter

import pytest
from structlog.testing import capture_logs

from airflow_sagemaker_pipelines.local import engine
from airflow_sagemaker_pipelines.steps.runner import Listing
from airflow_sagemaker_pipelines.triggers import looks, pace
from airflow_sagemaker_pipelines.triggers.step import StepTrigger
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
from airflow_sagemaker_pipelines.triggers.watch import Watch
from tests.local.endpoint_support import create_endpoint_config, create_model, processing_request
from tests.steps.types.step_runs import start, step_run
from tests.triggers.waiting import (
    DESCRIBE,
    KILL,
    LIST,
    Triggerer,
    Waiting,
    calls,
    end_of,
    run_together,
    stop,
    task_instance,
    train,
    until,
    verdicts,
)

LONG_AGO = 1_000_000_000.0
"""A job of this age is looked at as seldom as its poll interval allows."""


@pytest.fixture
def waiting(local_sagemaker):
    return Waiting(local_sagemaker)


@pytest.fixture(autouse=True)
def _jobs_stop_at_once(monkeypatch):
    monkeypatch.setattr(engine, "STOP_LIMIT", 0.0)


@pytest.fixture
def lists(monkeypatch):
    """How many looks at a list there were, whatever calls each took."""
    prefixes = []
    look = looks.list_in_progress

    def listed(step_type, connection, prefix):
        prefixes.append(prefix)
        return look(step_type, connection, prefix)

    monkeypatch.setattr(looks, "list_in_progress", listed)
    return prefixes


@pytest.fixture
def quick_back_off(monkeypatch):
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.05)


async def started(triggerer, triggers):
    return [triggerer.start(trigger) for trigger in triggers]


async def given_up(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- sharing


def test_250_waits_cost_three_list_calls_a_look_and_one_describe_for_each_end(local_sagemaker, waiting, lists):
    names = [f"run-{number:03d}" for number in range(250)]
    train(local_sagemaker, *names)
    local_sagemaker.clear_calls()

    async def wait():
        tasks = await started(Triggerer(), [waiting.trigger(name, poll_interval=60) for name in names])
        await until(lambda: calls(local_sagemaker)[0] >= 3)
        stop(local_sagemaker, "run-007", "run-123")
        events = [await end_of(tasks[7]), await end_of(tasks[123])]
        await given_up(tasks)
        return events

    events = asyncio.run(wait())

    assert [(event["handle"]["name"], event["verdict"]) for event in events] == [
        ("run-007", "stopped"),
        ("run-123", "stopped"),
    ]
    listed, described = calls(local_sagemaker)
    assert len(lists) >= 2
    assert set(lists) == {"run-"}
    # The last look may be under way.
    assert 3 * (len(lists) - 1) <= listed <= 3 * len(lists)
    assert described == 2
    assert set(local_sagemaker.calls()) == {LIST, DESCRIBE, "sagemaker.StopTrainingJob"}


def test_jobs_that_end_together_are_described_once_each(local_sagemaker, waiting):
    names = [f"job-{number}" for number in range(30)]
    train(local_sagemaker, *names, duration=1.5)
    local_sagemaker.clear_calls()

    assert verdicts(*(waiting.trigger(name) for name in names)) == ["succeeded"] * 30
    assert calls(local_sagemaker)[1] == 30


def test_jobs_that_have_ended_before_the_first_look_take_one_list_and_their_describes(local_sagemaker, waiting):
    train(local_sagemaker, "good-1", "good-2", duration=0)
    train(local_sagemaker, "bad", duration=0, outcome="Failed", reason="AlgorithmError: no data")
    train(local_sagemaker, "stopped", duration=0, outcome="Stopped")
    local_sagemaker.clear_calls()

    events = run_together(*(waiting.trigger(name) for name in ("good-1", "bad", "stopped", "good-2")))

    assert [event["verdict"] for event in events] == ["succeeded", "failed", "stopped", "succeeded"]
    assert events[1]["reason"] == "AlgorithmError: no data"
    assert [event["outputs"] is None for event in events] == [False, True, True, False]
    assert calls(local_sagemaker) == (1, 4)


def test_two_tasks_may_wait_for_one_job(local_sagemaker, waiting):
    train(local_sagemaker, "job", duration=0.5)

    assert verdicts(waiting.trigger(), waiting.trigger()) == ["succeeded"] * 2


def test_who_comes_later_hears_of_what_has_ended_before(local_sagemaker, waiting):
    train(local_sagemaker, "early", "late", duration=0)
    train(local_sagemaker, "long")

    async def wait():
        triggerer = Triggerer()
        long = triggerer.start(waiting.trigger("long"))
        early = await end_of(triggerer.start(waiting.trigger("early")))
        late = await end_of(triggerer.start(waiting.trigger("late", poll_interval=60)))
        assert not long.done()
        await given_up([long])
        return early, late

    early, late = asyncio.run(wait())

    assert (early["handle"]["name"], early["verdict"]) == ("early", "succeeded")
    assert (late["handle"]["name"], late["verdict"]) == ("late", "succeeded")


def test_a_killed_wait_stops_its_job_and_the_others_go_on(local_sagemaker, waiting):
    train(local_sagemaker, "one", "two", "three")

    async def wait():
        tasks = await started(Triggerer(), [waiting.trigger(name) for name in ("one", "two", "three")])
        await until(lambda: calls(local_sagemaker)[0] >= 2)
        tasks[1].cancel(KILL)
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert not tasks[0].done()
        assert not tasks[2].done()
        stop(local_sagemaker, "one", "three")
        return [await end_of(tasks[0]), await end_of(tasks[2])]

    assert [event["verdict"] for event in asyncio.run(wait())] == ["stopped", "stopped"]
    client = local_sagemaker.client("sagemaker")
    assert client.describe_training_job(TrainingJobName="two")["TrainingJobStatus"] in ("Stopping", "Stopped")
    assert local_sagemaker.calls()["sagemaker.StopTrainingJob"] == 3


def test_nothing_is_asked_when_nobody_waits_and_the_next_wait_begins_anew(local_sagemaker, waiting):
    train(local_sagemaker, "one", "two")

    async def wait():
        triggerer = Triggerer()
        await given_up(await started(triggerer, [waiting.trigger("one"), waiting.trigger("two")]))
        tasks = await started(triggerer, [waiting.trigger("one"), waiting.trigger("two")])
        await until(lambda: calls(local_sagemaker)[0] >= 2)
        await given_up(tasks)
        local_sagemaker.clear_calls()
        await asyncio.sleep(1.0)
        # A call that was under way may have arrived since.
        assert sum(calls(local_sagemaker)) <= 1
        tasks = await started(triggerer, [waiting.trigger("one"), waiting.trigger("two")])
        stop(local_sagemaker, "one", "two")
        return [await end_of(task) for task in tasks]

    assert [event["verdict"] for event in asyncio.run(wait())] == ["stopped", "stopped"]


def test_a_job_that_is_slow_to_stop_is_described_at_its_own_pace(local_sagemaker, waiting, monkeypatch):
    monkeypatch.setattr(engine, "STOP_LIMIT", 3.0)
    train(local_sagemaker, "stopping", "long")
    stop(local_sagemaker, "stopping")
    local_sagemaker.clear_calls()
    began = time.monotonic()

    async def wait():
        triggerer = Triggerer()
        long = triggerer.start(waiting.trigger("long", poll_interval=0.05))
        event = await end_of(triggerer.start(waiting.trigger("stopping", poll_interval=1.0, since=LONG_AGO)))
        await given_up([long])
        return event

    assert asyncio.run(wait())["verdict"] == "stopped"
    # Of the two, only this one is described, once a second and not at every look at the list.
    assert 2 <= calls(local_sagemaker)[1] <= (time.monotonic() - began) / 0.9 + 2


def test_a_job_that_was_described_while_it_ran_is_described_again_as_soon_as_the_list_lacks_it(
    local_sagemaker, waiting, lists
):
    train(local_sagemaker, "seldom", "often")

    async def wait():
        triggerer = Triggerer()
        # Alone it is described, and would not be again for ten minutes.
        seldom = triggerer.start(waiting.trigger("seldom", poll_interval=600, since=LONG_AGO))
        await until(lambda: calls(local_sagemaker)[1] == 1)
        often = triggerer.start(waiting.trigger("often"))
        await until(lambda: len(lists) >= 2)
        stop(local_sagemaker, "seldom")
        event = await end_of(seldom)
        await given_up([often])
        return event

    assert asyncio.run(wait())["verdict"] == "stopped"


def test_a_wait_that_is_in_no_hurry_profits_from_one_that_is(local_sagemaker, waiting):
    train(local_sagemaker, "patient", "hasty")

    async def wait():
        triggerer = Triggerer()
        patient = triggerer.start(waiting.trigger("patient", poll_interval=600, since=LONG_AGO))
        hasty = triggerer.start(waiting.trigger("hasty", poll_interval=0.1))
        await until(lambda: calls(local_sagemaker)[0] >= 3)
        stop(local_sagemaker, "patient")
        event = await end_of(patient)
        await given_up([hasty])
        return event

    assert asyncio.run(wait())["verdict"] == "stopped"


def test_a_job_is_looked_at_as_often_as_its_poll_interval_says(local_sagemaker, waiting):
    train(local_sagemaker, "job")
    began = time.monotonic()

    async def wait():
        task = Triggerer().start(waiting.trigger(poll_interval=0.5, since=LONG_AGO))
        await until(lambda: calls(local_sagemaker)[1] >= 5)
        await given_up([task])

    asyncio.run(wait())

    # Four intervals with their jitter.
    assert time.monotonic() - began >= 4 * 0.45


def test_a_lone_wait_is_described_and_not_listed(local_sagemaker, waiting):
    train(local_sagemaker, "job", duration=1)
    local_sagemaker.clear_calls()

    assert verdicts(waiting.trigger()) == ["succeeded"]
    assert set(local_sagemaker.calls()) == {DESCRIBE}


def test_few_waits_among_many_jobs_are_described_once_the_list_is_known_to_be_long(local_sagemaker, waiting):
    train(local_sagemaker, *(f"job-{number:03d}" for number in range(201)))
    local_sagemaker.clear_calls()

    async def wait():
        tasks = await started(Triggerer(), [waiting.trigger("job-000"), waiting.trigger("job-100")])
        await until(lambda: calls(local_sagemaker)[1] >= 4)
        await given_up(tasks)

    asyncio.run(wait())

    assert calls(local_sagemaker)[0] == 3


def test_what_has_nothing_in_common_does_not_share(waiting, local_sagemaker):
    key = waiting.trigger().shared_stream_key()
    other_region = {**waiting.connection, "region_name": "eu-west-1"}

    assert waiting.trigger("another", poll_interval=9, deadline=1.0, try_number=2).shared_stream_key() == key
    different = [
        waiting.trigger(step_type="Processing"),
        waiting.trigger(connection=other_region),
        waiting.trigger(event_queue_url="https://queue"),
    ]
    assert len({key, *(trigger.shared_stream_key() for trigger in different)}) == 4


def test_step_types_and_connections_have_loops_of_their_own(local_sagemaker, waiting):
    train(local_sagemaker, "train-1", "train-2", duration=0.5)
    for name in ("process-1", "process-2"):
        local_sagemaker.client("sagemaker").create_processing_job(**processing_request(name))
    other = Waiting(local_sagemaker)

    found = verdicts(
        waiting.trigger("train-1"),
        waiting.trigger("train-2"),
        waiting.trigger("process-1", step_type="Processing"),
        waiting.trigger("process-2", step_type="Processing"),
        other.trigger("train-1"),
    )

    assert found == ["succeeded"] * 5
    counts = local_sagemaker.calls()
    assert counts[LIST] >= 1
    assert counts["sagemaker.ListProcessingJobs"] >= 1
    # The other connection knows of one wait only. Each end is described, and while it runs so is what waits alone.
    assert counts["sagemaker.DescribeProcessingJob"] == 2
    assert counts[DESCRIBE] >= 3


def test_endpoints_which_have_no_such_list_are_described(local_sagemaker, waiting):
    client = local_sagemaker.client("sagemaker")
    create_model(client)
    create_endpoint_config(client)
    names = ["endpoint-1", "endpoint-2", "endpoint-3"]
    for name in names:
        client.create_endpoint(EndpointName=name, EndpointConfigName="config-1")
    local_sagemaker.clear_calls()
    triggers = [
        waiting.trigger(name, step_type="Endpoint", handle={"name": name, "config": "config-1"}) for name in names
    ]

    events = run_together(*triggers)

    assert [event["verdict"] for event in events] == ["succeeded"] * 3, events
    assert calls(local_sagemaker)[0] == 0


def test_emr_steps_which_have_no_such_list_are_described(local_sagemaker, waiting):
    jar = {"HadoopJarStep": {"Jar": "s3://b/a.jar"}}
    group = {"Name": "m", "InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    cluster = {"ReleaseLabel": "emr-6.6.0", "Instances": {"InstanceGroups": [group]}}
    triggers = []
    for name in ("One", "Two"):
        arguments = {"StepConfig": jar, "ClusterConfig": cluster}
        run = step_run(local_sagemaker, {"Name": name, "Type": "EMR", "Arguments": arguments})
        triggers.append(waiting.trigger(step_type="EMR", handle=start(run).handle))

    assert verdicts(*triggers) == ["succeeded"] * 2


def test_what_a_job_took_the_last_time_tells_when_to_look(local_sagemaker, waiting):
    intervals = []
    train(local_sagemaker, "first", duration=0)

    async def wait(name, **members):
        trigger = waiting.trigger(name, poll_interval=600, **members)
        trigger.task_instance = task_instance(task_id="Expected")
        waits = trigger._wait()
        intervals.append(waits.interval(shortest=1))
        return trigger

    async def both():
        # Airflow's task instance, but no success that would end the task from here: the event is of no interest.
        first = await wait("first", since=time.time() - 3600)
        first._wait().end({"verdict": "succeeded", "outputs": {}})
        await wait("second", since=time.time() - 3590)

    asyncio.run(both())

    unknown, known = intervals
    assert unknown > 200
    assert known < 5


# --- trouble


def test_a_list_that_is_denied_is_asked_for_once_and_said_once(local_sagemaker, waiting, caplog):
    train(local_sagemaker, "one", "two", "three", duration=1)
    local_sagemaker.fault("denied", operation="List.*")
    local_sagemaker.clear_calls()

    with caplog.at_level(logging.WARNING):
        assert verdicts(*(waiting.trigger(name) for name in ("one", "two", "three"))) == ["succeeded"] * 3

    assert calls(local_sagemaker)[0] == 1
    assert caplog.text.count("cannot be listed, so each is described") == 1


@pytest.mark.usefixtures("quick_back_off")
def test_a_describe_that_is_denied_ends_only_waits_on_what_has_left_the_list(local_sagemaker, waiting):
    train(local_sagemaker, "ended", duration=0)
    train(local_sagemaker, "running")
    local_sagemaker.fault("denied", operation="Describe.*")

    async def wait():
        triggerer = Triggerer()
        running = triggerer.start(waiting.trigger("running"))
        event = await end_of(triggerer.start(waiting.trigger("ended")))
        # Whoever comes when there is one other wait is listed.
        await given_up([running])
        return event

    event = asyncio.run(wait())

    assert event["verdict"] == REFUSED
    assert "not authorized" in event["reason"]


FAULTS = {
    "throttled": {"fault": "throttle"},
    "broken": {"fault": "internal"},
    "unavailable": {"fault": "unavailable"},
    "expired credentials": {"fault": "expired"},
    "reset": {"fault": "reset"},
    "no answer": {"fault": "timeout", "seconds": 0.1},
    "an answer that is lost": {"fault": "reset", "after": True},
    "garbage": {"fault": "truncate", "content_length": "cut"},
    "an empty body": {"fault": "truncate", "content_length": "cut", "keep": 0},
    "a body that breaks off": {"fault": "truncate"},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_answer_is_asked_for_again_and_never_taken_for_a_state(local_sagemaker, waiting, quick_back_off, name):
    train(local_sagemaker, "good", duration=0)
    train(local_sagemaker, "bad", duration=0, outcome="Failed", reason="no data")
    train(local_sagemaker, "later", duration=1)
    for operation in ("ListTrainingJobs", "DescribeTrainingJob"):
        local_sagemaker.fault(operation=operation, times=3, **FAULTS[name])

    events = run_together(*(waiting.trigger(job) for job in ("good", "bad", "later")))

    assert [event["verdict"] for event in events] == ["succeeded", "failed", "succeeded"]
    assert events[0]["outputs"]["TrainingJobStatus"] == "Completed"
    assert {fault["operation"]: fault["struck"] for fault in local_sagemaker.faults.to_json()} == {
        "ListTrainingJobs": 3,
        "DescribeTrainingJob": 3,
    }


def test_no_verdict_is_wrong_when_half_of_all_answers_are_bad(local_sagemaker, waiting, quick_back_off):
    outcomes = ["Completed", "Failed", "Stopped"] * 8
    names = [f"job-{number:02d}" for number in range(len(outcomes))]
    for number, (name, outcome) in enumerate(zip(names, outcomes, strict=True)):
        train(local_sagemaker, name, duration=number / 10, outcome=outcome)
    for number, fault in enumerate(FAULTS.values()):
        local_sagemaker.fault(operation="(List|Describe).*", rate=0.05, seed=number, **fault)

    found = verdicts(*(waiting.trigger(name) for name in names))

    wanted = {"Completed": "succeeded", "Failed": "failed", "Stopped": "stopped"}
    assert found == [wanted[outcome] for outcome in outcomes]
    assert sum(fault["struck"] for fault in local_sagemaker.faults.to_json()) > 0


@pytest.mark.parametrize("operation", ["List.*", "Describe.*"])
def test_the_more_often_a_call_fails_the_longer_it_is_not_repeated(local_sagemaker, waiting, monkeypatch, operation):
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 0.2)
    train(local_sagemaker, "one", "two", duration=0)
    local_sagemaker.fault("throttle", operation=operation, times=8 if operation == "Describe.*" else 4)
    began = time.monotonic()

    assert verdicts(waiting.trigger("one"), waiting.trigger("two")) == ["succeeded"] * 2
    # Each of two Describe calls has met four failures at the most on average, a List call all four.
    assert time.monotonic() - began >= 0.9 * 0.2 * (1 + 2 + 4 + 8)


def test_throttling_of_one_describe_holds_up_the_looks_of_all(local_sagemaker, waiting, monkeypatch):
    monkeypatch.setattr(pace, "_FIRST_BACK_OFF", 1.5)
    train(local_sagemaker, "ended", duration=0)
    train(local_sagemaker, "one", "two")
    local_sagemaker.fault("throttle", operation="Describe.*", times=1)

    async def wait():
        tasks = await started(
            Triggerer(), [waiting.trigger(name, poll_interval=0.05) for name in ("ended", "one", "two")]
        )
        await until(lambda: calls(local_sagemaker)[1] == 1)
        listed = calls(local_sagemaker)[0]
        await until(lambda: calls(local_sagemaker)[1] == 2)
        quiet = calls(local_sagemaker)[0] - listed
        await given_up(tasks)
        return quiet

    # Without the pause there would be one every 0.05 s.
    assert asyncio.run(wait()) <= 3


def test_tasks_are_told_why_there_is_no_news(local_sagemaker, waiting, quick_back_off):
    train(local_sagemaker, "one", "two", duration=0)
    local_sagemaker.fault("internal", operation="List.*", times=4)
    local_sagemaker.fault("unavailable", operation="Describe.*", times=1)

    with capture_logs() as logs:
        run_together(waiting.trigger("one"), waiting.trigger("two"))

    told = Counter(" ".join(entry["event"].split()[:3]) for entry in logs if entry["log_level"] == "warning")
    # The list is asked for again a few times before both tasks are told, once.
    assert told["AWS does not"] == 2, told
    assert told["AWS did not"] == 1, told


def test_a_describe_that_hangs_does_not_hold_up_others(local_sagemaker, waiting, quick_back_off):
    names = [f"job-{number}" for number in range(8)]
    train(local_sagemaker, *names, duration=0)
    local_sagemaker.fault("timeout", operation="Describe.*", seconds=10, times=1)
    began = time.monotonic()

    async def wait():
        tasks = await started(Triggerer(), [waiting.trigger(name) for name in names])
        done: set = set()
        while len(done) < 7:
            done, _ = await asyncio.wait(tasks, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.05)
        hanging = sum(not task.done() for task in tasks)
        seconds = time.monotonic() - began
        return hanging, seconds, [await end_of(task) for task in tasks]

    hanging, seconds, events = asyncio.run(wait())

    assert hanging == 1
    assert seconds < 10
    assert [event["verdict"] for event in events] == ["succeeded"] * 8


def test_a_bug_in_one_look_fails_that_wait_only(local_sagemaker, waiting, monkeypatch):
    train(local_sagemaker, "good", "odd", "also-good", duration=0)
    describe = looks.describe

    def describe_badly(step_type, connection, handle):
        if handle["name"] == "odd":
            raise KeyError("what is this")
        return describe(step_type, connection, handle)

    monkeypatch.setattr(looks, "describe", describe_badly)

    good, odd, also_good = run_together(*(waiting.trigger(name) for name in ("good", "odd", "also-good")))

    assert (good["verdict"], also_good["verdict"]) == ("succeeded", "succeeded")
    assert isinstance(odd, KeyError)


def test_a_bug_in_the_look_at_the_list_fails_nobody(local_sagemaker, waiting, monkeypatch):
    train(local_sagemaker, "one", "two", duration=0.5)

    def list_badly(step_type, connection, prefix):
        raise KeyError("what is this")

    monkeypatch.setattr(looks, "list_in_progress", list_badly)

    assert verdicts(waiting.trigger("one"), waiting.trigger("two")) == ["succeeded"] * 2


@pytest.mark.parametrize("fault", ["internal", "throttle", "reset"])
def test_trouble_without_end_does_not_outlast_the_deadline(local_sagemaker, waiting, fault):
    train(local_sagemaker, "one", "two", "three")
    local_sagemaker.fault(fault, operation="(List|Describe).*")
    deadline = time.time() + 1

    found = verdicts(*(waiting.trigger(name, deadline=deadline) for name in ("one", "two", "three")))

    assert found == [TIMED_OUT] * 3
    assert time.time() >= deadline


def test_the_deadline_of_one_wait_does_not_end_the_others(local_sagemaker, waiting):
    train(local_sagemaker, "short", "long")

    async def wait():
        triggerer = Triggerer()
        long = triggerer.start(waiting.trigger("long", poll_interval=60, deadline=time.time() + 3600))
        event = await end_of(triggerer.start(waiting.trigger("short", poll_interval=60, deadline=time.time() + 1)))
        assert not long.done()
        await given_up([long])
        return event

    assert asyncio.run(wait())["verdict"] == TIMED_OUT


# --- restarts


def test_a_restarted_triggerer_goes_on_with_the_same_start_and_deadline(local_sagemaker, waiting):
    train(local_sagemaker, "job")
    deadline = time.time() + 2
    before = waiting.trigger("job", deadline=deadline, since=deadline - 3600, poll_interval=60)

    async def wait_and_restart():
        task = Triggerer().start(before)
        await until(lambda: calls(local_sagemaker)[1] == 1)
        # A triggerer that goes away cancels without a message.
        await given_up([task])
        return await end_of(Triggerer().start(StepTrigger(**before.serialize()[1])))

    event = asyncio.run(wait_and_restart())

    assert event["verdict"] == TIMED_OUT
    assert time.time() >= deadline
    assert "sagemaker.StopTrainingJob" not in local_sagemaker.calls()
    after = StepTrigger(**before.serialize()[1])
    assert (after.since, after.deadline) == (deadline - 3600, deadline)


def test_a_job_that_ends_while_no_triggerer_runs_is_seen_by_the_next(local_sagemaker, waiting):
    train(local_sagemaker, "job")
    before = waiting.trigger("job")

    async def wait():
        task = Triggerer().start(before)
        await until(lambda: calls(local_sagemaker)[1] >= 1)
        await given_up([task])

    asyncio.run(wait())
    stop(local_sagemaker, "job")

    assert verdicts(StepTrigger(**before.serialize()[1])) == ["stopped"]


# --- load


def test_2000_waits_wake_the_loop_no_more_often_than_one(local_sagemaker, waiting, monkeypatch, lists):
    wakes = []
    until_due = Watch._until_due
    monkeypatch.setattr(Watch, "_until_due", lambda watch: wakes.append(1) or until_due(watch))
    names = [f"job-{number:04d}" for number in range(2000)]

    # All of them are in progress. To make them would take long, and it is the waits that count.
    def list_all(step_type, connection, prefix):
        lists.append(prefix)
        return Listing(frozenset(names), pages=20)

    monkeypatch.setattr(looks, "list_in_progress", list_all)

    async def wait():
        tasks = await started(Triggerer(), [waiting.trigger(name, poll_interval=0.5, since=LONG_AGO) for name in names])
        await until(lambda: len(lists) >= 5)
        listed, woken = len(lists), len(wakes)
        await given_up(tasks)
        return listed, woken

    listed, woken = asyncio.run(wait())

    # Two wake-ups for each look, when it begins and when it ends, and a few for those who joined.
    assert woken <= 3 * listed + 10
    assert calls(local_sagemaker) == (0, 0)
