"""Ctrl-C and friends as a flag that the demo looks at wherever it waits.

Nothing is raised from inside a signal handler: a child process that has just been started is always on record before
the demo learns that it has to end.
"""

import signal
import time
from collections.abc import Callable
from types import FrameType

from airflow_sagemaker_pipelines.local.demo.errors import DemoError, Interrupted

POLL_SECONDS = 0.2


class Interrupts:
    """The request to end, as seen by the main thread."""

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None

    def install(self) -> None:
        """Handle SIGINT, SIGTERM and SIGHUP; a SIGHUP ignored by `nohup` stays ignored."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signum is signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
                continue
            signal.signal(signum, self._request)

    def _request(self, signum: int, _frame: FrameType | None) -> None:
        self.requested = signal.Signals(signum)

    def check(self) -> None:
        """Raise Interrupted once the user has asked to end."""
        if self.requested is not None:
            raise Interrupted(self.requested.name)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not longer than until the request to end."""
        end = time.monotonic() + seconds
        while True:
            self.check()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, POLL_SECONDS))

    def wait_until(self, what: str, ready: Callable[[], bool], *, timeout: float, poll: float = POLL_SECONDS) -> None:
        """Ask `ready` every `poll` seconds until it holds; DemoError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not ready():
            if time.monotonic() > end:
                raise DemoError(f"{what}: nothing after {timeout:.0f} s.")
            self.sleep(poll)
