"""What one process of the local endpoint holds besides moto's state: settings, rules, faults, counters, the clock."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .calls import ApiCall, CallLog, OnCall, Phase
from .faults import FaultBook
from .pipelines.settings import PipelineSettings
from .rules import RuleBook
from .timeline import Timeline

if TYPE_CHECKING:
    from .runner import Runner

log = logging.getLogger(__name__)

DEFAULT_REGION = "us-east-1"
DEFAULT_DURATION = 1.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the endpoint behaves.

    :param duration: seconds that a job takes when no rule says otherwise and its code is not run. With 0 a job is
        over before its Create call answers.
    :param run_code: run the scripts of training, processing and transform jobs on this machine.
    :param region: the region of the helpers' clients and of the runner; a request's own region always counts.
    :param account: the account of every request; None leaves it to moto (123456789012, or the account whose access
        key signed the request).
    :param seed: for faults that strike a share of the calls.
    :param concurrent_runs: how many jobs may run code at once; further ones wait in status InProgress.
    :param pipelines: how pipeline executions behave where AWS does not say.
    """

    duration: float = DEFAULT_DURATION
    run_code: bool = False
    region: str = DEFAULT_REGION
    account: str | None = None
    seed: int = 0
    concurrent_runs: int = 8
    pipelines: PipelineSettings = field(default_factory=PipelineSettings)


def no_hook(_call: ApiCall, _phase: Phase, _environ: dict[str, Any]) -> None:
    """Do nothing at a call."""


@dataclass(kw_only=True)
class LocalState:
    """One per endpoint; a process has one endpoint, as moto's state is the process's too."""

    settings: Settings = field(default_factory=Settings)
    rules: RuleBook = field(default_factory=RuleBook)
    calls: CallLog = field(default_factory=CallLog)
    faults: FaultBook = field(init=False)
    on_call: OnCall = no_hook
    # The settings of pipelines in force; those of ``settings`` until somebody chooses others.
    pipelines: PipelineSettings = field(init=False)
    timeline: Timeline = field(default_factory=Timeline)
    endpoint_url: str = ""
    started: float = field(default_factory=time.time)
    run_slots: threading.BoundedSemaphore = field(init=False)
    _runner: Runner | None = None

    def __post_init__(self) -> None:
        self.faults = FaultBook(self.settings.seed)
        self.pipelines = self.settings.pipelines
        self.run_slots = threading.BoundedSemaphore(self.settings.concurrent_runs)

    def runner(self) -> Runner:
        """Return the code runner; it is imported when the first job wants it."""
        if self._runner is None:
            from .runner import Runner  # noqa: PLC0415 - not needed unless code is run

            self._runner = Runner(endpoint_url=self.endpoint_url, region=self.settings.region)
        return self._runner


_current: LocalState | None = None


def activate(state: LocalState) -> None:
    """Make this the process's endpoint state.

    :raises RuntimeError: if another endpoint is running in this process.
    """
    global _current  # noqa: PLW0603 - moto's backends are made by class, they can only ask the module
    if _current is not None:
        raise RuntimeError(
            f"This process already serves a local AWS endpoint at {_current.endpoint_url}. "
            "Close it first; moto keeps one state per process."
        )
    _current = state


def deactivate(state: LocalState) -> None:
    """End the process's endpoint state; nothing timed happens any more."""
    global _current  # noqa: PLW0603
    state.timeline.close()
    if _current is state:
        _current = None


def current() -> LocalState:
    """Return the running endpoint's state, or defaults for a use of the backends without a server."""
    global _current  # noqa: PLW0603
    if _current is None:
        _current = LocalState()
    return _current
