"""The WSGI layer in front of moto: the ``/_local`` paths, the counts of calls, errors that a client can read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.request import Request
from moto.core.routing import get_service_router
from werkzeug.exceptions import HTTPException

from .control import respond
from .errors import AwsError, not_implemented
from .state import LocalState

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_RPC_PATH = re.compile(r"/service/[^/]+/operation/(?P<operation>\w+)")
_LOOPBACK = re.compile(r"(127\.0\.0\.1|\[::1\]|([\w.-]+\.)?localhost)(:\d+)?", re.IGNORECASE)
# The code runner's own traffic says so in its user agent; it is no call of the client under test.
_RUNNER_AGENT = "local-runner"
_XML_SERVICES = ("s3", "iam", "sts")


@dataclass(frozen=True)
class ApiCall:
    """Which operation of which service a request is."""

    service: str
    operation: str

    def __str__(self) -> str:
        return f"{self.service}.{self.operation}"


class LocalApplication:
    """Wraps moto's application.

    Requests of web pages are refused: the endpoint listens on loopback, where any page in the user's browser can
    send requests too, and it may run code that it is sent.
    """

    def __init__(self, application: Application, state: LocalState) -> None:
        self._application = application
        self._state = state

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ.get("HTTP_ORIGIN") or not _LOOPBACK.fullmatch(environ.get("HTTP_HOST", "127.0.0.1")):
            refusal = AwsError("AccessDenied", "The local AWS endpoint does not answer web pages.", 403)
            return _send_error(start_response, "local", refusal)
        if environ.get("PATH_INFO", "").startswith("/_local"):
            status, document = respond(self._state, environ)
            return _send(start_response, status, json.dumps(document), "application/json")
        call = identify(environ)
        if call is not None and _RUNNER_AGENT not in environ.get("HTTP_USER_AGENT", ""):
            self._state.calls.add(str(call))
        if self._state.settings.account is not None:
            environ.setdefault("HTTP_X_MOTO_ACCOUNT_ID", self._state.settings.account)
        try:
            return self._application(environ, start_response)
        except NotImplementedError:
            # moto would answer 500 with a page of HTML, which botocore retries and cannot read.
            service = call.service if call else "unknown"
            return _send_error(start_response, service, not_implemented(str(call)))


def identify(environ: Environ) -> ApiCall | None:
    """Tell which operation a request is, or None for one that is no AWS call.

    The service is in the signature's scope. The operation is in a header (JSON protocols), in the form (query
    protocols), in the path (RPC), or follows from method and path (REST).
    """
    found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if found is None and "X-Amz-Credential" in query:
        found = _CREDENTIAL.search("Credential=" + query["X-Amz-Credential"][0])
    if found is None:
        return None
    service = found["service"]
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return ApiCall(service, target.rsplit(".", 1)[-1])
    rpc = _RPC_PATH.search(environ.get("PATH_INFO", ""))
    if rpc is not None:
        return ApiCall(service, rpc["operation"])
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        action = parse_qs(_read_body(environ).decode("utf-8", "replace")).get("Action")
        if action:
            return ApiCall(service, action[0])
    return _rest_call(environ, service)


def _rest_call(environ: Environ, service: str) -> ApiCall:
    if service == "sagemaker" and environ.get("PATH_INFO", "").endswith("/invocations"):
        return ApiCall("sagemaker-runtime", "InvokeEndpoint")
    try:
        operation, _ = get_service_router(service).match(Request(environ))
    except (HTTPException, NotImplementedError, ValueError, KeyError):
        return ApiCall(service, str(environ.get("REQUEST_METHOD")))
    return ApiCall(service, str(operation.name))


def _read_body(environ: Environ) -> bytes:
    """Read a form, and leave it to be read again."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _send_error(start_response: StartResponse, service: str, error: AwsError) -> Iterable[bytes]:
    if service in _XML_SERVICES:
        inner = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
        body = (
            f"<Error>{inner}</Error>" if service == "s3" else f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>"
        )
        return _send(start_response, error.status, body, "text/xml")
    body = json.dumps({"__type": error.code, "message": error.message})
    return _send(start_response, error.status, body, "application/x-amz-json-1.1")


def _send(start_response: StartResponse, status: int, body: str, content_type: str) -> Iterable[bytes]:
    data = body.encode()
    headers = [("Content-Type", content_type), ("Content-Length", str(len(data)))]
    start_response(f"{status} {'OK' if status == 200 else 'Error'}", headers)  # noqa: PLR2004 - HTTP
    return [data]
