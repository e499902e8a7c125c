"""API calls: which one a request is, and counts per operation, what an argument about API load can be made from."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Protocol = Literal["json", "query", "ec2", "rest-json", "rest-xml"]
Phase = Literal["before", "after"]


@dataclass(frozen=True)
class ApiCall:
    """Which operation of which service a request is, and the protocol in which the client reads the answer."""

    service: str
    operation: str
    protocol: Protocol = "json"

    def __str__(self) -> str:
        return f"{self.service}.{self.operation}"


OnCall = Callable[[ApiCall, Phase, dict[str, Any]], None]
"""Called with a call, ``before`` or ``after`` and the WSGI environment.

``before``: the whole request is here, nothing has been done, no fault has struck. ``after``: the work is done, nothing
of the answer has been sent; a call whose work a fault prevents has no ``after``. ``REMOTE_PORT`` tells who calls. To
raise a ConnectionError ends the call there, without an answer.
"""


@dataclass
class _Operation:
    calls: int = 0
    peak: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    recent: deque[float] = field(default_factory=deque)


class CallLog:
    """Thread-safe counters by ``service.Operation``, for example ``sagemaker.CreateTrainingJob``.

    :param clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._operations: dict[str, _Operation] = {}
        self._clock = clock
        self._lock = threading.Lock()

    def add(self, call: ApiCall, fault: str | None = None) -> None:
        """Count one call, and the fault that strikes it."""
        with self._lock:
            counted = self._operations.setdefault(str(call), _Operation())
            counted.calls += 1
            if fault is not None:
                counted.struck[fault] += 1
            now = self._clock()
            counted.recent.append(now)
            while counted.recent[0] <= now - 1.0:
                counted.recent.popleft()
            counted.peak = max(counted.peak, len(counted.recent))

    def counts(self) -> dict[str, int]:
        """Return the counts, sorted by name."""
        with self._lock:
            return {name: counted.calls for name, counted in sorted(self._operations.items())}

    def details(self) -> dict[str, dict[str, Any]]:
        """Return for each operation its ``calls``, the most within one second, and how many each fault struck."""
        with self._lock:
            return {
                name: {"calls": counted.calls, "peak_per_second": counted.peak, "struck": dict(counted.struck)}
                for name, counted in sorted(self._operations.items())
            }

    def clear(self) -> None:
        """Start at zero."""
        with self._lock:
            self._operations.clear()
