"""The life of what moto's other services hold: when it ends, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .rules import Rule
from .state import current

# The part of its time that something needs before it does what it was asked to.
STARTUP_SHARE = 0.2
# How long a stop takes, in terms of the whole time and at most, in seconds.
STOP_SHARE, STOP_LIMIT = 0.25, 0.3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What shall become of something new, and when."""

    outcome: str
    reason: str | None
    duration: float

    @property
    def startup(self) -> float:
        """Seconds until it does what it was asked to."""
        return self.duration * STARTUP_SHARE

    @property
    def stop(self) -> float:
        """Seconds that a stop takes."""
        return min(self.duration * STOP_SHARE, STOP_LIMIT)


def plan(*, kind: str, name: str, operation: str) -> Plan:
    """Return the plan that the first matching rule gives, else a completion in the endpoint's own time."""
    state = current()
    rule = state.rules.take(kind=kind, name=name, image="", operation=operation) or Rule()
    duration = state.settings.duration if rule.duration is None else rule.duration
    reason = rule.reason
    if rule.outcome == "Failed" and reason is None:
        reason = "The local endpoint was told to fail this."
    return Plan(outcome=rule.outcome, reason=reason, duration=duration)


def later(seconds: float, action: Callable[[], None]) -> None:
    """Call ``action`` in ``seconds``, or at once for none; a reset of the endpoint forgets it."""
    if seconds <= 0:
        action()
    else:
        current().timeline.after(seconds, action)
