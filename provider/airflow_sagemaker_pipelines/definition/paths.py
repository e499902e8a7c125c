"""Paths into step outputs and JSON files: ``member ( "." member | "[" int "]" | "['" key "']" )*``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from airflow_sagemaker_pipelines.definition.errors import ExpressionError

#: A parsed path: members and keys are strings, indexes are integers.
Path: TypeAlias = tuple[str | int, ...]

# A key in ['…'] may hold any character (dots, colons, quotes), so it ends at the quote and bracket that the path's
# end or its next part follows.
_PART = re.compile(
    r"\.?(?P<member>[^.\[\]'\"]+)|\[(?P<index>\d{1,9})\]|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\](?=[.\[]|$)",
    re.S,
)

#: The members that name an element of a list in AWS answers, most specific first. The service confirms the first
#: three (``Outputs['train']``, ``ProcessingInputs['code']``, ``FinalMetricDataList['rmse']``); for the rest this is
#: the reading of AWS's shapes.
NAME_MEMBERS = ("OutputName", "InputName", "MetricName", "ChannelName", "Name", "VariantName", "Key")


def parse_path(text: str) -> Path:
    """Parse a path.

    :param text: such as ``ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri``.
    :raises ValueError: if the text does not follow the grammar.
    """
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        # The first member has no dot before it, every later one has.
        if part is None or (part["member"] is not None and (text[position] == ".") != bool(parts)):
            raise ValueError(f"{text!r} cannot be read from character {position + 1}")
        if part["member"] is not None:
            parts.append(part["member"])
        elif part["index"] is not None:
            parts.append(int(part["index"]))
        else:
            parts.append(part["key"])
        position = part.end()
    return tuple(parts)


def write_path(path: Path) -> str:
    """Write a path for messages; the reverse of :func:`parse_path` up to quoting."""
    text = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" if re.fullmatch(r"[\w-]+", part) else f"['{part}']"
        for part in path
    )
    return text.removeprefix(".")


def follow(value: Any, path: Path, *, json_text_members: frozenset[str] = frozenset()) -> Any:
    """Return what a path leads to.

    A string part on a list selects the element by its name member (:data:`NAME_MEMBERS`).

    :param value: a JSON value.
    :param path: the path to follow.
    :param json_text_members: members whose string value is itself JSON text to descend into.
    :raises ExpressionError: if a part of the path is absent; the message lists what is there instead.
    """
    for position, part in enumerate(path):
        if isinstance(value, str) and position and path[position - 1] in json_text_members:
            value = parse_json_text(value, write_path(path[:position]))
        found, value = _member(value, part)
        if not found:
            raise ExpressionError(_absent(value, path, position))
    return value


def parse_json_text(text: str, origin: str) -> Any:
    """Parse JSON text found in a value or file.

    :raises ExpressionError: if it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ExpressionError(f"{origin} does not hold valid JSON: {error}") from error


def _no_constant(name: str) -> None:
    # Python writes and reads NaN and Infinity, JSON has neither.
    raise ValueError(f"{name} is not a JSON number")


def _member(value: Any, part: str | int) -> tuple[bool, Any]:
    """Return (True, the member) or (False, the value that has no such member)."""
    if isinstance(value, Mapping):
        key = str(part)
        return (True, value[key]) if key in value else (False, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if isinstance(part, int):
            return (True, value[part]) if part < len(value) else (False, value)
        for name_member in NAME_MEMBERS:
            for item in value:
                if isinstance(item, Mapping) and item.get(name_member) == part:
                    return True, item
    return False, value


def _absent(value: Any, path: Path, position: int) -> str:
    if isinstance(value, Mapping):
        there = f"it has {', '.join(sorted(map(str, value))[:12]) or 'no members'}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        there = f"it is a list of {len(value)}"
    else:
        there = f"it is {json.dumps(value, default=str)[:80]}"
    parent = write_path(path[:position]) or "the value"
    return f"'{write_path(path)}' does not exist: there is no '{path[position]}' in {parent}; {there}"
