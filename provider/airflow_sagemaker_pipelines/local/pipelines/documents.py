"""Members without a value, which requests and answers do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def present(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that have a value."""
    return {member: value for member, value in document.items() if value is not None}


def without_nulls(node: Any) -> Any:
    """Return a document without the members, at any depth, that are null."""
    if isinstance(node, list):
        return [without_nulls(item) for item in node]
    if isinstance(node, Mapping):
        return {key: without_nulls(item) for key, item in node.items() if item is not None}
    return node
