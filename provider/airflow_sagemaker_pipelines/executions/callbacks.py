"""Callback steps of executions: the message by which SageMaker asks, and the two calls that answer it.

SageMaker puts ``{"token": …, "pipelineExecutionArn": …, "arguments": {…}, "status": "Executing"}`` into the step's
queue, and the step runs until somebody answers with the token. When the execution is stopped, a second message says
``"Stopping"``, and the execution is stopped only after an answer, whichever it is (sections 7.10 and 10.6 of the AWS
semantics).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.steps.aws import aws_call
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.replies import read_member, read_object

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.aws import Clients

#: The status of the message that asks for work, and of the one that asks to stop it.
EXECUTING = "Executing"
STOPPING = "Stopping"

#: SendPipelineExecutionStepSuccess takes so many outputs, with names and values of so many characters …
MAX_OUTPUTS = 50
MAX_NAME_LENGTH = 256
MAX_VALUE_LENGTH = 1024
#: … and SendPipelineExecutionStepFailure a reason of so many.
MAX_REASON_LENGTH = 256

#: What AWS's refusals mean here; it documents only the codes.
_REFUSALS = {
    "ConflictException": "callback {token} has been answered already, by somebody else or in another way",
    "ResourceNotFound": "SageMaker knows no callback {token} that waits for an answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackMessage:
    """What SageMaker says to who fulfils a Callback step."""

    token: str
    arguments: Mapping[str, Any]
    """The step's, resolved, in their JSON types."""
    status: str
    """``Executing`` or ``Stopping``."""


def parse_callback_message(body: str) -> CallbackMessage:
    """Read the body of a message.

    :raises ValueError: if it is none of SageMaker's; the message says why.
    """
    document = read_object(body)
    token = read_member(document, "token")
    if not isinstance(token, str) or not token:
        raise ValueError("it has no token")
    # "Status" in the documentation of StopPipelineExecution, "status" in fact.
    status = read_member(document, "status")
    if status not in (EXECUTING, STOPPING):
        raise ValueError(f"its status is {json.dumps(status)[:80]}, neither '{EXECUTING}' nor '{STOPPING}'")
    return CallbackMessage(token=token, arguments=_arguments(read_member(document, "arguments")), status=status)


def _arguments(node: Any) -> Mapping[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        # Of the text, so no TypeError.
        raise ValueError("its arguments are no object")  # noqa: TRY004
    return node


def send_success(
    clients: Clients, token: str, outputs: Mapping[str, Any], *, step: str, client_request_token: str
) -> None:
    """Answer that a Callback step has succeeded, or, while its execution is being stopped, that it may stop.

    :param token: the callback's.
    :param outputs: values by name. AWS takes texts: numbers, booleans and nested values become JSON.
    :param step: the step's name.
    :param client_request_token: 32 to 128 characters, the same whenever this answer is given again. AWS takes the
        repetition for the first answer, so a worker that died, or lost AWS's reply, may simply give it again.
    :raises StepRequestError: if the outputs are too many or too long; if somebody else has answered
        (``ConflictException``), which includes this process with another token or the other answer; if SageMaker does
        not know the token (``ResourceNotFound``); or for any other refusal.
    :raises StepCallError: if AWS cannot answer now.
    """
    parameters = _output_parameters(outputs, step)
    with _answer("SendPipelineExecutionStepSuccess", token, step):
        clients("sagemaker").send_pipeline_execution_step_success(
            CallbackToken=token, OutputParameters=parameters, ClientRequestToken=client_request_token
        )


def send_failure(clients: Clients, token: str, reason: str, *, step: str, client_request_token: str) -> None:
    """Answer that a Callback step has failed, or, while its execution is being stopped, that it may stop.

    :param token: the callback's.
    :param reason: why; cut to 256 characters.
    :param step: the step's name.
    :param client_request_token: as for :func:`send_success`.
    :raises StepRequestError: as :func:`send_success`, but never for the reason.
    :raises StepCallError: if AWS cannot answer now.
    """
    with _answer("SendPipelineExecutionStepFailure", token, step):
        clients("sagemaker").send_pipeline_execution_step_failure(
            CallbackToken=token,
            FailureReason=_cut(reason, MAX_REASON_LENGTH),
            ClientRequestToken=client_request_token,
        )


def _output_parameters(outputs: Mapping[str, Any], step: str) -> list[dict[str, str]]:
    if len(outputs) > MAX_OUTPUTS:
        raise StepRequestError(f"it has {len(outputs)} outputs; SageMaker takes {MAX_OUTPUTS}", step=step)
    # Operators of the DAG's author may leave times and the like in XCom.
    values = {
        str(name): value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in outputs.items()
    }
    for name, value in values.items():
        for text, what, limit in ((name, "name", MAX_NAME_LENGTH), (value, "value", MAX_VALUE_LENGTH)):
            if len(text) > limit:
                raise StepRequestError(
                    f"the {what} of its output '{name[:80]}' has {len(text)} characters; SageMaker takes {limit}",
                    step=step,
                )
    return [{"Name": name, "Value": value} for name, value in values.items()]


@contextmanager
def _answer(operation: str, token: str, step: str) -> Iterator[None]:
    try:
        with aws_call(operation, step=step):
            yield
    except StepRequestError as error:
        meaning = _REFUSALS.get(error.code or "")
        if meaning is None:
            raise
        raise StepRequestError(f"{meaning.format(token=token)}: {error.message}", step=step, code=error.code) from error


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
