"""The trigger of Callback steps against the local endpoint's queues."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.serde import deserialize, serialize

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.triggers import message_queue
from airflow_sagemaker_pipelines.triggers.callback import CallbackTrigger
from airflow_sagemaker_pipelines.triggers.replies import ReplyQueue
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY
from tests.operators.worker import Server
from tests.triggers.queues import Queue, until

MESSAGE = {"token": "mine", "pipelineExecutionArn": "arn", "arguments": {"n": 5}, "status": "Executing"}
KILL = "__airflow_user_action__"


@pytest.fixture
def work(local_sagemaker):
    return Queue(local_sagemaker, "sagemaker-work")


@pytest.fixture
def answers(local_sagemaker):
    return Queue(local_sagemaker, "sagemaker-answers")


@pytest.fixture
def trigger_of(work, answers, local_sagemaker):
    def make(token="mine", *, deadline=None, queue_url=None):
        return CallbackTrigger(
            step_type="Callback",
            handle={"name": token, "queue_url": work.url, "message": MESSAGE | {"token": token}},
            # Clients are shared by connections that are equal, and other tests have other endpoints.
            connection=AwsConnection(botocore_config={"user_agent_extra": local_sagemaker.url}).serialize(),
            poll_interval=0.2,
            deadline=deadline,
            reply_queue_url=queue_url or answers.url,
        )

    return make


async def wait_for(trigger, seconds=20):
    return (await asyncio.wait_for(anext(trigger.run()), seconds)).payload


def event_of(trigger):
    return asyncio.run(wait_for(trigger))


def test_a_triggerer_makes_the_same_trigger_again(trigger_of):
    trigger = trigger_of(deadline=1e9)

    classpath, arguments = trigger.serialize()
    module, _, name = classpath.rpartition(".")
    again = getattr(import_module(module), name)(**deserialize(json.loads(json.dumps(serialize(arguments)))))

    assert type(again) is CallbackTrigger
    assert again.serialize() == trigger.serialize()


def test_a_reply_ends_the_wait_with_its_outputs_and_leaves_the_queue(trigger_of, answers):
    answers.succeed("mine", rmse="0.4", count="7")

    event = event_of(trigger_of())

    assert (event["handle"]["name"], event["verdict"]) == ("mine", "succeeded")
    assert event["outputs"] == {"rmse": "0.4", "count": "7"}
    assert answers.counts() == (0, 0)


def test_a_reply_that_comes_later_ends_the_wait(trigger_of, answers):
    async def answer_late():
        waiting = asyncio.ensure_future(wait_for(trigger_of()))
        await asyncio.sleep(1)
        assert not waiting.done()
        answers.succeed("mine")
        return await waiting

    assert asyncio.run(answer_late())["verdict"] == "succeeded"


def test_a_failure_says_why(trigger_of, answers):
    answers.send({"token": "mine", "status": "Failed", "failureReason": "no data"})

    event = event_of(trigger_of())

    assert (event["verdict"], event["reason"], event["outputs"]) == ("failed", "no data", None)


def test_messages_that_nobody_here_waits_for_can_be_received_by_others_at_once(trigger_of, answers, caplog):
    others = [f"other{number}" for number in range(12)]
    for token in others:
        answers.succeed(token)
    answers.send("what is this")

    async def wait_in_vain():
        waiting = asyncio.ensure_future(wait_for(trigger_of(), 60))
        await until(lambda: "what is this" in caplog.text or "no reply" in caplog.text)
        # Not only after the 30 seconds for which SQS hides what was received.
        await until(lambda: answers.counts() == (13, 0), seconds=3)
        answers.succeed("mine")
        return await waiting

    with caplog.at_level(logging.WARNING):
        event = asyncio.run(wait_in_vain())

    assert event["verdict"] == "succeeded"
    assert caplog.text.count("no reply to a callback") == 1
    left = answers.visible()
    assert len(left) == 13
    assert "what is this" in left
    assert {json.loads(body)["token"] for body in left if body.startswith("{")} == set(others)


def test_a_message_of_any_form_does_no_harm(trigger_of, answers, caplog):
    # Python cannot read so many brackets.
    for body in ("[" * 100_000, "null", '{"token": 7}', '{"token": "mine", "status": ["Succeeded"]}'):
        answers.send(body)
    answers.succeed("mine")

    assert event_of(trigger_of())["verdict"] == "succeeded"
    assert caplog.text.count("no reply to a callback") == 4


def test_a_reply_behind_many_stale_ones_is_found(trigger_of, answers):
    # A queue may give its oldest messages again and again.
    for number in range(45):
        answers.succeed(f"stale{number}")
    answers.succeed("mine")

    assert event_of(trigger_of())["verdict"] == "succeeded"
    # The event does not wait for the others to be put back.
    asyncio.run(until(lambda: answers.counts() == (45, 0), seconds=5))


def test_many_tasks_share_the_receiving_from_one_queue(local_sagemaker, trigger_of, answers):
    tokens = [f"token{number}" for number in range(25)]

    async def wait_for_all():
        waits = [asyncio.ensure_future(wait_for(trigger_of(token))) for token in tokens]
        await asyncio.sleep(0.5)
        for token in reversed(tokens):
            answers.succeed(token, me=token)
        return await asyncio.gather(*waits)

    local_sagemaker.clear_calls()
    events = asyncio.run(wait_for_all())

    assert [event["outputs"] for event in events] == [{"me": token} for token in tokens]
    assert answers.counts() == (0, 0)
    assert not message_queue.MessageQueue._open


def test_a_look_at_a_queue_is_one_call_however_many_wait(trigger_of, monkeypatch):
    calls = []
    receive = ReplyQueue._receive
    monkeypatch.setattr(ReplyQueue, "_receive", lambda queue: calls.append(1) or receive(queue))

    async def wait_in_vain():
        waits = [asyncio.ensure_future(wait_for(trigger_of(f"token{number}"))) for number in range(20)]
        await asyncio.sleep(1)
        for wait in waits:
            wait.cancel()

    asyncio.run(wait_in_vain())

    assert len(calls) == 1


def test_two_triggerers_leave_each_other_their_replies(trigger_of, answers):
    # Each thread has an event loop of its own, and shares nothing with the other.
    for token in ("a1", "b1", "b2", "a2"):
        answers.succeed(token, me=token)

    async def wait_for_two(tokens):
        return await asyncio.gather(*(wait_for(trigger_of(token), 40) for token in tokens))

    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(asyncio.run, wait_for_two(tokens)) for tokens in (("a1", "a2"), ("b1", "b2"))]
        events = [event for future in both for event in future.result(60)]

    assert [event["outputs"]["me"] for event in events] == ["a1", "a2", "b1", "b2"]
    assert answers.counts() == (0, 0)


def test_a_second_reply_to_a_token_does_no_harm(trigger_of, answers):
    answers.succeed("mine", n="1")
    assert event_of(trigger_of())["outputs"] == {"n": "1"}
    answers.succeed("mine", n="2")
    answers.succeed("next", n="3")

    assert event_of(trigger_of("next"))["outputs"] == {"n": "3"}
    asyncio.run(until(lambda: answers.counts() == (1, 0), seconds=5))


def test_a_task_that_joins_while_the_queue_is_left_to_others_need_not_wait_for_that(trigger_of, answers, monkeypatch):
    monkeypatch.setattr(message_queue, "_FIRST_PAUSE", 60)
    answers.succeed("later")

    async def join():
        first = asyncio.ensure_future(wait_for(trigger_of("mine")))
        await until(lambda: answers.counts() == (1, 0))
        await asyncio.sleep(0.5)
        event = await wait_for(trigger_of("later"), 5)
        first.cancel()
        return event

    assert asyncio.run(join())["verdict"] == "succeeded"


def test_the_deadline_ends_the_waiting(trigger_of):
    assert event_of(trigger_of(deadline=time.time() + 1.2))["verdict"] == TIMED_OUT


def test_a_reply_that_came_by_the_deadline_counts(trigger_of, answers):
    answers.succeed("mine")

    assert event_of(trigger_of(deadline=time.time() - 60))["verdict"] == "succeeded"


def test_a_queue_that_does_not_exist_is_refused_for_all_who_wait(trigger_of, answers):
    async def wait_for_both():
        return await asyncio.gather(*(wait_for(trigger_of(token, queue_url=f"{answers.url}-not")) for token in "ab"))

    for event in asyncio.run(wait_for_both()):
        assert event["verdict"] == REFUSED
        assert "sagemaker-answers-not" in event["reason"]


async def killed(trigger):
    """Run a trigger as the triggerer does, and kill its task as Airflow does."""
    running = asyncio.ensure_future(wait_for(trigger))
    await asyncio.sleep(0.5)
    running.cancel(KILL)
    with pytest.raises(asyncio.CancelledError) as caught:
        await running
    # Airflow calls on_kill only when its text comes back.
    assert caught.value.args == (KILL,)
    await trigger.on_kill()


def test_killing_the_task_tells_the_worker_to_stop(trigger_of, work):
    asyncio.run(killed(trigger_of()))

    assert [json.loads(body) for body in work.visible()] == [MESSAGE | {"status": "Stopping"}]


def test_the_worker_hears_nothing_of_a_kill_after_the_reply(trigger_of, work, answers):
    async def answer_and_kill():
        trigger = trigger_of()
        answers.succeed("mine")
        await wait_for(trigger)
        await trigger.on_kill()

    asyncio.run(answer_and_kill())

    assert work.visible() == []


@pytest.mark.parametrize(("state", "told"), [("deferred", 0), ("failed", 1)])
def test_the_worker_hears_nothing_of_a_change_of_triggerers(trigger_of, work, monkeypatch, state, told):
    server = Server()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", server, raising=False)
    trigger = trigger_of()
    trigger.task_instance = SimpleNamespace(dag_id="abalone", task_id="Cb", run_id="run-1", map_index=-1)
    server.states["Cb"] = state
    server.xcoms["abalone", "run-1", "Cb"] = {HANDLE_KEY: trigger.handle}

    asyncio.run(trigger.on_kill())

    assert len(work.visible()) == told
