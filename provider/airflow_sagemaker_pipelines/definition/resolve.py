"""Gives expressions their values in one execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite
from typing import Any

from airflow_sagemaker_pipelines.definition.errors import ExpressionError
from airflow_sagemaker_pipelines.definition.expressions import (
    CurrentItemReference,
    ExecutionReference,
    ExecutionVariable,
    ExperimentReference,
    Get,
    IterationOutputReference,
    Join,
    JsonGet,
    ParameterReference,
    PropertyFileReference,
    Reference,
    Scalar,
    StepReference,
    Value,
    empty,
)
from airflow_sagemaker_pipelines.definition.paths import Path, follow, parse_json_text
from airflow_sagemaker_pipelines.definition.steps import Step

#: DescribeJob returns its document as text, and references descend into it.
_JSON_TEXT_MEMBERS = frozenset({"JobConfigDocument"})


def _no_file(uri: str) -> str:
    raise ExpressionError(f"{uri} cannot be read here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What expressions refer to, in one execution. The mappings may look their values up when asked."""

    parameters: Mapping[str, Scalar] = field(default_factory=empty)
    execution: Mapping[ExecutionVariable, str] = field(default_factory=empty)
    outputs: Mapping[str, Any] = field(default_factory=empty)
    """By step name: what the step made, as the AWS Describe call returns it."""
    steps: Mapping[str, Step] = field(default_factory=empty)
    """The definition's steps, for their property files."""
    experiment: Mapping[str, str] = field(default_factory=empty)
    """``ExperimentName`` and ``TrialName``."""
    current_item: Any = None
    """The item of a loop's iteration."""
    read_text: Callable[[str], str] = _no_file
    """Reads a file by its S3 URI; raises :class:`ExpressionError` when that is not possible."""


def resolve(value: Value, scope: Scope) -> Any:
    """Return a value with every expression in it replaced, as plain JSON (dicts and lists).

    An expression that is a whole value keeps its type: an Integer parameter becomes a number.

    :raises ExpressionError: if an expression has no value; the message names it.
    """
    match value:
        case Get(reference):
            return _refer(reference, scope)
        case Join(on, values):
            return on.join(render(resolve(item, scope)) for item in values)
        case JsonGet(source, path):
            return _read_json(source, path, scope)
        case tuple():
            return [resolve(item, scope) for item in value]
        case Mapping():
            return {key: resolve(item, scope) for key, item in value.items()}
        case _:
            return value


def render(value: Any) -> str:
    """Render a value as ``Std:Join`` does: booleans in lower case, floats as Java writes them.

    :raises ExpressionError: for null, objects and lists.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _render_float(value)
    raise ExpressionError(f"Std:Join cannot put {str(value)[:80]} into text; it takes strings, numbers and booleans")


#: AWS does not say how a float reads in text. Java's Double.toString is the likely form; it differs from
#: Python's only outside this range, where it writes 1.0E-4 and 1.0E7.
_JAVA_PLAIN_FLOATS = (1e-3, 1e7)


def _render_float(value: float) -> str:
    if not isfinite(value):
        raise ExpressionError(f"Std:Join cannot put {value} into text; it is not a JSON number")
    low, high = _JAVA_PLAIN_FLOATS
    if value == 0 or low <= abs(value) < high:
        return repr(value)
    # The shortest digits that read back as the same number, as one digit, a point and the rest.
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first, *rest = map(str, digits)
    return f"{'-' if sign else ''}{first}.{''.join(rest) or '0'}E{int(exponent) + len(rest)}"


def _refer(reference: Reference, scope: Scope) -> Any:
    try:
        match reference:
            case ParameterReference(name):
                return scope.parameters[name]
            case ExecutionReference(variable):
                return scope.execution[variable]
            case ExperimentReference(member):
                return scope.experiment[member]
            case StepReference(step, path):
                return follow(scope.outputs[step], path, json_text_members=_JSON_TEXT_MEMBERS)
            case CurrentItemReference(path):
                return _current_item(scope.current_item, path)
            case PropertyFileReference() | IterationOutputReference():
                pass
    except KeyError:
        raise ExpressionError(f"{reference} is undefined here") from None
    except ExpressionError as error:
        raise ExpressionError(f"{reference}: {error}") from error
    raise ExpressionError(f"{reference} has no value of its own")


def _current_item(item: Any, path: Path) -> Any:
    # Items are often JSON objects written as text.
    if path and isinstance(item, str):
        item = parse_json_text(item, "the current item")
    return follow(item, path)


def property_file_uri(reference: PropertyFileReference, scope: Scope) -> str:
    """Return the S3 URI of a property file: its output's S3 URI and its path below.

    :raises ExpressionError: if the step's output is absent.
    """
    step = scope.steps.get(reference.step)
    if step is None or reference.name not in step.property_files:
        raise ExpressionError(f"{reference} is undefined here")
    file = step.property_files[reference.name]
    output = StepReference(reference.step, ("ProcessingOutputConfig", "Outputs", file.output_name, "S3Output", "S3Uri"))
    return f"{_refer(output, scope)}".rstrip("/") + "/" + file.file_path.lstrip("/")


def _read_json(source: PropertyFileReference | Value, path: Path, scope: Scope) -> Any:
    if isinstance(source, PropertyFileReference):
        uri = property_file_uri(source, scope)
    else:
        uri = render(resolve(source, scope))
    content = parse_json_text(scope.read_text(uri), uri)
    try:
        return follow(content, path)
    except ExpressionError as error:
        raise ExpressionError(f"{uri}: {error}") from error
