"""Counts of API calls, per operation: what an argument about API load can be made from."""

from __future__ import annotations

import threading
from collections import Counter


class CallLog:
    """Thread-safe counters by ``service.Operation``, for example ``sagemaker.CreateTrainingJob``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, operation: str) -> None:
        """Count one call."""
        with self._lock:
            self._counts[operation] += 1

    def counts(self) -> dict[str, int]:
        """Return the counts, sorted by name."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def clear(self) -> None:
        """Start at zero."""
        with self._lock:
            self._counts.clear()
