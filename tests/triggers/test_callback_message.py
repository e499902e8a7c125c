"""Waiting for the messages that SageMaker sends for Callback steps, against the local endpoint's queues."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.triggers import message_queue
from airflow_sagemaker_pipelines.triggers.callback_message import CallbackMessages
from airflow_sagemaker_pipelines.triggers.replies import ReplyQueue
from tests.steps.types.step_runs import ROLE
from tests.triggers.queues import Queue, until

ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/pipe/execution/p4jn9xou8a8s"


@pytest.fixture
def queue(local_sagemaker):
    return Queue(local_sagemaker, "sagemaker-work")


@pytest.fixture
def connection(local_sagemaker):
    # Clients are shared by connections that are equal, and other tests have other endpoints.
    return AwsConnection(botocore_config={"user_agent_extra": local_sagemaker.url})


@pytest.fixture
def ask(queue):
    """Send a message as SageMaker does."""

    def send(token, status="Executing", **arguments):
        return queue.send({"token": token, "pipelineExecutionArn": ARN, "arguments": arguments, "status": status})

    return send


@pytest.fixture
def wait_for(queue, connection):
    """Wait for the message of a token, and take it out of the queue."""

    async def wait(token, seconds=20):
        received = await asyncio.wait_for(CallbackMessages.message(queue.url, connection, token), seconds)
        await CallbackMessages.delete(queue.url, connection, received)
        return received.message

    return wait


def tokens_in(queue):
    return sorted((body["token"], body["status"]) for body in map(json.loads, queue.visible()))


def test_the_message_of_a_running_step_brings_its_arguments(local_sagemaker, queue, wait_for):
    sagemaker = local_sagemaker.client("sagemaker")
    arguments = {"n": {"Get": "Parameters.N"}, "text": "t", "nested": {"a": [1, 2]}}
    step = {"Name": "Call", "Type": "Callback", "SqsQueueUrl": queue.url, "Arguments": arguments}
    document = {"Version": "2020-12-01", "Parameters": [{"Name": "N", "Type": "Integer", "DefaultValue": 5}]}
    text = json.dumps({**document, "Steps": [step]})
    sagemaker.create_pipeline(PipelineName="pipe", RoleArn=ROLE, PipelineDefinition=text)
    arn = sagemaker.start_pipeline_execution(PipelineName="pipe")["PipelineExecutionArn"]

    async def receive():
        token = None
        while token is None:
            answer = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
            metadata = [step.get("Metadata", {}) for step in answer["PipelineExecutionSteps"]]
            token = next((entry["Callback"]["CallbackToken"] for entry in metadata if "Callback" in entry), None)
            await asyncio.sleep(0.1)
        return token, await wait_for(token)

    token, message = asyncio.run(asyncio.wait_for(receive(), 30))

    assert (message.token, message.status) == (token, "Executing")
    assert message.arguments == {"n": 5, "text": "t", "nested": {"a": [1, 2]}}
    assert queue.counts() == (0, 0)


def test_a_message_that_comes_later_ends_the_wait(ask, wait_for):
    async def ask_late():
        waiting = asyncio.ensure_future(wait_for("mine"))
        await asyncio.sleep(1)
        assert not waiting.done()
        ask("mine", n=1)
        return await waiting

    assert asyncio.run(ask_late()).arguments == {"n": 1}


def test_messages_for_workers_outside_airflow_can_be_received_by_them_at_once(queue, ask, wait_for, caplog):
    ask("theirs")
    queue.send("what is this")
    queue.succeed("mine")

    async def receive():
        waiting = asyncio.ensure_future(wait_for("mine"))
        # Not only after the 30 seconds for which SQS hides what was received.
        await until(lambda: "it stays there" in caplog.text)
        await until(lambda: queue.counts() == (3, 0), seconds=5)
        ask("mine")
        return await waiting

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(receive()).token == "mine"

    assert caplog.text.count("no message of a Callback step") == 2
    asyncio.run(until(lambda: queue.counts() == (3, 0), seconds=5))


def test_many_steps_share_the_receiving_from_one_queue(ask, wait_for):
    tokens = [f"token{number}" for number in range(25)]

    async def receive_all():
        waits = [asyncio.ensure_future(wait_for(token)) for token in tokens]
        for token in reversed(tokens):
            await asyncio.to_thread(ask, token, me=token)
        queues = len(message_queue.MessageQueue._open)
        return queues, await asyncio.gather(*waits)

    queues, messages = asyncio.run(receive_all())

    assert queues == 1
    assert [message.arguments["me"] for message in messages] == tokens
    assert not message_queue.MessageQueue._open


def test_two_triggerers_leave_each_other_their_messages(queue, ask, wait_for):
    for token in ("a1", "b1", "b2", "a2"):
        ask(token, me=token)

    async def wait_for_two(tokens):
        return await asyncio.gather(*(wait_for(token, 40) for token in tokens))

    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(asyncio.run, wait_for_two(tokens)) for tokens in (("a1", "a2"), ("b1", "b2"))]
        messages = [message for future in both for message in future.result(60)]

    assert [message.arguments["me"] for message in messages] == ["a1", "a2", "b1", "b2"]
    assert queue.counts() == (0, 0)


def test_messages_and_replies_may_share_a_queue(queue, connection, ask, wait_for):
    async def receive_both():
        reply = asyncio.ensure_future(ReplyQueue.reply(queue.url, connection, "mine"))
        message = asyncio.ensure_future(wait_for("mine", 40))
        await asyncio.to_thread(ask, "mine", n=1)
        await asyncio.to_thread(queue.succeed, "mine", rmse="0.4")
        return await message, await asyncio.wait_for(reply, 40)

    message, reply = asyncio.run(receive_both())

    assert message.arguments == {"n": 1}
    assert reply.message.outputs == {"rmse": "0.4"}


def test_who_dies_before_the_message_is_deleted_finds_it_again(queue, connection, ask, wait_for, monkeypatch):
    monkeypatch.setattr(message_queue, "_VISIBILITY_SECONDS", 1)
    ask("mine", n=1)
    asyncio.run(CallbackMessages.message(queue.url, connection, "mine"))
    assert queue.counts() == (0, 1)

    assert asyncio.run(wait_for("mine")).arguments == {"n": 1}
    assert queue.counts() == (0, 0)


def test_a_queue_that_does_not_exist_is_an_error(queue, connection):
    with pytest.raises(ClientError, match="NonExistentQueue"):
        asyncio.run(CallbackMessages.message(f"{queue.url}-not", connection, "mine"))


# --- the second message


def test_the_message_that_says_stopping_is_not_taken_for_the_first_one(queue, ask, wait_for):
    ask("mine", "Stopping", n=1)

    async def receive():
        waiting = asyncio.ensure_future(wait_for("mine"))
        await asyncio.sleep(1)
        assert not waiting.done()
        ask("mine", n=1)
        return await waiting

    assert asyncio.run(receive()).status == "Executing"
    asyncio.run(until(lambda: queue.counts() == (1, 0), seconds=5))


def test_what_is_left_of_a_stopped_step_can_be_discarded(queue, connection, ask):
    for token, status in (("mine", "Executing"), ("theirs", "Stopping"), ("mine", "Stopping"), ("other", "Executing")):
        ask(token, status)

    # It ends with the second message, long before its time is up.
    asyncio.run(asyncio.wait_for(CallbackMessages.discard(queue.url, connection, "mine", seconds=600), 60))

    asyncio.run(until(lambda: queue.counts() == (2, 0), seconds=5))
    assert tokens_in(queue) == [("other", "Executing"), ("theirs", "Stopping")]


def test_a_second_message_that_is_yet_to_come_is_discarded_when_it_comes(queue, connection, ask):
    async def discard():
        discarding = asyncio.ensure_future(CallbackMessages.discard(queue.url, connection, "mine", seconds=600))
        await asyncio.sleep(1)
        ask("mine", "Stopping")
        await asyncio.wait_for(discarding, 60)

    asyncio.run(discard())

    assert queue.counts() == (0, 0)


def test_a_second_message_that_never_comes_is_not_waited_for_for_ever(queue, connection, ask):
    ask("theirs", "Stopping")

    asyncio.run(asyncio.wait_for(CallbackMessages.discard(queue.url, connection, "mine", seconds=1), 60))

    asyncio.run(until(lambda: queue.counts() == (1, 0), seconds=5))


def test_discarding_is_no_reason_to_fail(queue, connection, caplog):
    with caplog.at_level(logging.WARNING):
        asyncio.run(CallbackMessages.discard(f"{queue.url}-not", connection, "mine"))

    assert "The messages of callback mine stay" in caplog.text
