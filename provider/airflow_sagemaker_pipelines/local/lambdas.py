"""Lambda functions that run: moto's Invoke, with this interpreter instead of a container.

:func:`install` patches moto's classes for every backend in the process; :func:`uninstall` puts them back. Functions
with a Python runtime and a zip are run in a process each (no warm starts); what else moto knows how to run (images,
other languages) still goes moto's way, which needs Docker.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import logging
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaFunction, LambdaStorage
from moto.awslambda.utils import get_backend

from airflow_sagemaker_pipelines.local.runner import _lambda
from airflow_sagemaker_pipelines.local.runner.container import aws_environment
from airflow_sagemaker_pipelines.local.runner.process import Command, Process

logger = logging.getLogger(__name__)

_INIT_SECONDS = 10.0
"""Lambda gives the import of the handler's module ten seconds, apart from the function's timeout."""

_LOG_TAIL_BYTES = 4096
_ORIGINAL_INVOKE = LambdaFunction.invoke
_ORIGINAL_PUT = LambdaStorage.put_function
_SETTINGS: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Invoked:
    """That a function was invoked: when (epoch seconds), how, and with what."""

    function: LambdaFunction
    time: float
    invocation_type: str
    payload: bytes


INVOKED: list[Invoked] = []
"""Runs of Python functions since :func:`install`, oldest first."""


def install(endpoint_url: str) -> None:
    """Make Invoke run Python functions here, and CreateFunction accept a role that IAM does not know.

    The record of invocations begins anew.

    :param endpoint_url: where the AWS calls of the functions go.
    """
    _SETTINGS["endpoint_url"] = endpoint_url
    INVOKED.clear()
    LambdaFunction.invoke = _invoke  # type: ignore[method-assign]
    LambdaStorage.put_function = _put_function  # type: ignore[method-assign]


def uninstall() -> None:
    """Put moto's own methods back."""
    LambdaFunction.invoke = _ORIGINAL_INVOKE  # type: ignore[method-assign]
    LambdaStorage.put_function = _ORIGINAL_PUT  # type: ignore[method-assign]


def _put_function(self: LambdaStorage, fn: LambdaFunction) -> None:
    """CreateFunction, also for a role that nobody created: at a first try there is no IAM."""
    try:
        _ORIGINAL_PUT(self, fn)
    except InvalidParameterValueException:  # "The role defined for the function cannot be assumed by Lambda."
        self._functions.setdefault(fn.function_name, {"versions": []})["latest"] = fn
        self._arns[fn.function_arn] = fn


def _invoke(
    self: LambdaFunction, body: str | bytes, request_headers: Any, response_headers: MutableMapping[str, str]
) -> bytes:
    """What Invoke answers: the handler's JSON, or the error with the header that marks it."""
    if self.package_type != "Zip" or not str(self.run_time).startswith("python"):
        answer = _ORIGINAL_INVOKE(self, body, request_headers, response_headers)  # type: ignore[arg-type]
        return answer.encode() if isinstance(answer, str) else answer
    try:
        event = json.loads(body) if body else {}
    except ValueError as error:
        raise LambdaClientError(
            "InvalidRequestContentException", f"Could not parse request body into json: {error}"
        ) from error
    kind = request_headers.get("x-amz-invocation-type") or "RequestResponse"
    if kind == "DryRun":
        return b""
    payload = body.encode() if isinstance(body, str) else body
    INVOKED.append(Invoked(function=self, time=time.time(), invocation_type=kind, payload=payload))
    if kind == "Event":
        threading.Thread(target=_Invocation(self, event).run, name=f"lambda-{self.function_name}", daemon=True).start()
        return b""
    invocation = _Invocation(self, event)
    payload, failed = invocation.run()
    if failed:
        response_headers["x-amz-function-error"] = "Unhandled"
    response_headers["x-amz-executed-version"] = str(self.version)
    tail = "\n".join(invocation.lines).encode()[-_LOG_TAIL_BYTES:]
    response_headers["x-amz-log-result"] = base64.b64encode(tail).decode()
    return payload


class _Invocation:
    """One call of one function."""

    def __init__(self, function: LambdaFunction, event: Any) -> None:
        self._function = function
        self._event = event
        self._request_id = str(uuid.uuid4())
        self._timeout = float(function.timeout or 3)
        today = dt.datetime.now(dt.UTC)
        self._stream = f"{today:%Y/%m/%d}/[{function.version}]{uuid.uuid4().hex}"
        self.lines: list[str] = []

    def run(self) -> tuple[bytes, bool]:
        """Run the handler; returns the payload and whether it is an error."""
        begin = time.monotonic()
        self.lines.append(f"START RequestId: {self._request_id} Version: {self._function.version}")
        with tempfile.TemporaryDirectory(prefix="sm-", ignore_cleanup_errors=True) as name:
            workdir = Path(name).resolve()
            payload, failed = self._run_in(workdir)
        taken = (time.monotonic() - begin) * 1000
        self.lines.append(f"END RequestId: {self._request_id}")
        self.lines.append(
            f"REPORT RequestId: {self._request_id}\tDuration: {taken:.2f} ms\tBilled Duration: {taken + 1:.0f} ms\t"
            f"Memory Size: {self._function.memory_size} MB"
        )
        self._save_log()
        return payload, failed

    def _run_in(self, workdir: Path) -> tuple[bytes, bool]:
        for directory in ("task", "opt", "call", "tmp"):
            (workdir / directory).mkdir()
        _unzip(self._function.code_bytes, workdir / "task")
        for layer in _layers(self._function):
            _unzip(layer, workdir / "opt")
        call = workdir / "call"
        (call / "event.json").write_text(json.dumps(self._event), encoding="utf-8")
        command = Command(
            arguments=[sys.executable, _lambda.__file__, str(call)],
            environment=self._environment(workdir),
            directory=str(workdir / "task"),
        )
        process = Process(command, workdir=workdir, bind=None, sink=self.lines.append)
        try:
            timed_out = self._wait(process, call)
        finally:
            process.close()
        if (result := call / "result.json").is_file():
            return result.read_bytes(), False
        if (error := call / "error.json").is_file():
            return error.read_bytes(), True
        said = f"Task timed out after {self._timeout:.2f} seconds"
        if timed_out:
            self.lines.append(f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z {self._request_id} {said}")
        else:
            said = f"Runtime exited with error: exit status {process.poll()}"
        report = {
            "errorType": "Sandbox.Timedout" if timed_out else "Runtime.ExitError",
            "errorMessage": f"RequestId: {self._request_id} Error: {said}",
        }
        return json.dumps(report).encode(), True

    def _wait(self, process: Process, call: Path) -> bool:
        """Wait for the handler's end; True if its time was up first."""
        started = False
        deadline = time.monotonic() + _INIT_SECONDS
        while process.poll() is None:
            if not started and (call / "started").is_file():
                started = True
                deadline = time.monotonic() + self._timeout
            if time.monotonic() >= deadline:
                process.kill()
                return True
            time.sleep(0.01)
        return False

    def _environment(self, workdir: Path) -> dict[str, str]:
        function = self._function
        given = {str(key): str(value) for key, value in (function.environment_vars or {}).items()}
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(workdir / "tmp"),
            "TMPDIR": str(workdir / "tmp"),
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": f"{workdir / 'opt' / 'python'}",
            "LAMBDA_TASK_ROOT": str(workdir / "task"),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_LOG_GROUP_NAME": function.logs_group_name,
            "AWS_LAMBDA_LOG_STREAM_NAME": self._stream,
            **aws_environment(_SETTINGS["endpoint_url"], function.region),
            **given,
            "_HANDLER": str(function.handler),
            "_INVOKED_ARN": function.function_arn,
            "_REQUEST_ID": self._request_id,
            "_TIMEOUT": str(self._timeout),
        }

    def _save_log(self) -> None:
        function = self._function
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line or " "} for line in self.lines]
        logs = function.logs_backend
        logs.ensure_log_group(function.logs_group_name)
        logs.create_log_stream(function.logs_group_name, self._stream)
        logs.put_log_events(function.logs_group_name, self._stream, events)


def _unzip(content: bytes, directory: Path) -> None:
    # zipfile drops drive letters, leading slashes and ".." itself
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(directory)
    except zipfile.BadZipFile:
        logger.warning("The code of a function or layer is no zip file")


def _layers(function: LambdaFunction) -> list[bytes]:
    backend = get_backend(function.account_id, function.region)
    found = [backend.layers_versions_by_arn(layer["Arn"]) for layer in function.layers]
    return [layer.code_bytes for layer in found if layer is not None]
