"""Callback steps: a message in a queue, and the answer to it."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import ParameterType, Step, parse_scalar

from ..crud import Operation
from ..errors import AwsError
from .calls import CallError, StepError, send_message
from .names import TOKEN_LENGTH
from .step_run import EXECUTING, FAILED, STOPPED, STOPPING, Outcome

if TYPE_CHECKING:
    from ..engine import Engine
    from .context import Context

_ALPHABET = string.ascii_letters + string.digits


def begin(context: Context) -> None:
    """Send the message; the step goes on until somebody answers."""
    token = "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_LENGTH))
    url = str(context.setting("SqsQueueUrl"))
    home = context.execution.home
    context.run.metadata = {"Callback": {"CallbackToken": token, "SqsQueueUrl": url}}
    with home.lock:
        home.callbacks[token] = context
    try:
        _send(context, token, url, EXECUTING)
    except CallError:
        with home.lock:
            del home.callbacks[token]
        raise
    # The execution stops only after an answer to this one.
    context.run.stop = lambda: _send_stop(context, token, url)


def _send_stop(context: Context, token: str, url: str) -> None:
    try:
        _send(context, token, url, STOPPING)
    except CallError as error:
        # Nobody could be asked, so nobody will answer.
        text = str(error)
        context.settle(lambda: Outcome(status=STOPPED, reason=text))


def _send(context: Context, token: str, url: str, status: str) -> None:
    message = {
        "token": token,
        "pipelineExecutionArn": context.execution.arn,
        "arguments": context.arguments,
        "status": status,
    }
    send_message(context.engine, url, message, group=context.execution.id)


def send_success(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """SendPipelineExecutionStepSuccess."""
    values = {item["Name"]: item["Value"] for item in params.get("OutputParameters") or ()}

    def judge(context: Context) -> Outcome:
        context.run.metadata = {"Callback": {**context.run.metadata["Callback"], "OutputParameters": shown(values)}}
        if context.run.status == STOPPING:
            return Outcome(status=STOPPED)
        return Outcome(outputs={"OutputParameters": typed(context, values)})

    return _answer(engine, "SendPipelineExecutionStepSuccess", params, judge)


def send_failure(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """SendPipelineExecutionStepFailure."""
    reason = params.get("FailureReason")

    def judge(context: Context) -> Outcome:
        stopping = context.run.status == STOPPING
        return Outcome(status=STOPPED if stopping else FAILED, reason=reason)

    return _answer(engine, "SendPipelineExecutionStepFailure", params, judge)


def _answer(engine: Engine, operation: str, params: Mapping[str, Any], judge: Any) -> dict[str, Any]:
    home, token = engine.pipelines, params["CallbackToken"]
    key = (operation, token, params.get("ClientRequestToken", ""))
    with home.lock:
        context = home.callbacks.get(token)
        if context is None:
            raise AwsError("ResourceNotFound", f"Callback token '{token}' does not exist.")
        arn = context.execution.arn
        if key[2] and key in home.tokens:
            return {"PipelineExecutionArn": arn}
    execution = context.execution
    with execution.lock:
        if context.run.turn != context.turn or context.run.is_over:
            raise AwsError("ConflictException", f"The step of callback token '{token}' has been answered already.")
        with home.lock:
            home.tokens[key] = arn
        # Who asks for the step after this answer finds it ended.
        execution.settle(context.run, context.turn, lambda: judge(context))
    return {"PipelineExecutionArn": arn}


def shown(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return outputs as a step's metadata has them."""
    return [{"Name": name, "Value": value} for name, value in values.items()]


def typed(context: Context, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the declared outputs in their types. What is not declared stays in the metadata only.

    :raises StepError: if a value does not have its type.
    """
    step: Step = context.step
    if context.settings.missing_output_fails:
        missing = [name for name in step.output_parameters if name not in values]
        if missing:
            raise StepError(f"The step did not return its output parameters {', '.join(missing)}")
    outputs: dict[str, Any] = {}
    for name, kind in step.output_parameters.items():
        if name not in values:
            continue
        text = values[name]
        # A whole number may be written as a float is.
        if kind is ParameterType.INTEGER and text.endswith(".0"):
            text = text.removesuffix(".0")
        try:
            outputs[name] = parse_scalar(kind, text)
        except ValueError as error:
            raise StepError(f"Output parameter '{name}' is declared as {kind}: {error}") from error
    return outputs


OPERATIONS: dict[str, Operation] = {
    "SendPipelineExecutionStepSuccess": send_success,
    "SendPipelineExecutionStepFailure": send_failure,
}
