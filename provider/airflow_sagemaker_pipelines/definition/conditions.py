"""Conditions of a Condition step: their kinds, and their evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne
from typing import Any, TypeAlias

from airflow_sagemaker_pipelines.definition.errors import ExpressionError, Location
from airflow_sagemaker_pipelines.definition.expressions import MAX_DEPTH, Value, ValueParser
from airflow_sagemaker_pipelines.definition.reader import ObjectReader, json_type


class Comparison(StrEnum):
    """Comparisons of two values."""

    EQUALS = "Equals"
    NOT_EQUALS = "NotEquals"
    GREATER_THAN = "GreaterThan"
    GREATER_THAN_OR_EQUAL_TO = "GreaterThanOrEqualTo"
    LESS_THAN = "LessThan"
    LESS_THAN_OR_EQUAL_TO = "LessThanOrEqualTo"


_OPERATORS: dict[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.EQUALS: eq,
    Comparison.NOT_EQUALS: ne,
    Comparison.GREATER_THAN: gt,
    Comparison.GREATER_THAN_OR_EQUAL_TO: ge,
    Comparison.LESS_THAN: lt,
    Comparison.LESS_THAN_OR_EQUAL_TO: le,
}
_EQUALITY = frozenset({Comparison.EQUALS, Comparison.NOT_EQUALS})


@dataclass(frozen=True, slots=True)
class Compare:
    """``LeftValue`` against ``RightValue``."""

    comparison: Comparison
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class In:
    """Whether a value is (or, negated, is not) among others."""

    value: Value
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Or:
    """Whether any of several conditions holds; none of none does."""

    conditions: tuple[Condition, ...]


Condition: TypeAlias = Compare | In | Not | Or

_COMPARISONS = frozenset(map(str, Comparison))
_TYPES = (*_COMPARISONS, "In", "NotIn", "Not", "Or")


def read_conditions(reader: ObjectReader, key: str, values: ValueParser) -> tuple[Condition, ...]:
    """Read a list of conditions, noting problems."""
    conditions = (_read_condition(node, at, values) for node, at in reader.items(key, required=True))
    return tuple(condition for condition in conditions if condition is not None)


def _read_condition(node: Any, at: Location, values: ValueParser) -> Condition | None:
    if len(at) > MAX_DEPTH:
        values.problems.add(at[:8], f"is nested more than {MAX_DEPTH} levels deep", "Flatten it")
        return None
    reader = ObjectReader.of(node, at, values.problems)
    kind = reader.choice("Type", _TYPES, required=True)
    if kind is None:
        return None
    if kind in _COMPARISONS:
        left, right = (_read_operand(reader, key, values) for key in ("LeftValue", "RightValue"))
        return Compare(Comparison(kind), left, right)
    if kind in {"In", "NotIn"}:
        # The SDK writes QueryValue and Values, which is what the service accepts; the public schema Value and In.
        query, candidates = ("Value", "In") if reader.has("In") else ("QueryValue", "Values")
        value = _read_operand(reader, query, values)
        options = tuple(
            _parse_operand(item, item_at, values) for item, item_at in reader.items(candidates, required=True)
        )
        return In(value, options, negated=kind == "NotIn")
    if kind == "Or":
        return Or(read_conditions(reader, "Conditions", values))
    if reader.has("Expression") and not reader.has("Condition"):
        reader.problem("Expression", "is the old spelling, which SageMaker refuses", "Write 'Condition'")
        return None
    if (inner := reader.require("Condition")) is None:
        return None
    condition = _read_condition(inner, (*at, "Condition"), values)
    return None if condition is None else Not(condition)


def _read_operand(reader: ObjectReader, key: str, values: ValueParser) -> Value:
    node = reader.require(key)
    return None if node is None else _parse_operand(node, (*reader.at, key), values)


def _parse_operand(node: Any, at: Location, values: ValueParser) -> Value:
    value = values.parse(node, at)
    if node is None or isinstance(value, tuple | Mapping):
        values.problems.add(at, f"is {json_type(node)}", "Write a string, number, boolean or expression")
    return value


def bind(conditions: tuple[Condition, ...], resolve: Callable[[Value], Any]) -> tuple[Condition, ...]:
    """Return the conditions with every operand replaced by its value.

    :raises ExpressionError: if an operand has none.
    """
    return tuple(_bind(condition, resolve) for condition in conditions)


def _bind(condition: Condition, resolve: Callable[[Value], Any]) -> Condition:
    match condition:
        case Compare(comparison, left, right):
            return Compare(comparison, resolve(left), resolve(right))
        case In(value, values, negated):
            return In(resolve(value), tuple(resolve(item) for item in values), negated)
        case Not(inner):
            return Not(_bind(inner, resolve))
        case Or(inners):
            return Or(bind(inners, resolve))


def evaluate(conditions: tuple[Condition, ...], resolve: Callable[[Value], Any]) -> bool:
    """Whether all conditions hold; an empty list does.

    All operands are resolved before any comparison, and all comparisons are made, so that a missing file or member
    or a mix of types fails the step whatever the other operands are (AWS does not say; its local mode resolves all).

    :param resolve: gives an operand's value.
    :raises ExpressionError: if an operand has no value, or two operands cannot be compared.
    """
    outcomes = [_holds(condition) for condition in bind(conditions, resolve)]
    return all(outcomes)


def _holds(condition: Condition) -> bool:
    match condition:
        case Compare(comparison, left, right):
            return _compare(comparison, left, right)
        case In(value, values, negated):
            kind = _kind(value)
            matches = [_kind(item) == kind and item == value for item in values]
            return negated != any(matches)
        case Not(inner):
            return not _holds(inner)
        case Or(inners):
            # A list, not a generator: no comparison is passed over.
            outcomes = [_holds(inner) for inner in inners]
            return any(outcomes)


def conditions_to_json(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    """Write bound conditions as the definition writes them."""
    return [_to_json(condition) for condition in conditions]


def _to_json(condition: Condition) -> dict[str, Any]:
    match condition:
        case Compare(comparison, left, right):
            return {"Type": str(comparison), "LeftValue": left, "RightValue": right}
        case In(value, values, negated):
            return {"Type": "NotIn" if negated else "In", "QueryValue": value, "Values": list(values)}
        case Not(inner):
            return {"Type": "Not", "Condition": _to_json(inner)}
        case Or(inners):
            return {"Type": "Or", "Conditions": conditions_to_json(inners)}


def _compare(comparison: Comparison, left: Any, right: Any) -> bool:
    kinds = _kind(left), _kind(right)
    if kinds[0] != kinds[1]:
        raise ExpressionError(
            f"{comparison} cannot compare {left!r} ({kinds[0]}) with {right!r} ({kinds[1]}); "
            "make both a string (a one-element Std:Join does) or both a number"
        )
    if kinds[0] == "boolean" and comparison not in _EQUALITY:
        raise ExpressionError(f"{comparison} cannot order the booleans {left!r} and {right!r}; use Equals or In")
    # Strings compare by code point, "10" before "9", as the service does.
    return _OPERATORS[comparison](left, right)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    raise ExpressionError(f"a condition's operand is {str(value)[:80]}; it must be a string, number or boolean")
