"""Lambda steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..callbacks import shown, typed
from ..calls import CallError, StepError, call
from ..step_run import FAILED, Outcome

if TYPE_CHECKING:
    from ..context import Context

#: A step waits ten minutes for its function, which goes on if it takes longer.
LIMIT_SECONDS = 600.0
# The API's limit for an output's value.
_VALUE_LENGTH = 1024


def begin(context: Context) -> None:
    """Invoke the function in a thread of its own; it cannot be stopped."""
    arn, payload = str(context.setting("FunctionArn")), json.dumps(context.arguments).encode()
    with call("lambda", "Invoke"):
        context.engine.state.rules.refuse("Invoke", {"FunctionName": arn.rsplit(":", 1)[-1]})
    context.run.metadata = {"Lambda": {"Arn": arn}}
    context.execution.home.spawn(lambda: _invoke(context, arn, payload), f"lambda-{context.run.name}")
    context.later(LIMIT_SECONDS * context.settings.time_scale, _timed_out)


def _timed_out() -> Outcome:
    reason = "ClientError: The Lambda function did not return within the step's limit of 10 minutes"
    return Outcome(status=FAILED, reason=reason, timed_out=True)


def _invoke(context: Context, arn: str, payload: bytes) -> None:
    from moto.awslambda.models import lambda_backends  # noqa: PLC0415 - few executions invoke functions

    store = context.engine.store
    headers: dict[str, str] = {}
    try:
        with context.execution.home.functions, call("lambda", "Invoke"):
            answer = lambda_backends[store.account][store.region].invoke(arn, None, payload, {}, headers)
    except Exception as error:  # noqa: BLE001 - whatever it is, the step must not wait for ever
        failure = error if isinstance(error, CallError) else StepError(f"The function could not be run: {error}")

        def refuse() -> Outcome:
            raise failure

        context.settle(refuse)
        return
    context.settle(lambda: _outcome(context, answer or b"", failed="x-amz-function-error" in headers))


def _outcome(context: Context, answer: str | bytes, *, failed: bool) -> Outcome:
    text = answer.decode() if isinstance(answer, bytes) else answer
    if failed:
        return Outcome(status=FAILED, reason=f"ClientError: Lambda function failed: {text}")
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        if context.step.output_parameters:
            raise StepError(f"The Lambda function did not return a JSON object: {text[:200]}")
        document = {}
    declared = context.step.output_parameters
    values = {name: _text(document[name]) for name in declared if name in document}
    if values:
        parameters = shown({name: value[:_VALUE_LENGTH] for name, value in values.items()})
        context.run.metadata = {"Lambda": {**context.run.metadata["Lambda"], "OutputParameters": parameters}}
    return Outcome(outputs={"OutputParameters": typed(context, values)})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
