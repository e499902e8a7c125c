"""Waits before a start that a quota has refused is tried again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

#: Seconds before the first new try, and the most before any. Others wait as well, hence the jitter.
_FIRST_WAIT = 30.0
_LONGEST_WAIT = 600.0
_GROWTH = 1.5
_JITTER = 0.2


class CapacityTrigger(BaseTrigger):
    """Fires at a time, also after a restart of the triggerer.

    Its event is ``{"waited_since": …, "waits": …}``.

    :param until: Unix time to fire at.
    :param waited_since: Unix time of the first refusal.
    :param waits: how often the task has waited, this time included.
    """

    def __init__(self, *, until: float, waited_since: float, waits: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until = until
        self.waited_since = waited_since
        self.waits = waits

    @classmethod
    def after(cls, waits: int, *, waited_since: float, at_most: float) -> CapacityTrigger:
        """Make the trigger for the next wait, longer than the ones before, but at most so many seconds."""
        wait = min(_FIRST_WAIT * _GROWTH**waits, _LONGEST_WAIT) * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        return cls(until=time.time() + min(wait, at_most), waited_since=waited_since, waits=waits + 1)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make the trigger again."""
        arguments = {"until": self.until, "waited_since": self.waited_since, "waits": self.waits}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, then fire."""
        await asyncio.sleep(max(0.0, self.until - time.time()))
        yield TriggerEvent({"waited_since": self.waited_since, "waits": self.waits})  # type: ignore[no-untyped-call]
