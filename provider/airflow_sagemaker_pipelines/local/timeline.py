"""Things that happen later: one thread, a heap, no polling."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Timeline:
    """Calls functions at their time, in one daemon thread that starts with the first of them and sleeps in between."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` in ``seconds``; what is due at the same time is called in the order it was added."""
        with self._wake:
            if self._closed:
                return
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._order), action))
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="local-aws-timeline", daemon=True)
                self._thread.start()
            self._wake.notify()

    def clear(self) -> None:
        """Forget everything that has not happened yet."""
        with self._wake:
            self._heap.clear()

    def close(self) -> None:
        """Forget everything and end the thread."""
        with self._wake:
            self._heap.clear()
            self._closed = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _loop(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:
                # One job's trouble must not end the clock of all others.
                log.exception("A timed action of the local AWS endpoint failed")

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while not self._closed:
                if not self._heap:
                    self._wake.wait()
                    continue
                due = self._heap[0][0] - time.monotonic()
                if due <= 0:
                    return heapq.heappop(self._heap)[2]
                self._wake.wait(timeout=due)
        return None
