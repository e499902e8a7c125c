"""Typed access to the members of JSON objects, noting every problem instead of stopping at the first."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from airflow_sagemaker_pipelines.definition.errors import Location, Problem, json_path

_JSON_TYPES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def json_type(value: object) -> str:
    """Name the JSON type of a value, for messages."""
    return _JSON_TYPES.get(type(value), type(value).__name__)


def nearest(name: str, known: Iterable[str]) -> str:
    """Advise the known name that is most like an unknown one, or list a few known ones."""
    names = sorted(known)
    if close := get_close_matches(name, names, n=1, cutoff=0.5):
        return f"Perhaps '{close[0]}' is meant"
    if not names:
        return "There is none"
    shown = ", ".join(f"'{known_name}'" for known_name in names[:8])
    return f"Known: {shown}{', …' if len(names) > len(names[:8]) else ''}"


_ADVISED_PROBLEMS = 50


class Problems(list[Problem]):
    """The problems found so far."""

    def add(self, at: Location, what: str, fix: str) -> None:
        """Note that the value at a location is wrong."""
        self.append(Problem(json_path(at), what, fix))

    def nearest(self, name: str, known: Iterable[str]) -> str:
        """Advise the known name that is most like an unknown one, while there are few problems.

        Comparing a name with all others is slow, and nobody reads the hundredth advice.
        """
        return nearest(name, known) if len(self) < _ADVISED_PROBLEMS else "Use a name that exists"


class ObjectReader:
    """Reads members of one JSON object. A member that is ``null`` counts as absent, as SageMaker treats it.

    Every method returns a usable value (``None``, ``""``, an empty list) after noting a problem.
    """

    __slots__ = ("at", "node", "problems")

    def __init__(self, node: Mapping[str, Any], at: Location, problems: Problems) -> None:
        self.node = node
        self.at = at
        self.problems = problems

    @classmethod
    def of(cls, node: object, at: Location, problems: Problems) -> ObjectReader:
        """Read a value that must be an object; anything else is a problem and reads as empty."""
        if isinstance(node, dict):
            return cls(node, at, problems)
        problems.add(at, f"is {json_type(node)}", "Write an object {…}")
        return cls._silent(at)

    @classmethod
    def _silent(cls, at: Location) -> ObjectReader:
        """Stand in for an object whose absence has been noted: nobody wants to hear that its members are missing."""
        return cls({}, at, Problems())

    def problem(self, key: str, what: str, fix: str) -> None:
        """Note a problem with one member."""
        self.problems.add((*self.at, key), what, fix)

    def has(self, key: str) -> bool:
        """Whether the member is there and not null."""
        return self.node.get(key) is not None

    def require(self, key: str) -> Any:
        """Return the member; its absence is a problem."""
        value = self.node.get(key)
        if value is None:
            self.problem(key, "is missing", f"Add '{key}'")
        return value

    def _typed(self, key: str, kinds: tuple[type, ...], expected: str, *, required: bool) -> Any:
        value = self.require(key) if required else self.node.get(key)
        if value is None:
            return None
        # A JSON boolean is an int to Python.
        if isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds):
            return value
        self.problem(key, f"is {json_type(value)}", f"Write {expected}")
        return None

    def text(
        self,
        key: str,
        *,
        required: bool = False,
        pattern: re.Pattern[str] | None = None,
        max_length: int | None = None,
    ) -> str | None:
        """Read a string, checked against a pattern and a length in characters."""
        value: str | None = self._typed(key, (str,), "a string", required=required)
        if value is None:
            return None
        if pattern is not None and not pattern.fullmatch(value):
            self.problem(key, f"{_shorten(value)!r} is not allowed", f"Match {pattern.pattern}")
        if max_length is not None and len(value) > max_length:
            self.problem(key, f"has {len(value)} characters", f"Use at most {max_length}")
        return value

    def choice(self, key: str, choices: Collection[str], *, required: bool = False) -> str | None:
        """Read a string that is one of a few."""
        value = self.text(key, required=required)
        if value is not None and value not in choices:
            self.problem(key, f"'{_shorten(value)}' is unknown", self.problems.nearest(value, choices))
            return None
        return value

    def boolean(self, key: str, *, default: bool = False) -> bool:
        """Read a boolean."""
        value = self._typed(key, (bool,), "true or false", required=False)
        return default if value is None else bool(value)

    def number(
        self, key: str, *, low: float, high: float | None = None, whole: bool = True, required: bool = False
    ) -> float | None:
        """Read a number within bounds (inclusive)."""
        kinds = (int,) if whole else (int, float)
        value: float | None = self._typed(key, kinds, "a whole number" if whole else "a number", required=required)
        if value is not None and (value < low or (high is not None and value > high)):
            bounds = f"from {low:g} to {high:g}" if high is not None else f"from {low:g}"
            self.problem(key, f"{value} is out of range", f"Write a number {bounds}")
            return None
        return value

    def items(self, key: str, *, required: bool = False) -> Iterator[tuple[Any, Location]]:
        """Iterate over a list's elements with their locations."""
        value = self._typed(key, (list,), "a list […]", required=required)
        for index, item in enumerate(value or ()):
            yield item, (*self.at, key, index)

    def object(self, key: str, *, required: bool = False) -> ObjectReader:
        """Read a nested object; an absent one reads as empty."""
        value = self._typed(key, (dict,), "an object {…}", required=required)
        if value is None and (required or self.has(key)):
            return self._silent((*self.at, key))
        return ObjectReader(value or {}, (*self.at, key), self.problems)


def _shorten(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
