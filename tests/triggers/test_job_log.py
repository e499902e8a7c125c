"""A job's lines in the log of the task that waits for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_sagemaker_pipelines.local import engine
from airflow_sagemaker_pipelines.steps.logs import LogStream
from airflow_sagemaker_pipelines.triggers import job_log
from airflow_sagemaker_pipelines.triggers.step import StepTrigger
from tests.local.endpoint_support import auto_ml_request
from tests.triggers.waiting import KILL, Triggerer, Waiting, calls, end_of, stop, train, until, verdicts

GROUP = "/aws/sagemaker/TrainingJobs"
FILTER = "logs.FilterLogEvents"
LAST_LINE = "local endpoint: the code of training job job was not run"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(job_log, "_INTERVAL", 0.2)
    # Turns that other tests have taken are not waited for.
    monkeypatch.setattr(job_log, "_turns", {})
    monkeypatch.setattr(engine, "STOP_LIMIT", 0.0)


@pytest.fixture
def waiting(local_sagemaker):
    return Waiting(local_sagemaker, streams_log=True)


@pytest.fixture
def write(local_sagemaker):
    """Writes lines as a job does."""
    logs = local_sagemaker.client("logs")
    logs.create_log_group(logGroupName=GROUP)

    def write(*lines, job="job"):
        stream = f"{job}/algo-1-{int(time.time())}"
        if not logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=stream)["logStreams"]:
            logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        entries = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=entries)

    return write


class TaskLog(list):
    """The lines of the tasks' logs."""

    def info(self, text, *args):
        self.append(text % args)

    warning = info


@pytest.fixture
def logs(monkeypatch):
    """What the triggers log. Airflow's own log has no lines below its level."""
    lines = TaskLog()
    monkeypatch.setattr(StepTrigger, "log", lines)
    return lines


def count(logs, text):
    """How many lines of the task's log have a text."""
    return sum(text in line for line in logs)


def test_lines_appear_while_the_job_runs_and_the_last_ones_at_its_end(local_sagemaker, waiting, write, logs):
    train(local_sagemaker, "job")

    async def wait():
        task = Triggerer().start(waiting.trigger())
        write("epoch 1 of 3")
        await until(lambda: count(logs, "epoch 1 of 3"))
        assert not task.done()
        write("epoch 2 of 3")
        await until(lambda: count(logs, "epoch 2 of 3"))
        write("epoch 3 of 3")
        stop(local_sagemaker, "job")
        return await end_of(task)

    event = asyncio.run(wait())

    assert event["verdict"] == "stopped"
    assert [count(logs, text) for text in ("epoch 1", "epoch 2", "epoch 3", LAST_LINE)] == [1, 1, 1, 1]
    assert next(line for line in logs if "epoch 1" in line).startswith("[algo-1 ")


def test_a_short_job_takes_one_look_at_its_log(local_sagemaker, waiting, monkeypatch, logs):
    monkeypatch.setattr(job_log, "_INTERVAL", 60)
    train(local_sagemaker, "job", duration=0.5)

    assert verdicts(waiting.trigger()) == ["succeeded"]

    assert count(logs, LAST_LINE) == 1
    assert local_sagemaker.calls()[FILTER] == 1


def test_waits_that_do_not_ask_for_it_read_no_log(local_sagemaker, waiting, logs):
    train(local_sagemaker, "job", duration=0.5)

    assert verdicts(waiting.trigger(streams_log=False)) == ["succeeded"]

    assert count(logs, LAST_LINE) == 0
    assert FILTER not in local_sagemaker.calls()


def test_what_a_look_reads_when_the_job_ends_is_not_lost(local_sagemaker, waiting, write, monkeypatch, logs):
    looking = []
    read = LogStream.read

    def read_slowly(stream, clients):
        looking.append(1)
        found = read(stream, clients)
        time.sleep(2)
        return found

    monkeypatch.setattr(LogStream, "read", read_slowly)
    train(local_sagemaker, "job")
    write("in the middle")

    async def wait():
        task = Triggerer().start(waiting.trigger())
        await until(lambda: looking)
        stop(local_sagemaker, "job")
        return await end_of(task)

    asyncio.run(wait())

    assert count(logs, "in the middle") == 1
    assert count(logs, LAST_LINE) == 1


def test_a_log_that_is_denied_is_mentioned_once(local_sagemaker, waiting, logs):
    train(local_sagemaker, "job", duration=2)
    local_sagemaker.fault("denied", service="logs")

    assert verdicts(waiting.trigger()) == ["succeeded"]

    assert count(logs, "cannot be read") == 1
    assert count(logs, "logs:FilterLogEvents") == 1
    assert local_sagemaker.calls()[FILTER] == 1


@pytest.mark.parametrize("fault", ["throttle", "internal", "reset"])
def test_a_log_that_is_away_for_a_while_is_read_later(local_sagemaker, waiting, write, fault, logs):
    train(local_sagemaker, "job")
    write("epoch 1")
    local_sagemaker.fault(fault, service="logs", operation="FilterLogEvents", times=2)

    async def wait():
        task = Triggerer().start(waiting.trigger())
        await until(lambda: count(logs, "epoch 1"))
        stop(local_sagemaker, "job")
        return await end_of(task)

    assert asyncio.run(wait())["verdict"] == "stopped"

    assert count(logs, "epoch 1") == 1
    assert count(logs, "cannot be read") == 0


def test_a_log_that_does_not_answer_holds_up_the_end_for_a_limited_time(local_sagemaker, waiting, monkeypatch, logs):
    monkeypatch.setattr(job_log, "_PATIENCE", 0.5)
    train(local_sagemaker, "job", duration=0.5)
    local_sagemaker.fault("timeout", service="logs", seconds=12)

    async def wait():
        began = time.monotonic()
        event = await end_of(Triggerer().start(waiting.trigger()))
        return event, time.monotonic() - began

    event, seconds = asyncio.run(wait())

    assert event["verdict"] == "succeeded"
    assert seconds < 10
    assert count(logs, "last lines are in CloudWatch only") == 1


def test_a_bug_in_the_reading_of_a_log_ends_no_wait(local_sagemaker, waiting, monkeypatch, logs):
    def read_badly(stream, clients):
        raise KeyError("what is this")

    monkeypatch.setattr(LogStream, "read", read_badly)
    train(local_sagemaker, "job", duration=1)

    assert verdicts(waiting.trigger()) == ["succeeded"]

    assert count(logs, "are in CloudWatch only") == 1


def test_the_log_of_a_killed_task_is_read_no_more(local_sagemaker, waiting):
    train(local_sagemaker, "job")

    async def wait():
        task = Triggerer().start(waiting.trigger())
        await until(lambda: local_sagemaker.calls().get(FILTER, 0) >= 1)
        task.cancel(KILL)
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.5)
        looks = local_sagemaker.calls()[FILTER]
        await asyncio.sleep(1.5)
        return local_sagemaker.calls()[FILTER] - looks

    assert asyncio.run(wait()) == 0
    assert local_sagemaker.calls()["sagemaker.StopTrainingJob"] == 1


def test_many_logs_are_read_in_turns(local_sagemaker, waiting, monkeypatch):
    monkeypatch.setattr(job_log, "_INTERVAL", 0.05)
    names = [f"job-{number}" for number in range(6)]
    train(local_sagemaker, *names)

    async def wait():
        triggerer, began = Triggerer(), time.monotonic()
        tasks = [triggerer.start(waiting.trigger(name)) for name in names]
        await until(lambda: local_sagemaker.calls().get(FILTER, 0) >= 6)
        looks, seconds = local_sagemaker.calls()[FILTER], time.monotonic() - began
        stop(local_sagemaker, *names)
        for task in tasks:
            await end_of(task)
        return looks, seconds

    looks, seconds = asyncio.run(wait())

    # Two a second, the first at once. Jobs that have ended do not wait for their turn.
    assert looks <= 2 * seconds + 2


def test_a_job_without_a_log_in_cloudwatch_asks_for_none(local_sagemaker, waiting):
    local_sagemaker.rule(kind="AutoML", duration=1)
    local_sagemaker.client("sagemaker").create_auto_ml_job(**auto_ml_request("job"))

    assert verdicts(waiting.trigger(step_type="AutoML")) == ["succeeded"]
    assert calls(local_sagemaker)[1] >= 1
    assert FILTER not in local_sagemaker.calls()
