"""The WSGI layer in front of moto: the ``/_local`` paths, the counts of calls, faults, errors a client can read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from moto.core.request import Request
from moto.core.routing import get_service_router
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from .answers import error_response
from .calls import ApiCall, Protocol
from .control import respond
from .errors import AwsError, not_implemented
from .state import LocalState
from .strikes import strike

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_RPC_PATH = re.compile(r"/service/[^/]+/operation/(?P<operation>\w+)")
_LOOPBACK = re.compile(r"(127\.0\.0\.1|\[::1\]|([\w.-]+\.)?localhost)(:\d+)?", re.IGNORECASE)
# The code runner's own traffic says so in its user agent; it is no call of the client under test.
_RUNNER_AGENT = "local-runner"


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
            return error_response(ApiCall("local", "Refuse"), refusal)(environ, start_response)
        if environ.get("PATH_INFO", "").startswith("/_local"):
            status, document = respond(self._state, environ)
            return Response(json.dumps(document), status, content_type="application/json")(environ, start_response)
        if self._state.settings.account is not None:
            environ.setdefault("HTTP_X_MOTO_ACCOUNT_ID", self._state.settings.account)
        call = identify(environ)
        if call is None or _RUNNER_AGENT in environ.get("HTTP_USER_AGENT", ""):
            return self._work(call, environ, start_response)
        return self._answer(call, environ, start_response)

    def _answer(self, call: ApiCall, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a call of the client under test, unless a fault has it otherwise."""
        state = self._state
        # From here on the client has sent all: what happens to it changes nothing about the work.
        _read_body(environ)
        fault = state.faults.take(call)
        state.calls.add(call, fault.fault if fault else None)
        state.on_call(call, "before", environ)

        def work(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            answer = self._work(call, environ, start_response)
            state.on_call(call, "after", environ)
            return answer

        if fault is None:
            return work(environ, start_response)
        answer = strike(fault, call, environ, lambda: Response.from_app(work, environ, buffered=True))
        return answer(environ, start_response)

    def _work(self, call: ApiCall | None, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self._application(environ, start_response)
        except NotImplementedError:
            # moto would answer 500 with a page of HTML, which botocore retries and cannot read.
            error = not_implemented(str(call))
            return error_response(call or ApiCall("unknown", "unknown"), error)(environ, start_response)


def identify(environ: Environ) -> ApiCall | None:
    """Tell which operation a request is, or None for one that is no AWS call.

    The service is in the signature's scope. The operation is in a header (JSON protocols), in the form (query
    protocols), in the path (RPC), or follows from method and path (REST). Where it is tells the protocol.
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
            return ApiCall(service, action[0], "ec2" if service == "ec2" else "query")
    return _rest_call(environ, service)


def _rest_call(environ: Environ, service: str) -> ApiCall:
    if service == "sagemaker" and environ.get("PATH_INFO", "").endswith("/invocations"):
        return ApiCall("sagemaker-runtime", "InvokeEndpoint", "rest-json")
    protocol: Protocol = "rest-xml" if service == "s3" else "rest-json"
    try:
        operation, _ = get_service_router(service).match(Request(environ))
    except (HTTPException, NotImplementedError, ValueError, KeyError):
        return ApiCall(service, str(environ.get("REQUEST_METHOD")), protocol)
    return ApiCall(service, str(operation.name), protocol)


def _read_body(environ: Environ) -> bytes:
    """Read the request's body, and leave it to be read again."""
    stream = environ["wsgi.input"]
    chunked = environ.get("wsgi.input_terminated", False)
    body: bytes = stream.read() if chunked else stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body
