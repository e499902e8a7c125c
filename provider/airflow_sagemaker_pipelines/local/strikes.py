"""What a client meets when a fault strikes its call."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from werkzeug.wrappers import Response

from .answers import error_response
from .calls import ApiCall
from .errors import AwsError
from .faults import Fault

# Error code and HTTP status by service, else by protocol, else for all others: each service's "Common Errors" page
# and botocore's service models; what S3 answers is on its "Error responses" page.
_ERRORS: dict[str, tuple[str, dict[str, tuple[str, int]]]] = {
    "throttle": (
        "Rate exceeded",
        {
            "": ("ThrottlingException", 400),
            "rest-json": ("ThrottlingException", 429),
            "lambda": ("TooManyRequestsException", 429),
            "rest-xml": ("SlowDown", 503),
            "query": ("Throttling", 400),
            "ec2": ("RequestLimitExceeded", 503),
            "sqs": ("RequestThrottled", 403),
        },
    ),
    "internal": (
        "We encountered an internal error. Please try again.",
        {
            "": ("InternalFailure", 500),
            "lambda": ("ServiceException", 500),
            "rest-xml": ("InternalError", 500),
            "ec2": ("InternalError", 500),
            "elasticmapreduce": ("InternalServerException", 500),
            "emr-serverless": ("InternalServerException", 500),
            "events": ("InternalException", 500),
        },
    ),
    "unavailable": (
        "The request has failed due to a temporary failure of the server.",
        {"": ("ServiceUnavailable", 503), "ec2": ("Unavailable", 503)},
    ),
    "denied": (
        "User: arn:aws:sts::123456789012:assumed-role/local/fault is not authorized to perform: {call}",
        {
            "": ("AccessDeniedException", 400),
            "rest-json": ("AccessDeniedException", 403),
            "rest-xml": ("AccessDenied", 403),
            "query": ("AccessDenied", 403),
            "ec2": ("UnauthorizedOperation", 403),
            "sqs": ("AccessDenied", 403),
        },
    ),
    "expired": (
        "The security token included in the request is expired",
        {
            "": ("ExpiredTokenException", 400),
            "rest-json": ("ExpiredTokenException", 403),
            "rest-xml": ("ExpiredToken", 400),
            "query": ("ExpiredToken", 403),
            "ec2": ("RequestExpired", 400),
        },
    ),
}

Work = Callable[[], Response]


def strike(fault: Fault, call: ApiCall, environ: dict[str, Any], work: Work) -> Response:
    """Return what the client gets instead of the answer, or break its connection.

    :param work: does what the client asked for, and returns the answer.
    :raises ConnectionError: when there is no answer; the server then closes the connection.
    """
    if fault.after:
        answer = work()
        return _with(fault, call, environ, lambda: answer)
    return _with(fault, call, environ, work)


def _with(fault: Fault, call: ApiCall, environ: dict[str, Any], work: Work) -> Response:
    match fault.fault:
        case "timeout":
            _hold(environ["werkzeug.socket"], fault.seconds)
        case "reset":
            _reset(environ["werkzeug.socket"])
        case "latency":
            time.sleep(fault.seconds or 0)
            return work()
        case "truncate":
            return _cut(work(), fault)
    return error_response(call, _error(fault, call))


def _error(fault: Fault, call: ApiCall) -> AwsError:
    if fault.code is not None:
        return AwsError(fault.code, fault.message, fault.status)
    message, codes = _ERRORS[fault.fault]
    code, status = codes.get(call.service) or codes.get(call.protocol) or codes[""]
    return AwsError(code, message.format(call=f"{call.service}:{call.operation}"), status)


def _hold(connection: socket.socket, seconds: float | None) -> NoReturn:
    """Wait until the client hangs up or the time is over; then the connection is closed without an answer."""
    connection.settimeout(seconds)
    with suppress(OSError):
        # The request has been read; all that can come is the client's end.
        connection.recv(1)
    raise ConnectionAbortedError("fault: timeout")


def _reset(connection: socket.socket) -> NoReturn:
    """Send a TCP RST. The server would say goodbye first (FIN), so the socket is taken away from it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())
    raise ConnectionResetError("fault: reset")


def _cut(answer: Response, fault: Fault) -> Response:
    body = answer.get_data()
    if not body:
        return answer
    answer.set_data(body[: int(len(body) * fault.keep)])
    if fault.content_length == "full":
        answer.content_length = len(body)
    return answer
