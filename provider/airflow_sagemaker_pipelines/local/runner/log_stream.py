"""A job's output in CloudWatch Logs, while the job runs."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import InputLogEventTypeDef

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.5
_MAX_BATCH = 1000


class LogStream:
    """Collects lines and sends them every half second. The stream exists from the first line on.

    Losing the log is no reason to lose the job: when CloudWatch cannot be reached, lines are dropped and the
    endpoint's own log says so once. Closing sends the rest; use it as a context manager.
    """

    def __init__(self, client: CloudWatchLogsClient, group: str, stream: str) -> None:
        self._client = client
        self._group = group
        self._stream = stream
        self._pending: list[InputLogEventTypeDef] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._created = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name=f"logs-{stream}", daemon=True)
        self._thread.start()

    def __enter__(self) -> LogStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, line: str) -> None:
        """Add one line; never blocks on the network."""
        event: InputLogEventTypeDef = {"timestamp": time.time_ns() // 1_000_000, "message": line or " "}
        with self._lock:
            if self._pending:  # the clock may step back, the service refuses events that do
                event["timestamp"] = max(event["timestamp"], self._pending[-1]["timestamp"])
            self._pending.append(event)

    def close(self) -> None:
        """Send what is left and end the sending thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while True:
            with self._lock:
                batch, self._pending = self._pending[:_MAX_BATCH], self._pending[_MAX_BATCH:]
            if not batch:
                return
            try:
                self._create()
                self._client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=batch)
            except (BotoCoreError, ClientError) as error:
                if not self._broken:
                    logger.warning("Log lines of %s/%s are lost: %s", self._group, self._stream, error)
                self._broken = True

    def _create(self) -> None:
        if self._created:
            return
        with contextlib.suppress(self._client.exceptions.ResourceAlreadyExistsException):
            self._client.create_log_group(logGroupName=self._group)
        with contextlib.suppress(self._client.exceptions.ResourceAlreadyExistsException):
            self._client.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
        self._created = True
