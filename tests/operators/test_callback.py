"""The task of a Callback step on a worker."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from airflow_sagemaker_pipelines import pipeline_dag
from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.steps.errors import StepFailedError
from tests.operators.worker import Worker, event_of


@pytest.fixture
def queues(local_sagemaker):
    client = local_sagemaker.client("sqs")
    return tuple(client.create_queue(QueueName=f"sagemaker-{name}")["QueueUrl"] for name in ("work", "answers"))


@pytest.fixture
def worker_of(server, queues, local_sagemaker):
    def make(**arguments):
        step = {
            "Name": "Cb",
            "Type": "Callback",
            "SqsQueueUrl": queues[0],
            "OutputParameters": [{"OutputName": "o", "OutputType": "Integer"}],
        }
        config = {"user_agent_extra": local_sagemaker.url}
        dag = pipeline_dag(
            "abalone", {"Steps": [step]}, start_date=datetime(2026, 1, 1), botocore_config=config, **arguments
        )
        return Worker(dag, server)

    return make


def sent(local_sagemaker, queue):
    messages = local_sagemaker.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in messages.get("Messages", [])]


def reply(local_sagemaker, queues, **content):
    (message,) = sent(local_sagemaker, queues[0])
    body = json.dumps({"token": message["token"], **content})
    local_sagemaker.client("sqs").send_message(QueueUrl=queues[1], MessageBody=body)


def test_the_task_waits_in_the_triggerer_and_types_the_reply(local_sagemaker, worker_of, queues):
    worker = worker_of(callback_reply_queue_url=queues[1])
    waiting = worker.start("Cb")
    reply(local_sagemaker, queues, status="Succeeded", outputParameters=[{"Name": "o", "Value": "7"}])

    outcome = worker.resume(waiting, event_of(waiting.trigger), "Cb")

    assert outcome.state == "success"
    assert worker.server.xcom("Cb") == {"OutputParameters": {"o": 7}}


def test_a_failure_is_told_in_the_workers_words_and_may_be_retried(local_sagemaker, worker_of, queues):
    worker = worker_of(callback_reply_queue_url=queues[1], default_args={"retries": 1})
    waiting = worker.start("Cb")
    reply(local_sagemaker, queues, status="Failed", failureReason="no such data")

    outcome = worker.resume(waiting, event_of(waiting.trigger), "Cb")

    assert isinstance(outcome.error, StepFailedError)
    assert str(outcome.error).startswith("Step 'Cb' failed: no such data (callback ")
    assert outcome.state == "up_for_retry"


def test_nobody_to_answer_is_an_error_that_names_both_ways_out(local_sagemaker, worker_of, queues):
    outcome = worker_of(default_args={"retries": 3}).start("Cb")

    assert outcome.state == "failed"
    assert isinstance(outcome.error, AirflowFailException)
    for text in ("Step 'Cb'", "callback_reply_queue_url=", "callbacks={'Cb': …}"):
        assert text in str(outcome.error)
    assert sent(local_sagemaker, queues[0]) == []


def test_a_kill_on_the_worker_tells_whoever_works_on_it_to_stop(local_sagemaker, worker_of, queues):
    worker = worker_of(callback_reply_queue_url=queues[1])
    waiting = worker.start("Cb")
    worker.server.states["Cb"] = "failed"

    waiting.task.on_kill()

    assert [message["status"] for message in sent(local_sagemaker, queues[0])] == ["Executing", "Stopping"]


def cleared(worker):
    """The first try of the task's next life."""
    return {"try_number": 2, "max_tries": 1 + worker.dag.get_task("Cb").retries}


def test_a_cleared_task_tells_whoever_still_works_on_it_to_stop_and_asks_again(local_sagemaker, worker_of, queues):
    worker = worker_of(callback_reply_queue_url=queues[1])
    worker.start("Cb")

    assert worker.start("Cb", **cleared(worker)).state == "deferred"

    first, stop, second = sent(local_sagemaker, queues[0])
    assert [message["status"] for message in (first, stop, second)] == ["Executing", "Stopping", "Executing"]
    assert stop["token"] == first["token"] != second["token"]


def test_a_callback_that_was_answered_is_over_when_its_task_is_cleared(local_sagemaker, worker_of, queues):
    worker = worker_of(callback_reply_queue_url=queues[1])
    waiting = worker.start("Cb")
    reply(local_sagemaker, queues, status="Failed", failureReason="no such data")
    worker.resume(waiting, event_of(waiting.trigger), "Cb")

    worker.start("Cb", **cleared(worker))

    # The first message has been received, and is hidden from others for a while.
    assert [message["status"] for message in sent(local_sagemaker, queues[0])] == ["Executing"]


def test_the_outputs_of_a_reply_are_for_a_worker_to_check(worker_of, queues):
    waiting = worker_of(callback_reply_queue_url=queues[1]).start("Cb")

    assert waiting.trigger.ends_task is False
