"""One task that waits for one resource, and what it is told in the end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Hashable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_sagemaker_pipelines.triggers import pace

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.runner import Handle

#: The value of ``verdict`` in an event when the deadline has passed, and when AWS refuses to tell the state.
TIMED_OUT = "timed out"
REFUSED = "refused"

#: What a task is told in the end: the event, or the error that kept it from being made.
Outcome: TypeAlias = dict[str, Any] | Exception

#: Seconds for which an event is believed: what it tells of may take a moment to show in AWS's answers.
_AWAKE_SECONDS = 60.0

_durations = pace.Durations()


@dataclass(eq=False, kw_only=True)
class Wait:
    """One task that waits.

    :param handle: what names the resource.
    :param poll_interval: the most seconds between two looks.
    :param since: Unix time at which the resource was started.
    :param log: the trigger's, whose lines reach the task's log.
    :param deadline: Unix time after which waiting ends; ``None`` waits on.
    :param recurrence: what tells the same task in other runs: how long it took then is a hint.
    """

    handle: Handle
    poll_interval: float
    since: float
    log: Any
    deadline: float | None = None
    recurrence: Hashable = None
    outcome: Outcome | None = None
    ended: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when there is an outcome."""
    failures: int = 0
    denials: int = 0
    next_look: float = 0.0
    """By the loop's clock, as are the next two."""
    quiet_until: float = 0.0
    """The next look if an event can be relied upon to tell of news."""
    not_before: float = 0.0
    """No Describe before this, even if there may be news."""
    event_key: str | None = None
    """What events call it; ``None`` if there are none about it."""
    is_new: bool = False
    """It has to be looked at for itself first."""
    is_looked_at: bool = False
    _woken_at: float | None = None
    _context: Context = field(default_factory=copy_context)

    def say(self, message: str, *args: object) -> None:
        """Write to the task's log, which Airflow finds by the context in which the trigger runs."""
        self._context.run(self.log.warning, message, *args)

    @property
    def seconds_left(self) -> float:
        """The seconds until the deadline."""
        return math.inf if self.deadline is None else self.deadline - time.time()

    @property
    def is_over_time(self) -> bool:
        """Whether the deadline has passed."""
        return self.seconds_left <= 0

    @property
    def is_awake(self) -> bool:
        """Whether an event has told of it lately."""
        return self._woken_at is not None and time.time() - self._woken_at < _AWAKE_SECONDS

    def wake(self, now: float) -> None:
        """Have it looked at at once.

        :param now: by the loop's clock.
        """
        self._woken_at = time.time()
        self.next_look = self.not_before = now

    def interval(self, shortest: float) -> float:
        """Return the seconds until the next look, if nothing happens."""
        began = self._woken_at if self.is_awake and self._woken_at else self.since
        expected = None if self.is_awake else _durations.expected(self.recurrence)
        return pace.interval(
            time.time() - began, expected=expected, poll_interval=self.poll_interval, shortest=shortest
        )

    def end(self, outcome: Outcome) -> None:
        """Note what the task is told, and tell it."""
        self.outcome = outcome
        if not self.ended.done():
            self.ended.set_result(None)
        if isinstance(outcome, dict) and outcome.get("outputs") is not None:
            _durations.note(self.recurrence, time.time() - self.since)
