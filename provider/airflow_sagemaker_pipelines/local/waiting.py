"""Who waits for something to be over."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Waiting:
    """Actions that are due when something is over. They are called in whatever thread ends it: they must not block.

    :param is_over: tells whether it is.
    """

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._actions: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def add(self, action: Callable[[], None]) -> None:
        """Call ``action`` once it is over, or at once if it is."""
        with self._lock:
            if not self._is_over():
                self._actions.append(action)
                return
        action()

    def release(self) -> None:
        """Call what waits; to be called after it is over."""
        with self._lock:
            actions, self._actions = self._actions, []
        for action in actions:
            action()
