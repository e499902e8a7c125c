"""Callback steps: the message, the answer, a stop."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError
from pipeline_support import compare, condition, get, parameter, process, until


@pytest.fixture
def queue(local_sagemaker):
    client = local_sagemaker.client("sqs")
    url = client.create_queue(QueueName="sagemaker-q")["QueueUrl"]

    class Queue:
        def __init__(self):
            self.url = url

        def take(self):
            def receive():
                return client.receive_message(QueueUrl=url, MaxNumberOfMessages=1).get("Messages", [])

            return json.loads(until(receive)[0]["Body"])

    return Queue()


def callback(queue, **more):
    return {
        "Name": "Call",
        "Type": "Callback",
        "SqsQueueUrl": queue.url,
        "Arguments": {"n": get("Parameters.N"), "text": "t"},
        "OutputParameters": [
            {"OutputName": "score", "OutputType": "Float"},
            {"OutputName": "count", "OutputType": "Integer"},
            {"OutputName": "flag", "OutputType": "Boolean"},
        ],
        **more,
    }


NUMBER = parameter("N", "Integer", DefaultValue=5)


def output(name):
    return get(f"Steps.Call.OutputParameters['{name}']")


def answers(**values):
    return [{"Name": name, "Value": value} for name, value in values.items()]


def test_a_callback_sends_a_message_and_goes_on_with_the_answer(pipelines, sagemaker, queue):
    tests = [compare(output("score"), 0.5), compare(output("count"), 3), compare(output("flag"), True)]
    pipelines.create(callback(queue), condition("Check", *tests), Parameters=[NUMBER])
    arn = pipelines.start()

    message = queue.take()
    token = message["token"]
    assert message == {
        "token": token,
        "pipelineExecutionArn": arn,
        "arguments": {"n": 5, "text": "t"},
        "status": "Executing",
    }
    assert len(token) == 10
    assert token.isalnum()
    step = pipelines.until_step(arn, "Call", "Executing")
    assert step["Metadata"]["Callback"] == {"CallbackToken": token, "SqsQueueUrl": queue.url}

    answer = sagemaker.send_pipeline_execution_step_success(
        CallbackToken=token, OutputParameters=answers(score="0.5", count="3", flag="True", extra="x")
    )

    assert answer["PipelineExecutionArn"] == arn
    pipelines.ended(arn)
    steps = pipelines.steps(arn)
    assert steps["Check"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert {"Name": "extra", "Value": "x"} in steps["Call"]["Metadata"]["Callback"]["OutputParameters"]


def test_a_failure_is_the_steps(pipelines, sagemaker, queue):
    pipelines.create(callback(queue), process("After", DependsOn=["Call"]), Parameters=[NUMBER])
    arn = pipelines.start()

    sagemaker.send_pipeline_execution_step_failure(CallbackToken=queue.take()["token"], FailureReason="no luck")
    pipelines.ended(arn)

    assert pipelines.states(arn) == {"Call": "Failed"}
    assert pipelines.steps(arn)["Call"]["FailureReason"] == "no luck"


def test_a_token_is_answered_once(pipelines, sagemaker, queue):
    pipelines.create(callback(queue), Parameters=[NUMBER])
    pipelines.start()
    token = queue.take()["token"]
    request = {"ClientRequestToken": "c" * 32}
    sagemaker.send_pipeline_execution_step_success(CallbackToken=token, **request)

    sagemaker.send_pipeline_execution_step_success(CallbackToken=token, **request)
    with pytest.raises(ClientError, match=r"\(ConflictException\)"):
        sagemaker.send_pipeline_execution_step_failure(CallbackToken=token)
    with pytest.raises(ClientError, match=r"\(ResourceNotFound\)"):
        sagemaker.send_pipeline_execution_step_success(CallbackToken="0123456789")


@pytest.mark.parametrize("answer", ["success", "failure"])
def test_a_stop_waits_for_the_answer(pipelines, sagemaker, queue, answer):
    pipelines.create(callback(queue), Parameters=[NUMBER])
    arn = pipelines.start()
    token = queue.take()["token"]

    pipelines.stop(arn)
    stopping = queue.take()

    assert (stopping["token"], stopping["status"]) == (token, "Stopping")
    assert pipelines.status(arn) == "Stopping"
    assert pipelines.states(arn) == {"Call": "Stopping"}
    getattr(sagemaker, f"send_pipeline_execution_step_{answer}")(CallbackToken=token)
    pipelines.ended(arn)
    assert pipelines.status(arn) == "Stopped"
    assert pipelines.states(arn) == {"Call": "Stopped"}


def test_a_queue_that_is_not_there_fails_the_step(pipelines, queue):
    arn = pipelines.run(callback(queue, SqsQueueUrl=queue.url.replace("sagemaker-q", "none")), Parameters=[NUMBER])

    assert "Failed to invoke sqs:SendMessage" in pipelines.steps(arn)["Call"]["FailureReason"]


@pytest.mark.parametrize(
    ("fails", "states"), [(False, {"Call": "Succeeded", "Check": "Failed"}), (True, {"Call": "Failed"})]
)
def test_an_output_that_is_missing(pipelines, sagemaker, queue, choose, *, fails, states):
    choose(missing_output_fails=fails)
    pipelines.create(callback(queue), condition("Check", compare(output("score"), 1)), Parameters=[NUMBER])
    arn = pipelines.start()

    sagemaker.send_pipeline_execution_step_success(CallbackToken=queue.take()["token"])
    pipelines.ended(arn)

    assert pipelines.states(arn) == states


@pytest.mark.parametrize("allowed", [True, False])
def test_fifo_queues(local_sagemaker, pipelines, choose, allowed, queue):
    choose(fifo_queues=allowed)
    client = local_sagemaker.client("sqs")
    url = client.create_queue(QueueName="sagemaker.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    pipelines.create(callback(queue, SqsQueueUrl=url), Parameters=[NUMBER])
    arn = pipelines.start()

    step = pipelines.until_step(arn, "Call", "Executing", "Failed")

    assert step["StepStatus"] == ("Executing" if allowed else "Failed")
    assert len(client.receive_message(QueueUrl=url).get("Messages", [])) == int(allowed)
