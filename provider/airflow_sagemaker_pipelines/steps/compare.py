"""Whether what exists on AWS is what a step asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def differences(wanted: Any, found: Any, at: str = "") -> Iterator[str]:
    """Say where something on AWS differs from what is wanted.

    Only what is wanted is looked at, since a Describe answer also holds the defaults that AWS has filled in. An empty
    value is the same as none, numbers are equal as numbers, and lists of strings are compared as sets.

    :param wanted: a part of a request.
    :param found: the same part of a Describe answer.
    :param at: the path to both, for the texts.
    """
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from differences(value, found.get(key), f"{at}.{key}" if at else key)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        if all(isinstance(item, str) for item in [*wanted, *found]):
            wanted, found = sorted(wanted), sorted(found)
        for index, (first, second) in enumerate(zip(wanted, found, strict=True)):
            yield from differences(first, second, f"{at}[{index}]")
    elif wanted != found and (wanted or found):
        yield f"{at} is {_short(found)}, not {_short(wanted)}"


def _short(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, default=str)[:80]
