"""Callback steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, aws_call
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict


class Callback(StepRunner):
    """A message that asks a worker to do something, and to answer with the token in it.

    Workers get each request at least once: a retry of the task sends the same message again, with the same token, and
    so may botocore, after a lost answer, and SQS itself. The token tells them what they have begun or done already. On
    a FIFO queue only a retry does: SQS drops what botocore repeats. Clearing the task makes a new token.

    No pipeline runs on SageMaker, so the token is ours, and ``SendPipelineExecutionStepSuccess`` does not know it. How
    the answer arrives is the caller's matter.
    """

    step_type = StepType.CALLBACK
    noun = "callback"

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the queue and the message, whose body is sent as JSON text."""
        queue_url = run.resolve(run.step.settings.get("SqsQueueUrl"))
        if not isinstance(queue_url, str) or not queue_url:
            raise StepRequestError(f"its SqsQueueUrl is {queue_url!r}, not a URL", step=run.step.name)
        message = {
            "token": run.identity.token("callback"),
            "pipelineExecutionArn": run.execution.arn,
            "arguments": run.resolve(run.step.arguments),
            "status": "Executing",
        }
        return {"QueueUrl": queue_url, "MessageBody": message}

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Send the message."""
        message = request["MessageBody"]
        with aws_call("SendMessage", step=run.step.name):
            _send(run.clients, request["QueueUrl"], message)
        handle = {"name": message["token"], "queue_url": request["QueueUrl"], "message": message}
        return State(handle=handle, verdict=Verdict.RUNNING)

    def stop(self, clients: Clients, handle: Handle) -> None:
        """Tell the worker to stop, as SageMaker does: the message again, with ``"status": "Stopping"``.

        Nobody waits for the answer.
        """
        _send(clients, handle["queue_url"], handle["message"] | {"status": "Stopping"})


def _send(clients: Clients, queue_url: str, message: Mapping[str, Any]) -> None:
    fifo = {}
    if queue_url.endswith(".fifo"):
        # One group per token: "Stopping" comes after "Executing", and callbacks do not wait for each other. The
        # deduplication is for one call and boto3's repetitions of it: if SQS dropped the message of another try as a
        # duplicate, a worker that has answered the first would not answer again.
        fifo = {"MessageGroupId": message["token"], "MessageDeduplicationId": uuid4().hex}
    body = json.dumps(message, separators=(",", ":"))
    clients("sqs").send_message(QueueUrl=queue_url, MessageBody=body, **fifo)
