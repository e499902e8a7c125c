"""Times as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any


def moment_text(moment: float) -> str:
    """Write a time as ``Execution.StartDateTime`` has it.

    AWS does not document the form; ISO 8601 with milliseconds is what public samples show.
    """
    text = dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def with_times_as_text(node: Any) -> Any:
    """Return an answer whose times, which are numbers on the wire, are text as in references to them."""
    if isinstance(node, list):
        return [with_times_as_text(item) for item in node]
    if isinstance(node, Mapping):
        return {
            name: moment_text(item)
            if name.endswith(("Time", "Timestamp")) and isinstance(item, (int, float)) and not isinstance(item, bool)
            else with_times_as_text(item)
            for name, item in node.items()
        }
    return node
