"""Calls one Lambda handler; a script that runs in a process of its own.

``python _lambda.py directory``: the directory holds ``event.json`` and gets ``started`` (empty, once the module of the
handler is imported, which is when the function's timeout begins), then ``result.json``: the returned value, or
``error.json``: ``{errorMessage, errorType, stackTrace}``. The handler is named by ``_HANDLER``; the context is made
from the variables that Lambda sets.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Context:
    """The context object of Lambda's Python runtime."""

    def __init__(self) -> None:
        env = os.environ
        self.function_name = env["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = env["AWS_LAMBDA_FUNCTION_VERSION"]
        self.invoked_function_arn = env["_INVOKED_ARN"]
        self.memory_limit_in_mb = env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.aws_request_id = env["_REQUEST_ID"]
        self.log_group_name = env["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = env["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = time.monotonic() + float(env["_TIMEOUT"])

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))

    def log(self, message: str) -> None:
        """Print to the function's log."""
        print(message)  # noqa: T201 - that is where the log comes from


def find(handler: str) -> Callable[..., Any]:
    """The function behind ``directory/module.function``."""
    module, dot, function = handler.rpartition(".")
    if not dot:
        raise ValueError(f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)")
    found: Callable[..., Any] = getattr(importlib.import_module(module.replace("/", ".")), function)
    return found


def described(error: BaseException) -> dict[str, Any]:
    """An exception as Lambda reports it; our own frames are left out."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": traceback.format_list([frame for frame in frames if "importlib" not in frame.filename]),
    }


def main() -> int:
    """Call the handler and leave its answer."""
    directory = Path(sys.argv[1])
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # instead of this script's own directory
    try:
        handler = find(os.environ["_HANDLER"])
        (directory / "started").touch()
        result = handler(json.loads((directory / "event.json").read_text(encoding="utf-8")), Context())
        text = json.dumps(result, ensure_ascii=False)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the handler raises is its answer
        report = described(error)
        print(f"[ERROR] {report['errorType']}: {report['errorMessage']}")  # noqa: T201 - as Lambda's runtime does
        print("Traceback (most recent call last):\n" + "".join(report["stackTrace"]), end="", flush=True)  # noqa: T201
        (directory / "error.json").write_text(json.dumps(report), encoding="utf-8")
        return 1
    (directory / "result.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
