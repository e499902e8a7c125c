"""One job at work: what every kind of job needs, and how its process is run."""

from __future__ import annotations

import collections
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_sagemaker_pipelines.local.runner.container import OPT_ML, Container
from airflow_sagemaker_pipelines.local.runner.process import Command, Ending
from airflow_sagemaker_pipelines.local.runner.s3_transfer import S3Transfer

_TAIL_LINES = 100


@dataclass(frozen=True, kw_only=True)
class Work:
    """A job request with everything that carries it out; lives for one :meth:`Runner.run`."""

    name: str
    request: Mapping[str, Any]
    region: str
    container: Container
    transfer: S3Transfer
    log: Callable[[str], None]
    stop: threading.Event
    grace: float
    tail: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=_TAIL_LINES))
    """The last lines that the code printed."""

    @property
    def account(self) -> str:
        """Account of the job's role, as the request names it."""
        parts = str(self.request.get("RoleArn", "")).split(":")
        return parts[4] if len(parts) > 4 and parts[4] else "123456789012"  # noqa: PLR2004 - arn:aws:iam::ACCOUNT:role

    def note(self, text: str) -> None:
        """A line of our own in the job's log."""
        self.log(f"local endpoint: {text}")

    def fetch(self, url: str, inner: str, data_type: str = "S3Prefix") -> None:
        """Download a data source to the job's directory ``inner``."""
        self.container.take_in(self.transfer.fetch(url, self.container.directory(inner), data_type))

    def execute(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        directory: str = OPT_ML,
        on_line: Callable[[str], None] | None = None,
    ) -> Ending:
        """Run the job's program, its output going to the log; stops as the request or the stop event wants."""
        if self.stop.is_set():  # while its data were downloaded
            return Ending(exit_code=128 + signal.SIGTERM, stopped=True)

        def sink(line: str) -> None:
            self.log(line)
            self.tail.append(line)
            if on_line is not None:
                on_line(line)

        command = Command(
            arguments=self.container.command(arguments),
            environment=self.container.environment(environment),
            directory=self.container.seen(directory),
        )
        limits = {"grace": self.grace}
        longest = (self.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")
        if longest is not None:
            limits["timeout"] = float(longest)
        return self.container.run(command, sink, self.stop, **limits)


def has_text(value: object) -> bool:
    """Whether a member that names something (a URL, a program) does so."""
    return isinstance(value, str) and bool(value)
