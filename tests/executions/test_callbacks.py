"""Messages of Callback steps, and the answers to them, against executions on the local endpoint."""

from __future__ import annotations

import json
import re
import time

import boto3
import pytest

from airflow_sagemaker_pipelines.executions import callbacks
from airflow_sagemaker_pipelines.executions.callbacks import (
    CallbackMessage,
    parse_callback_message,
    send_failure,
    send_success,
)
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from tests.steps.types.step_runs import ROLE, EndpointClients

REQUEST = "c" * 32
OTHER_REQUEST = "d" * 32


@pytest.fixture
def clients(local_sagemaker):
    return EndpointClients(local_sagemaker)


class Execution:
    """An execution whose only step, ``Call``, waits for an answer."""

    def __init__(self, clients, outputs):
        self.sagemaker, self.sqs = clients("sagemaker"), clients("sqs")
        self.url = self.sqs.create_queue(QueueName="sagemaker-q")["QueueUrl"]
        declared = [{"OutputName": name, "OutputType": kind} for name, kind in outputs.items()]
        step = {"Name": "Call", "Type": "Callback", "SqsQueueUrl": self.url, "Arguments": {"n": 5}}
        text = json.dumps({"Version": "2020-12-01", "Steps": [{**step, "OutputParameters": declared}]})
        self.sagemaker.create_pipeline(PipelineName="pipe", RoleArn=ROLE, PipelineDefinition=text)
        self.arn = self.sagemaker.start_pipeline_execution(PipelineName="pipe")["PipelineExecutionArn"]
        self.message = self.receive()
        self.token = self.message.token

    def receive(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=1, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                return parse_callback_message(message["Body"])
        raise AssertionError("no message")

    def step(self):
        (step,) = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=self.arn)["PipelineExecutionSteps"]
        return step

    def outputs(self):
        return {item["Name"]: item["Value"] for item in self.step()["Metadata"]["Callback"]["OutputParameters"]}

    def stop(self):
        self.sagemaker.stop_pipeline_execution(PipelineExecutionArn=self.arn)


@pytest.fixture
def execution(clients):
    return lambda **outputs: Execution(clients, outputs)


@pytest.fixture
def succeed(clients):
    def send(execution, outputs=None, *, token=None, request=REQUEST):
        token = token or execution.token
        send_success(clients, token, outputs or {}, step="Call", client_request_token=request)

    return send


@pytest.fixture
def fail(clients):
    def send(execution, reason="no luck", *, request=REQUEST):
        send_failure(clients, execution.token, reason, step="Call", client_request_token=request)

    return send


# --- answers


def test_outputs_arrive_in_their_declared_types(execution, succeed):
    waiting = execution(score="Float", count="Integer", flag="Boolean", text="String", nested="String")

    succeed(waiting, {"score": 0.5, "count": 3, "flag": True, "text": "a b", "nested": {"a": [1, None]}, "more": [1.5]})

    # The endpoint fails a step whose outputs do not have their types.
    assert waiting.step()["StepStatus"] == "Succeeded"
    assert waiting.outputs() == {
        "score": "0.5",
        "count": "3",
        "flag": "true",
        "text": "a b",
        "nested": '{"a": [1, null]}',
        "more": "[1.5]",
    }


def test_a_step_without_outputs_can_be_answered(execution, succeed):
    waiting = execution()

    succeed(waiting)

    assert waiting.step()["StepStatus"] == "Succeeded"


def test_a_failure_says_why(execution, fail):
    waiting = execution()

    fail(waiting, "no luck")

    assert (waiting.step()["StepStatus"], waiting.step()["FailureReason"]) == ("Failed", "no luck")


def test_a_reason_that_is_too_long_for_aws_is_cut(execution, fail):
    waiting = execution()

    fail(waiting, "x" * 300)

    assert waiting.step()["FailureReason"] == "x" * 255 + "…"


@pytest.mark.parametrize("answer", ["success", "failure"])
def test_a_stop_goes_on_with_either_answer(execution, succeed, fail, answer):
    waiting = execution()
    waiting.stop()
    assert waiting.receive() == CallbackMessage(token=waiting.token, arguments={"n": 5}, status="Stopping")

    {"success": succeed, "failure": fail}[answer](waiting)

    assert waiting.step()["StepStatus"] == "Stopped"


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ({f"o{number}": 1 for number in range(51)}, "it has 51 outputs; SageMaker takes 50"),
        ({"o": "x" * 1025}, "the value of its output 'o' has 1025 characters; SageMaker takes 1024"),
        ({"o": ["x" * 1021]}, "the value of its output 'o' has 1025 characters; SageMaker takes 1024"),
        ({"o" * 257: 1}, f"the name of its output '{'o' * 80}' has 257 characters; SageMaker takes 256"),
    ],
)
def test_outputs_beyond_what_aws_takes_are_refused_before_it_is_asked(
    local_sagemaker, execution, succeed, outputs, complaint
):
    waiting = execution()

    with pytest.raises(StepRequestError, match=re.escape(f"Step 'Call' failed: {complaint}")):
        succeed(waiting, outputs)

    assert "sagemaker.SendPipelineExecutionStepSuccess" not in local_sagemaker.calls()


def test_outputs_at_the_limits_pass(execution, succeed):
    waiting = execution()

    succeed(waiting, {"n" * 256: "v" * 1024, **{f"o{number}": number for number in range(49)}})

    assert len(waiting.outputs()) == 50


def test_the_limits_are_those_of_the_api():
    model = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
    success = model.shape_for("SendPipelineExecutionStepSuccessRequest").members["OutputParameters"]
    failure = model.shape_for("SendPipelineExecutionStepFailureRequest").members["FailureReason"]
    name, value = (success.member.members[member].metadata["max"] for member in ("Name", "Value"))

    assert (success.metadata["max"], name, value, failure.metadata["max"]) == (
        callbacks.MAX_OUTPUTS,
        callbacks.MAX_NAME_LENGTH,
        callbacks.MAX_VALUE_LENGTH,
        callbacks.MAX_REASON_LENGTH,
    )


# --- more than one answer


@pytest.mark.parametrize("answer", ["success", "failure"])
def test_an_answer_may_be_repeated(execution, succeed, fail, answer):
    send = {"success": succeed, "failure": fail}[answer]
    waiting = execution()
    send(waiting)
    before = waiting.step()

    send(waiting)

    assert waiting.step() == before


def test_a_lost_answer_of_aws_is_no_error(local_sagemaker, execution, succeed):
    waiting = execution(score="Float")
    local_sagemaker.fault("truncate", operation="SendPipelineExecutionStepSuccess", times=1)

    succeed(waiting, {"score": 0.5})
    succeed(waiting, {"score": 0.5})

    assert waiting.outputs() == {"score": "0.5"}


def test_an_answer_after_somebody_elses_is_an_error_that_says_so(execution, succeed, fail):
    waiting = execution(score="Float")
    succeed(waiting, {"score": 0.5})

    for send in (succeed, fail):
        with pytest.raises(StepRequestError, match=f"callback {waiting.token} has been answered already") as caught:
            send(waiting, request=OTHER_REQUEST)
        assert (caught.value.step, caught.value.code) == ("Call", "ConflictException")
    # What was answered stays.
    assert waiting.outputs() == {"score": "0.5"}


def test_a_token_that_sagemaker_does_not_know_is_an_error_that_says_so(execution, succeed):
    waiting = execution()

    with pytest.raises(StepRequestError, match="SageMaker knows no callback 0123456789") as caught:
        succeed(waiting, token="0123456789")

    assert caught.value.code == "ResourceNotFound"


def test_another_refusal_is_told_as_it_is(local_sagemaker, execution, succeed):
    waiting = execution()
    local_sagemaker.fault("denied", operation="SendPipelineExecutionStepSuccess")

    with pytest.raises(StepRequestError, match="SendPipelineExecutionStepSuccess was refused with AccessDenied"):
        succeed(waiting)


def test_throttling_is_an_error_that_a_retry_may_mend(local_sagemaker, execution, fail):
    waiting = execution()
    local_sagemaker.fault("throttle", operation="SendPipelineExecutionStepFailure")

    with pytest.raises(StepCallError):
        fail(waiting)


# --- messages


def test_sagemakers_message_is_understood(execution):
    message = execution().message

    assert re.fullmatch("[a-zA-Z0-9]{10}", message.token)
    assert (message.arguments, message.status) == ({"n": 5}, "Executing")


def test_the_status_may_be_spelled_as_aws_documents_it():
    message = parse_callback_message('{"token": "a1b2c3d4e5", "Status": "Stopping"}')

    assert message == CallbackMessage(token="a1b2c3d4e5", arguments={}, status="Stopping")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('{"status": "Executing"}', "no token"),
        ('{"token": 7, "status": "Executing"}', "no token"),
        ('{"token": "t"}', "its status is null"),
        ('{"token": "t", "status": "Succeeded"}', 'its status is "Succeeded"'),
        ('{"token": "t", "status": ["Executing"]}', "its status is"),
        ('{"token": "t", "status": "Executing", "arguments": [1]}', "its arguments are no object"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(body, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_callback_message(body)
