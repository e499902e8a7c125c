"""One loop looks at an execution of the local endpoint for all who wait in it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import ExitStack, aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineRequestError
from airflow_sagemaker_pipelines.executions.snapshot import Snapshot
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.steps.events import create_event_queue
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.triggers import events, execution_watch, pace
from airflow_sagemaker_pipelines.triggers.execution_watch import ExecutionWatch, shortest_interval
from airflow_sagemaker_pipelines.triggers.pipeline_execution import PipelineExecutionTrigger
from airflow_sagemaker_pipelines.triggers.pipeline_step import PipelineStepTrigger
from tests.executions import deployed
from tests.executions.deployed import NAME, running, start, states
from tests.integration.documents import processing, training
from tests.steps.types.step_runs import EndpointClients
from tests.triggers.waiting import task_instance, until

pytestmark = pytest.mark.usefixtures("jobs_stop_at_once")

LIST, DESCRIBE = "sagemaker.ListPipelineExecutionSteps", "sagemaker.DescribePipelineExecution"
RECEIVE = "sqs.ReceiveMessage"
UNKNOWN = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{NAME}/execution/abcdefghijkl"


@pytest.fixture
def connection(local_sagemaker):
    """A connection whose calls are one request each, and whose clients no other test has."""
    config = {"retries": {"total_max_attempts": 1}, "read_timeout": 15, "user_agent_extra": f"t/{time.time_ns()}"}
    return AwsConnection(botocore_config=config)


@pytest.fixture
def arn(local_sagemaker):
    """An execution of which one step runs for hours."""
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = start(local_sagemaker, training("Train"), processing("Beside"))
    # No more events of it are to come.
    deployed.wait(lambda: states(local_sagemaker, arn) == {"Train": "Executing", "Beside": "Succeeded"})
    return arn


def looks(local_sagemaker):
    return local_sagemaker.calls().get(LIST, 0)


def joined(arn, connection, **arguments):
    return ExecutionWatch.joined(arn, connection, **{"poll_interval": 0.05, **arguments})


async def look(arn, connection, *, count=1, **arguments):
    """Join, and return what the first looks show."""
    with joined(arn, connection, **arguments) as watch:
        return await shown(watch, count)


async def shown(watch, count=1):
    found = []
    async with aclosing(watch.snapshots()) as snapshots:
        async for snapshot in snapshots:
            found.append(snapshot)
            if len(found) == count:
                break
    return found


def run(work, seconds=60):
    async def bounded():
        return await asyncio.wait_for(work, seconds)

    return asyncio.run(bounded())


# --- one loop for all


def test_all_who_wait_share_the_looks(local_sagemaker, arn, connection, hasty):
    local_sagemaker.clear_calls()

    async def waited():
        return await asyncio.gather(*(look(arn, connection, count=3) for _ in range(50)))

    found = run(waited())

    assert len({id(snapshot) for member in found for snapshot in member}) == 3
    assert looks(local_sagemaker) <= 4
    assert DESCRIBE not in local_sagemaker.calls()


def test_other_executions_and_connections_have_loops_of_their_own(local_sagemaker, arn, connection, hasty):
    other = running(local_sagemaker, start(local_sagemaker), "Train")
    elsewhere = AwsConnection(botocore_config={"user_agent_extra": "elsewhere"})

    async def waited():
        with ExitStack() as members:
            watches = [
                members.enter_context(joined(one, by))
                for one, by in ((arn, connection), (other, connection), (arn, elsewhere), (arn, connection))
            ]
            return len(set(map(id, watches))), watches[0] is watches[3]

    assert run(waited()) == (3, True)


def test_the_shortest_interval_of_all_members_counts(local_sagemaker, arn, connection, hasty):
    async def waited():
        with joined(arn, connection, poll_interval=600) as patient:
            await shown(patient)
            local_sagemaker.clear_calls()
            # Within the ten minutes of the first.
            await look(arn, connection, count=3, poll_interval=0.05)
            return await shown(patient)

    assert run(waited())
    assert looks(local_sagemaker) >= 4


def test_the_loop_ends_with_its_last_member(local_sagemaker, arn, connection, hasty):
    async def waited():
        with joined(arn, connection) as first:
            with joined(arn, connection):
                pass
            await shown(first, 2)
            loop = first._looks
        await asyncio.gather(loop, return_exceptions=True)
        local_sagemaker.clear_calls()
        await asyncio.sleep(0.5)
        here = [key for key in ExecutionWatch._open if key[0] is asyncio.get_running_loop()]
        return loop.cancelled(), here

    assert run(waited()) == (True, [])
    assert looks(local_sagemaker) == 0


def test_who_comes_after_the_last_has_left_is_looked_for_anew(arn, connection, hasty):
    async def waited():
        return await look(arn, connection), await look(arn, connection)

    (first,), (second,) = run(waited())
    assert first is not second


# --- who joins while others wait


class Looks:
    """Looks that take until they are let go, each with a snapshot of its own."""

    def __init__(self):
        self.begun = 0
        self._go = threading.Semaphore(0)

    def let_go(self, count=1):
        self._go.release(count)

    def __call__(self, arn, connection):
        self.begun += 1
        number = self.begun
        assert self._go.acquire(timeout=20)
        return Snapshot(steps={}, verdict=Verdict.RUNNING, status=f"look {number}")


def test_who_joins_is_shown_a_look_that_begins_after_it_has_joined(arn, connection, hasty, monkeypatch):
    looks = Looks()
    monkeypatch.setattr(execution_watch, "_read", looks)

    async def waited():
        first = asyncio.ensure_future(look(arn, connection))
        await until(lambda: looks.begun == 1)
        # What the look under way shows may be from before a retry of the execution, which the second has asked for.
        second = asyncio.ensure_future(look(arn, connection))
        await asyncio.sleep(0.1)
        # The loop goes on once more than anybody wants before it learns that all have left.
        looks.let_go(3)
        return await first, await second

    (first,), (second,) = run(waited())

    assert (first.status, second.status) == ("look 1", "look 2")


def test_who_joins_a_quiet_loop_does_not_wait_for_its_next_look(arn, connection, hasty):
    async def waited():
        with joined(arn, connection, poll_interval=600) as first:
            await shown(first)
            await look(arn, connection, poll_interval=600)
            return True

    assert run(waited(), seconds=30)


def test_who_joins_after_an_error_is_looked_for_anew(local_sagemaker, arn, connection, hasty):
    local_sagemaker.fault("error", operation="ListPipelineExecutionSteps", code="ValidationException", times=1)

    async def waited():
        # Whoever was told has not left yet: it may have something to do first.
        with joined(arn, connection) as first:
            with pytest.raises(PipelineRequestError):
                await shown(first)
            (seen,) = await look(arn, connection)
        return seen, [key for key in ExecutionWatch._open if key[0] is asyncio.get_running_loop()]

    seen, left = run(waited())
    assert seen.steps["Train"].verdict is Verdict.RUNNING
    assert left == []


# --- looks that fail


FAULTS = {
    "throttled": {"fault": "throttle"},
    "server error": {"fault": "internal"},
    "unavailable": {"fault": "unavailable"},
    "no answer": {"fault": "reset"},
    "cut off": {"fault": "truncate", "keep": 0, "content_length": "cut"},
    "cut in the middle": {"fault": "truncate", "keep": 0.5},
}


@pytest.fixture
def failures(monkeypatch):
    """The counts of failures in a row after which looks were put off."""
    counts = []
    monkeypatch.setattr(pace, "back_off", lambda count: counts.append(count) or 0.01)
    return counts


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.usefixtures("hasty")
def test_a_look_that_fails_is_repeated_ever_later(local_sagemaker, arn, connection, failures, fault):
    local_sagemaker.fault(**fault, operation="ListPipelineExecutionSteps", times=3)

    (seen,) = run(look(arn, connection))

    assert set(seen.steps) == {"Train", "Beside"}
    assert failures == [1, 2, 3]


def test_a_success_ends_the_backing_off(local_sagemaker, arn, connection, hasty, failures):
    local_sagemaker.fault("throttle", operation="ListPipelineExecutionSteps", every=2, times=2)

    run(look(arn, connection, count=4))

    assert failures == [1, 1]


def test_who_joins_while_looks_are_put_off_does_not_hasten_them(local_sagemaker, arn, connection, hasty, monkeypatch):
    monkeypatch.setattr(pace, "back_off", lambda count: 1.5)
    local_sagemaker.fault("throttle", operation="ListPipelineExecutionSteps", times=1)
    local_sagemaker.clear_calls()

    async def waited():
        first = asyncio.ensure_future(look(arn, connection))
        await until(lambda: looks(local_sagemaker) == 1)
        began = time.monotonic()
        others = [asyncio.ensure_future(look(arn, connection)) for _ in range(5)]
        await asyncio.gather(first, *others)
        return time.monotonic() - began

    assert run(waited()) > 1.0


def test_a_look_that_is_denied_for_a_moment_is_repeated(local_sagemaker, arn, connection, hasty):
    local_sagemaker.fault("denied", operation="ListPipelineExecutionSteps", times=2)

    (seen,) = run(look(arn, connection))

    assert not seen.is_over


def test_looks_that_are_denied_again_and_again_are_told_to_all(local_sagemaker, arn, connection, hasty):
    local_sagemaker.fault("denied", operation="ListPipelineExecutionSteps")
    local_sagemaker.clear_calls()

    async def waited():
        return await asyncio.gather(*(look(arn, connection) for _ in range(5)), return_exceptions=True)

    found = run(waited())

    assert {type(error) for error in found} == {PipelineRequestError}
    assert looks(local_sagemaker) == pace.MOST_DENIALS


def test_a_denial_counts_only_in_a_row(local_sagemaker, arn, connection, hasty):
    # Every second look, more often than may be in a row.
    local_sagemaker.fault("denied", operation="ListPipelineExecutionSteps", every=2, times=8)

    assert len(run(look(arn, connection, count=10))) == 10


def test_an_execution_that_aws_does_not_know_is_told_to_all_at_once(local_sagemaker, connection, hasty):
    async def waited():
        return await asyncio.gather(*(look(UNKNOWN, connection) for _ in range(5)), return_exceptions=True)

    found = run(waited())

    assert {type(error) for error in found} == {PipelineRequestError}
    assert all("ResourceNotFound" in str(error) for error in found)
    assert looks(local_sagemaker) == 1


def test_a_bug_in_a_look_is_told_to_all(arn, connection, hasty, monkeypatch):
    def read_badly(arn, connection):
        raise KeyError("what is this")

    monkeypatch.setattr(execution_watch, "_read", read_badly)

    async def waited():
        return await asyncio.gather(*(look(arn, connection) for _ in range(3)), return_exceptions=True)

    assert [type(error) for error in run(waited())] == [KeyError] * 3


def test_a_failed_look_shows_nothing(arn, connection, hasty, monkeypatch):
    seen = Snapshot(steps={}, verdict=Verdict.RUNNING, status="seen")
    answers = [PipelineCallError("not now", resource=arn), seen, PipelineCallError("not now", resource=arn), seen]

    def read(arn, connection):
        answer = answers.pop(0) if answers else seen
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(execution_watch, "_read", read)

    assert [snapshot.status for snapshot in run(look(arn, connection, count=2))] == ["seen", "seen"]
    assert not answers


# --- events


@pytest.fixture
def queue(local_sagemaker, monkeypatch):
    """The URL of a queue that a rule feeds."""
    # The threads of a test end with it.
    monkeypatch.setattr(events, "_LONG_POLL_SECONDS", 1)
    # What an event tells of shows at once here.
    monkeypatch.setattr(execution_watch, "_AWAKE_SECONDS", 0.0)
    clients = EndpointClients(local_sagemaker)
    return create_event_queue(clients, queue_name="job-ends", rule_name="job-ends").url


async def quiet(local_sagemaker):
    """Wait until nothing but the queue is asked."""
    await until(lambda: looks(local_sagemaker) >= 1 and local_sagemaker.calls().get(RECEIVE, 0) >= 1)
    before = -1
    while before != (before := looks(local_sagemaker)):
        await asyncio.sleep(1.0)
    local_sagemaker.clear_calls()


async def until_stopped(watch):
    async with aclosing(watch.snapshots()) as snapshots:
        async for snapshot in snapshots:
            if snapshot.steps["Train"].verdict is Verdict.STOPPED:
                return snapshot
    raise AssertionError("the looks have ended")


def stop_job(local_sagemaker, arn):
    sagemaker = local_sagemaker.client("sagemaker")
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    (made,) = [step["Metadata"]["TrainingJob"]["Arn"] for step in steps if step["StepName"] == "Train"]
    sagemaker.stop_training_job(TrainingJobName=made.rpartition("/")[2])


def test_an_event_has_the_execution_looked_at_at_once(local_sagemaker, arn, connection, queue, hasty):
    async def waited():
        with joined(arn, connection, poll_interval=600, event_queue_url=queue) as watch:
            waiting = asyncio.ensure_future(until_stopped(watch))
            await quiet(local_sagemaker)
            stop_job(local_sagemaker, arn)
            return await waiting

    # Without the event it would be looked at in five minutes.
    assert pace.QUIET_INTERVAL >= 300
    assert run(waited()).steps["Train"].verdict is Verdict.STOPPED


def test_whoever_waits_for_events_asks_aws_nothing(local_sagemaker, arn, connection, queue, hasty):
    async def waited():
        with joined(arn, connection, event_queue_url=queue) as watch:
            waiting = asyncio.ensure_future(until_stopped(watch))
            await quiet(local_sagemaker)
            await asyncio.sleep(1.5)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    run(waited())

    assert set(local_sagemaker.calls()) <= {RECEIVE, "sqs.DeleteMessageBatch"}


def test_an_event_of_another_execution_is_none(local_sagemaker, arn, connection, queue, hasty):
    other = running(local_sagemaker, start(local_sagemaker), "Train")

    async def waited():
        with joined(arn, connection, poll_interval=600, event_queue_url=queue) as watch:
            waiting = asyncio.ensure_future(until_stopped(watch))
            await quiet(local_sagemaker)
            local_sagemaker.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=other)
            await until(lambda: local_sagemaker.calls().get("sqs.ChangeMessageVisibilityBatch", 0) >= 1)
            asked = looks(local_sagemaker)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return asked

    assert run(waited()) == 0


def test_an_arn_in_an_event_may_be_in_other_letters():
    watch = ExecutionWatch(UNKNOWN, AwsConnection(), poll_interval=1)

    assert watch.hear(UNKNOWN.upper())
    assert not watch.hear(UNKNOWN.replace("abcdef", "ghijkl"))


def test_an_execution_is_polled_as_usual_when_the_queue_does_not_exist(local_sagemaker, arn, connection, queue, hasty):
    local_sagemaker.client("sqs").delete_queue(QueueUrl=queue)

    assert len(run(look(arn, connection, count=4, event_queue_url=queue))) == 4


def test_an_event_that_is_lost_costs_the_quiet_interval(local_sagemaker, arn, connection, hasty, monkeypatch):
    monkeypatch.setattr(events, "_LONG_POLL_SECONDS", 1)
    monkeypatch.setattr(pace, "QUIET_INTERVAL", 1.0)
    silent = local_sagemaker.client("sqs").create_queue(QueueName="silent")["QueueUrl"]

    assert len(run(look(arn, connection, count=3, event_queue_url=silent))) == 3


# --- how often


STEPS = [f"Train{index}" for index in range(20)]

counts = st.integers(min_value=1, max_value=10_000)


def watchers(arn, *steps):
    """The triggers of some steps and of the execution."""
    arguments = {
        "connection": AwsConnection().serialize(),
        "poll_interval": 0.1,
        "execution": {"arn": arn, "digest": ""},
    }
    triggers = [PipelineExecutionTrigger(**arguments), *(PipelineStepTrigger(step=step, **arguments) for step in steps)]
    for trigger in triggers:
        trigger.task_instance = task_instance()
    return triggers


def calls_while_waiting(local_sagemaker, triggers, *, looks):
    """Let triggers wait for some looks; return the calls, and the seconds in which they were made."""

    async def run():
        began = time.monotonic()
        waits = [asyncio.ensure_future(anext(trigger.run())) for trigger in triggers]
        await until(lambda: local_sagemaker.calls().get(LIST, 0) >= looks)
        calls, seconds = Counter(local_sagemaker.calls()), time.monotonic() - began
        assert not any(wait.done() for wait in waits)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return calls, seconds

    return asyncio.run(run())


def test_all_who_wait_in_an_execution_share_one_listing_a_look_and_nothing_else(local_sagemaker):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = deployed.start(local_sagemaker, *map(training, STEPS))
    deployed.wait(lambda: len(deployed.states(local_sagemaker, arn)) == len(STEPS))
    before = Counter(local_sagemaker.calls())

    calls, seconds = calls_while_waiting(local_sagemaker, watchers(arn, *STEPS), looks=before[LIST] + 4)

    made = calls - before
    assert set(made) == {LIST}
    # However many wait, one look a second, and one at the beginning.
    assert made[LIST] <= 1 + seconds


def test_one_execution_is_looked_at_as_often_as_anything_that_is_listed():
    assert shortest_interval(1, executions=1) == pace.SHORTEST_PER_PAGE
    assert shortest_interval(3, executions=1) == 3 * pace.SHORTEST_PER_PAGE


@given(counts, counts)
def test_many_executions_together_ask_for_no_more_pages_than_aws_likes(pages, executions):
    assert pages * executions / shortest_interval(pages, executions=executions) <= 5.0001
