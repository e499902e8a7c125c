"""The demo's child processes: each leads a session of its own, logs to a file, and ends with everything below it.

Airflow gives every task a process group of its own, so ending a component's process group would leave its tasks
behind. The session is what they all keep.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from airflow_sagemaker_pipelines.local.demo.errors import DemoError

# Airflow's components end in good order at the first SIGTERM, at once at a second.
TERM_SECONDS = (4.0, 5.0)
KILL_SECONDS = 5.0
TAIL_LINES = 25


def python(*arguments: str) -> list[str]:
    """A command of this interpreter, so of this environment."""
    return [sys.executable, *arguments]


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


@dataclass
class Component:
    """One started process and where it logs."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def failure(self) -> DemoError:
        """How it ended, with the end of its log."""
        code = self.process.returncode
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {signal.Signals(-code).name}"
        return DemoError(f"The {self.name} has ended ({how}). The end of {self.log}:\n{tail(self.log)}")


class Components:
    """Everything that the demo has started. Use as a context: leaving it stops all of it."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: list[Component] = []

    def __enter__(self) -> "Components":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> Component:
        """Start a component; its output goes to `<logs>/<name>.log`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{name.replace(' ', '-')}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        component = Component(name, process, path)
        self._running.append(component)
        return component

    def check(self) -> None:
        """Raise DemoError with the end of the log when a component has ended by itself."""
        for component in self._running:
            if component.process.poll() is not None:
                raise component.failure()

    def finished(self, component: Component) -> bool:
        """Whether a component that is meant to end has ended well; DemoError when it ended otherwise."""
        code = component.process.poll()
        if code is None:
            return False
        if code != 0:
            raise component.failure()
        self._running.remove(component)
        return True

    def stop(self) -> None:
        """End every component, the last started first, with all processes of its session; wait until they are gone."""
        leaders = [component.process for component in reversed(self._running)]
        family = _family({leader.pid for leader in leaders})
        for seconds in TERM_SECONDS:
            for leader in leaders:
                # The leaders alone: a triggerer whose subprocess dies under it does not end.
                leader.terminate()
            deadline = time.monotonic() + seconds
            for leader in leaders:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    leader.wait(max(0.0, deadline - time.monotonic()))
        # Those that a leader has left behind or has started since, and those that did not listen.
        family |= _family({leader.pid for leader in leaders})
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for leader in leaders:
            leader.wait()
        psutil.wait_procs(family, timeout=KILL_SECONDS)
        self._running.clear()


def _family(leaders: set[int]) -> set[psutil.Process]:
    """The live processes of the leaders' sessions, and their descendants in other sessions."""
    found: set[psutil.Process] = set()
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(pid) in leaders:
                process = psutil.Process(pid)
                found |= {process, *process.children(recursive=True)}
    return found
