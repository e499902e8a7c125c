"""Child processes that cannot outlive the endpoint."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airflow_sagemaker_pipelines.local.runner import _supervisor

_POLL_SECONDS = 0.05
_LINE_BYTES = 200_000
"""A longer line is cut in two: CloudWatch takes events of at most 256 KB."""

LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Without these some interpreters do not start at all."""

_live: set[Process] = set()
_live_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Command:
    """One program to run: its arguments, whole environment and directory, as the job sees them."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a process ended: exit code (128 + n after signal n) and who, if anybody, ended it."""

    exit_code: int
    stopped: bool = False
    timed_out: bool = False


class Process:
    """A supervised program. Every line that it or its children print goes to ``sink``, in order, in a thread.

    :param bind: directory to be shown as ``/opt/ml``; None leaves the file system alone.
    :param workdir: temporary directory of the job; removed by the supervisor if the endpoint dies first.
    """

    def __init__(self, command: Command, *, workdir: Path, bind: Path | None, sink: Callable[[str], None]) -> None:
        spec = workdir / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "command": list(command.arguments),
                    "env": dict(command.environment),
                    "cwd": command.directory,
                    "workdir": str(workdir),
                    "bind": None if bind is None else str(bind),
                }
            )
        )
        self._popen = subprocess.Popen(  # noqa: S603 - the supervisor is ours; running the job's code is the purpose
            [sys.executable, "-I", "-S", _supervisor.__file__, str(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: os.environ[name] for name in LOADER_VARIABLES if name in os.environ},
            start_new_session=True,  # a Ctrl-C at the endpoint's terminal is the endpoint's to pass on
        )
        self._workdir = workdir
        self._killed = False
        with _live_lock:
            _live.add(self)
        self._pump = threading.Thread(
            target=_pump, args=(self._popen.stdout, sink), name=f"log-{self._popen.pid}", daemon=True
        )
        self._pump.start()

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Send SIGTERM to the job's process group."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the job and all its descendants now; returns at once."""
        self._killed = True
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def wait(self, stop: threading.Event, *, timeout: float | None, grace: float) -> Ending:
        """Wait for the end; on ``stop`` or after ``timeout`` seconds SIGTERM, and ``grace`` seconds later SIGKILL.

        A job that ended by itself before it noticed the stop counts as ended by itself.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        stopped = timed_out = killed = False
        try:
            while self.poll() is None:
                stopped = stop.wait(_POLL_SECONDS) and self.poll() is None
                timed_out = not stopped and deadline is not None and time.monotonic() >= deadline
                if stopped or timed_out:
                    self._end(grace)
            killed = self._killed and not timed_out
        finally:
            self.close()
        code = self._popen.returncode
        # a supervisor that was itself killed reports a negative code
        return Ending(exit_code=code if code >= 0 else 128 - code, stopped=stopped or killed, timed_out=timed_out)

    def close(self) -> None:
        """Make sure that nothing of the job runs any more, and that its last lines reached the sink."""
        self.kill()
        try:
            self._popen.wait(_supervisor.SWEEP_SECONDS + 1)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._pump.join(timeout=5)
        with _live_lock:
            _live.discard(self)

    def _end(self, grace: float) -> None:
        self.terminate()
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
            self._popen.wait(_supervisor.SWEEP_SECONDS + 1)


def _pump(stream: IO[bytes] | None, sink: Callable[[str], None]) -> None:
    if stream is None:
        return
    with stream:
        while raw := stream.readline(_LINE_BYTES):
            sink(raw.decode("utf-8", errors="replace").rstrip("\r\n"))


def stop_all() -> None:
    """Kill every job that runs now, with all descendants; jobs started later are not affected.

    Their ``Runner.run`` calls return with ``stopped=True``. Runs by itself when the interpreter ends, which
    is after all non-daemon threads: an endpoint with such threads calls it when it shuts down.
    """
    with _live_lock:
        running = list(_live)
    for process in running:
        process.kill()


def _end_with_interpreter() -> None:
    with _live_lock:
        running = list(_live)
    stop_all()
    for process in running:  # their threads may never get to it
        with contextlib.suppress(subprocess.TimeoutExpired):
            process._popen.wait(_supervisor.SWEEP_SECONDS)
        shutil.rmtree(process._workdir, ignore_errors=True)


def _forget_in_fork() -> None:
    # A forked child holds copies of the lifelines: with them open, the death of the endpoint would go unnoticed.
    global _live_lock  # noqa: PLW0603 - the parent's lock may have been held at the moment of the fork
    _live_lock = threading.Lock()
    for process in list(_live):
        if process._popen.stdin is not None:
            with contextlib.suppress(OSError):
                process._popen.stdin.close()
    _live.clear()


atexit.register(_end_with_interpreter)
os.register_at_fork(after_in_child=_forget_in_fork)
