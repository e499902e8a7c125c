"""Checks of a request against botocore's service model, with the texts that AWS answers.

botocore itself checks a request's types and required members before it sends anything, but no pattern, enum or
maximum; without these checks a badly made job name passes every local test and is refused by AWS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from .errors import AwsError, validation_error

if TYPE_CHECKING:
    from botocore.model import Shape

# The model's patterns are Java's. Inside ASCII these classes say exactly what Java's say; outside it they are
# generous (every non-ASCII character counts as a letter), so that a correct request is never refused.
_JAVA_CLASSES = {
    "L": "A-Za-z\\u0080-\\U0010ffff",
    "M": "\\u0300-\\u036f",
    "N": "0-9",
    "P": "!-#%-*,-/:;?@\\[-\\]_{}",
    "S": "$+<=>^`|~",
    "Z": " \\u00a0\\u2028\\u2029",
    "Alnum": "A-Za-z0-9",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


@cache
def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """Return a model pattern for Python, or None where it cannot be said in Python (it is then not checked)."""
    # `$` with a quantifier, as two shapes have it, means nothing; Python refuses it.
    text = re.sub(r"\$\{\d+,\d+\}", "", pattern)
    text = re.sub(r"\\p\{(\w+)\}", lambda found: _JAVA_CLASSES.get(found[1], found[0]), text)
    try:
        return re.compile(text)
    except re.error:
        return None


def validate(shape: Shape | None, request: Mapping[str, Any]) -> None:
    """Refuse a request that the service model does not allow.

    :raises AwsError: ``ValidationException`` that lists every violation, or ``SerializationException`` for a
        value of the wrong type.
    """
    errors = list(_violations(shape, request, "")) if shape is not None else []
    if errors:
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''} detected: "
        raise validation_error(count + "; ".join(errors))


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    _check_type(shape, value, path)
    if shape.type_name == "structure":
        yield from _structure_violations(shape, value, path)
    elif shape.type_name == "list":
        yield from _list_violations(shape, value, path)
    elif shape.type_name == "map":
        yield from _map_violations(shape, value, path)
    else:
        for constraint in _broken_constraints(shape, value):
            yield f"Value '{_display(value)}' at '{path}' failed to satisfy constraint: {constraint}"


def _structure_violations(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            where = _join(path, name)
            yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        yield from _violations(member, value.get(name), _join(path, name))


def _list_violations(shape: Any, value: list[Any], path: str) -> Iterator[str]:
    for constraint in _length_constraints(shape, len(value)):
        yield f"Value '{_display(value)}' at '{path}' failed to satisfy constraint: {constraint}"
    for index, item in enumerate(value, start=1):
        if shape.member.type_name in ("structure", "list", "map"):
            yield from _violations(shape.member, item, f"{path}.{index}.member")
            continue
        _check_type(shape.member, item, path)
        if _broken_constraints(shape.member, item):
            inner = ", ".join(_all_constraints(shape.member))
            yield (
                f"Value '{_display(value)}' at '{path}' failed to satisfy constraint: "
                f"Member must satisfy constraint: [{inner}]"
            )
            return


def _map_violations(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for constraint in _length_constraints(shape, len(value)):
        yield f"Value '{_display(value)}' at '{path}' failed to satisfy constraint: {constraint}"
    for word, part, items in (("keys", shape.key, value.keys()), ("value", shape.value, value.values())):
        for item in items:
            _check_type(part, item, path)
            if _broken_constraints(part, item):
                inner = ", ".join(_all_constraints(part))
                yield (
                    f"Value '{_display(value)}' at '{path}' failed to satisfy constraint: "
                    f"Map {word} must satisfy constraint: [{inner}]"
                )
                break


def _check_type(shape: Shape, value: Any, path: str) -> None:
    wanted = _TYPES.get(shape.type_name)
    if wanted is None:
        return
    wrong = not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)
    if wrong:
        found = {str: "STRING_VALUE", bool: "BOOLEAN_VALUE", dict: "START_OBJECT", list: "START_ARRAY"}
        word = found.get(type(value), "NUMBER_VALUE")
        raise AwsError(
            "SerializationException", f"{word} can not be converted to {shape.type_name.title()} at '{path}'"
        )


def _broken_constraints(shape: Shape, value: Any) -> list[str]:
    metadata = shape.metadata
    broken: list[str] = []
    if shape.type_name == "string":
        allowed = metadata.get("enum")
        if allowed and value not in allowed:
            broken.append(_enum_text(allowed))
        broken.extend(_length_constraints(shape, len(value)))
        pattern = compile_pattern(metadata["pattern"]) if "pattern" in metadata else None
        if pattern is not None and not pattern.fullmatch(value):
            broken.append(_pattern_text(metadata["pattern"]))
    elif shape.type_name in ("integer", "long", "float", "double"):
        if "max" in metadata and value > metadata["max"]:
            broken.append(f"Member must have value less than or equal to {metadata['max']}")
        if "min" in metadata and value < metadata["min"]:
            broken.append(f"Member must have value greater than or equal to {metadata['min']}")
    return broken


def _length_constraints(shape: Shape, length: int) -> list[str]:
    broken = []
    if "max" in shape.metadata and length > shape.metadata["max"]:
        broken.append(f"Member must have length less than or equal to {shape.metadata['max']}")
    if "min" in shape.metadata and length < shape.metadata["min"]:
        broken.append(f"Member must have length greater than or equal to {shape.metadata['min']}")
    return broken


def _all_constraints(shape: Shape) -> list[str]:
    texts = []
    if "max" in shape.metadata:
        texts.append(f"Member must have length less than or equal to {shape.metadata['max']}")
    if "min" in shape.metadata:
        texts.append(f"Member must have length greater than or equal to {shape.metadata['min']}")
    if "enum" in shape.metadata:
        texts.append(_enum_text(shape.metadata["enum"]))
    if "pattern" in shape.metadata:
        texts.append(_pattern_text(shape.metadata["pattern"]))
    return texts


def _enum_text(allowed: list[str]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(allowed)}]"


def _pattern_text(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _join(path: str, name: str) -> str:
    lowered = name[0].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered


def _display(value: Any) -> str:
    """Write a value the way Java's toString does, which is what AWS quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_display(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_display(item)}" for key, item in value.items()) + "}"
    return str(value)
