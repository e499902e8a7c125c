"""An HTTP server between AWS clients and the local endpoint that fails as told."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

#: What can go wrong with a request.
SERVER_ERROR, GARBAGE, THROTTLED, DENIED = "server error", "garbage", "throttled", "denied"
DROPPED = "dropped"
"""The endpoint does what it is asked, but its answer is lost."""


class FaultyProxy(ThreadingHTTPServer):
    """Forwards to the endpoint, except for what :meth:`fail` has asked for."""

    daemon_threads = True

    def __init__(self, target: str, port: int = 0) -> None:
        self.target = urlsplit(target)
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._faults: dict[str, list[str]] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fail(self, operation: str, *faults: str) -> None:
        """Let the next calls of an operation go wrong, one by one."""
        self._faults.setdefault(operation, []).extend(faults)

    def take(self, operation: str) -> str | None:
        """Return what goes wrong with this call."""
        planned = self._faults.get(operation)
        return planned.pop(0) if planned else None

    @property
    def one_request(self) -> dict[str, object]:
        """Arguments of botocore's Config with which each call is one request: a fault is not botocore's to mend.

        Waits share the clients of equal settings, and keep them, so each proxy has settings of its own.
        """
        return {"retries": {"total_max_attempts": 1}, "user_agent_extra": f"proxy/{self.server_port}"}

    def connection(self, **extra: object) -> str:
        """An Airflow connection through the proxy."""
        settings = {"endpoint_url": self.url, "region_name": "us-east-1"} | extra
        return json.dumps({"conn_type": "aws", "login": "testing", "password": "testing", "extra": settings})


class _Handler(BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        operation = self._operation()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls[operation] += 1
        self.server.requests.append((operation, dict(self.headers)))
        fault = self.server.take(operation)
        if fault == SERVER_ERROR:
            self._answer(500, b"<html>oh no</html>", "text/html")
        elif fault == GARBAGE:
            self._answer(200, b'{"TrainingJobStatus": "Comp', "application/x-amz-json-1.1")
        elif fault == THROTTLED:
            self._error("ThrottlingException", "Rate exceeded")
        elif fault == DENIED:
            self._error("AccessDeniedException", "not authorized to perform this")
        else:
            status, content_type, content = self._forward(body)
            if fault == DROPPED:
                # A reset, not an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            self._answer(status, content, content_type)

    do_GET = do_PUT = do_POST  # noqa: N815 - the names are the base class's

    def _operation(self) -> str:
        target = self.headers.get("X-Amz-Target", "")
        return target.rpartition(".")[2] or re.sub(r".*/operation/", "", self.path)

    def _forward(self, body: bytes) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(self.server.target.netloc, timeout=20)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()

    def _error(self, code: str, message: str) -> None:
        self._answer(400, json.dumps({"__type": code, "message": message}).encode(), "application/x-amz-json-1.1")

    def _answer(self, status: int, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty_proxy(target: str, port: int = 0):
    """A running proxy."""
    with FaultyProxy(target, port) as proxy:
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
