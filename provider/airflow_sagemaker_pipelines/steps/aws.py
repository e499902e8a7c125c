"""What every AWS call of a step shares: clients, errors, answers as JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    WaiterError,
)
from botocore.parsers import ResponseParserError

from airflow_sagemaker_pipelines.steps.errors import RESOURCE_LIMIT_CODES, StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.execution import iso_time


class Clients(Protocol):
    """Gives boto3 clients of one AWS connection, the same one for the same service."""

    @property
    def region_name(self) -> str:
        """The region that calls go to."""

    def __call__(self, service: str, *, repeats: bool = True) -> Any:
        """Return the client of a service, such as ``sagemaker``.

        :param repeats: whether botocore may send a call again by itself when its answer was lost. Without, for calls
            that AWS would carry out twice.
        """


#: Codes of answers that say "not now": the same call may succeed later.
_THROTTLING = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "BandwidthLimitExceeded",
        "ProvisionedThroughputExceededException",
    }
)
_SERVICE_FAULTS = frozenset(
    {"InternalFailure", "InternalError", "InternalServerError", "InternalServerException", "ServiceUnavailable",
     "ServiceUnavailableException", "ServiceException"}
)  # fmt: skip
#: A wait may outlive its credentials; the next look takes new ones.
_EXPIRED_CREDENTIALS = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
#: Codes of answers that say "not you".
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "AuthFailure",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
    }
)
_SERVER_ERROR = 500
#: What botocore takes for the code when the body of a refusal is cut off.
_UNREADABLE = "400"
_TRANSIENT = _THROTTLING | _SERVICE_FAULTS | _EXPIRED_CREDENTIALS | {_UNREADABLE}


class IncompleteAnswerError(BotoCoreError):
    """An answer lacks what it must have: its body was cut on the way, which botocore does not notice.

    Made with ``operation`` and ``member``.
    """

    fmt = "{operation} answered without {member}"


#: All that boto3 raises when AWS or the way to it fails, also for an answer that cannot be read.
AWS_ERRORS = (ClientError, BotoCoreError, ResponseParserError)


def error_code(error: BaseException) -> str | None:
    """Return the AWS error code of a botocore error, ``None`` for one without an answer."""
    response = getattr(error, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, Mapping) else None


def error_message(error: BaseException) -> str:
    """Return AWS's own message of a botocore error."""
    response = getattr(error, "response", None)
    message = response.get("Error", {}).get("Message") if isinstance(response, Mapping) else None
    return message or str(error)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: throttling, a service fault, or no answer at all."""
    code = error_code(error)
    if code is None:
        # Without an answer: lost on the way, or never sent because the request or the set-up is wrong.
        return isinstance(
            error,
            HTTPClientError
            | ConnectionError
            | IncompleteReadError
            | ResponseParserError
            | IncompleteAnswerError
            | CredentialRetrievalError
            | WaiterError,
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)  # type: ignore[attr-defined]
    return code in _TRANSIENT or status >= _SERVER_ERROR


def required(answer: Mapping[str, Any], member: str, operation: str) -> Any:
    """Return a member that every answer of an operation has.

    :raises IncompleteAnswerError: if it is missing, as it is in a truncated answer.
    """
    if answer.get(member) is None:
        raise IncompleteAnswerError(operation=operation, member=member)
    return answer[member]


def is_throttled(error: BaseException) -> bool:
    """Whether AWS asks to be called less often."""
    return error_code(error) in _THROTTLING


def is_denied(error: BaseException) -> bool:
    """Whether AWS does not know the caller or what it may do, or there are no credentials."""
    return error_code(error) in _DENIED or isinstance(error, NoCredentialsError | PartialCredentialsError)


def input_members(clients: Clients, service: str, operation: str) -> frozenset[str]:
    """Return the members that an operation's request may have, by the installed botocore."""
    shape = clients(service).meta.service_model.operation_model(operation).input_shape
    return frozenset(shape.members)


def aws_call(operation: str, *, step: str) -> AbstractContextManager[None]:
    """Turn what botocore raises inside into the step's error.

    :param operation: AWS's name of the operation, such as ``CreateModel``.
    :param step: the step's name.
    :raises StepCallError: for a refusal that may be over later.
    :raises StepRequestError: for any other.
    """
    return call_of(operation, passing=partial(StepCallError, step=step), final=partial(StepRequestError, step=step))


@contextmanager
def call_of(operation: str, *, passing: Callable[..., Exception], final: Callable[..., Exception]) -> Iterator[None]:
    """Turn what botocore raises inside into an error that says so.

    :param operation: AWS's name of the operation.
    :param passing: makes the error of a refusal that may be over later, out of a message and ``code``.
    :param final: makes that of any other.
    """
    try:
        yield
    except AWS_ERRORS as error:
        code = error_code(error)
        make = passing if is_transient(error) or code in RESOURCE_LIMIT_CODES else final
        where = f"{operation} was refused with {code}" if code else f"{operation} got no answer"
        raise make(f"{where}: {error_message(error)}", code=code) from error


def to_json(value: Any) -> Any:
    """Return an AWS answer as plain JSON: times in ISO 8601, bytes in base64, without the answer's metadata."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(value, list | tuple | set):
        return [to_json(item) for item in value]
    if isinstance(value, datetime):
        return iso_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    return value
