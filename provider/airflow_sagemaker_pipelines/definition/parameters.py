"""Pipeline parameters: their declaration, and the values an execution starts with."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from airflow_sagemaker_pipelines.definition.errors import Location, PipelineParameterError, Problem
from airflow_sagemaker_pipelines.definition.expressions import Scalar
from airflow_sagemaker_pipelines.definition.reader import ObjectReader, Problems, json_type, nearest

_NAME = re.compile(r"[A-Za-z0-9\-_]{1,256}")
#: StartPipelineExecution takes values of at most this many characters.
MAX_VALUE_LENGTH = 1024
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: Length of a default by the public JSON schema.
_MAX_DEFAULT_LENGTH = 4096


class ParameterType(StrEnum):
    """The types of a pipeline parameter."""

    STRING = "String"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOLEAN = "Boolean"


PARAMETER_TYPES = tuple(map(str, ParameterType))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One declared parameter."""

    name: str
    type: ParameterType = ParameterType.STRING
    default: Scalar | None = None
    """``None`` means that a start must give a value; ``""``, 0 and false are defaults like any other."""
    enum_values: tuple[Scalar, ...] = ()
    description: str | None = None

    def parse(self, value: object) -> Scalar:
        """Turn a start value into the parameter's type.

        The API carries values as text: ``"3"``, ``"0.5"``, ``"True"`` (case does not matter) are an integer, a
        float, a boolean. A value that has the type already passes unchanged.

        :raises ValueError: if it has another type or is not among ``enum_values``.
        """
        parsed = parse_scalar(self.type, value)
        if self.enum_values and parsed not in self.enum_values:
            raise ValueError(f"{parsed!r} is not one of {', '.join(map(repr, self.enum_values))}")
        return parsed


def parse_scalar(kind: ParameterType, value: object) -> Scalar:
    """Turn text into a typed value; a value that has the type already passes unchanged.

    :raises ValueError: if that is not possible without loss.
    """
    if kind is ParameterType.STRING:
        if isinstance(value, str):
            return value
    elif kind is ParameterType.BOOLEAN:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in {"true", "false"}:
            return value.lower() == "true"
    elif isinstance(value, bool):
        pass
    elif kind is ParameterType.INTEGER:
        # 64 bits and a little, as in text.
        if isinstance(value, int) and abs(value) < 10**19:
            return value
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            return int(value)
    elif isinstance(value, int | float | str):
        return _parse_float(value)
    raise ValueError(f"{str(value)[:80]!r} is not {_EXPECTED[kind]}")


def _parse_float(value: float | str) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    # Python also reads "1_0", " 1 ", "nan" and digits of other scripts; JSON numbers have none of them.
    if not math.isfinite(number) or (isinstance(value, str) and not _FLOAT.fullmatch(value)):
        raise ValueError(f"{str(value)[:80]!r} is not {_EXPECTED[ParameterType.FLOAT]}")
    return number


_EXPECTED = {
    ParameterType.STRING: "a string",
    ParameterType.INTEGER: "a whole number",
    ParameterType.FLOAT: "a number",
    ParameterType.BOOLEAN: "true or false",
}


def read_parameters(document: ObjectReader) -> Mapping[str, Parameter]:
    """Read the declarations of a document, noting problems."""
    parameters: dict[str, Parameter] = {}
    for node, at in document.items("Parameters"):
        parameter = _read_parameter(ObjectReader.of(node, at, document.problems))
        if parameter is None:
            continue
        if parameter.name in parameters:
            document.problems.add(
                (*at, "Name"), f"the parameter '{parameter.name}' is declared twice", "Rename or remove one"
            )
        parameters[parameter.name] = parameter
    return MappingProxyType(parameters)


def _read_parameter(reader: ObjectReader) -> Parameter | None:
    name = reader.text("Name", required=True, pattern=_NAME)
    kind = ParameterType(reader.choice("Type", PARAMETER_TYPES) or ParameterType.STRING)
    description = reader.text("Description", max_length=4096)
    enum_values = tuple(
        value
        for node, at in reader.items("EnumValues")
        if (value := _parse_declared(kind, node, at, reader.problems, from_text=True)) is not None
    )
    default: Scalar | None = None
    if reader.has("DefaultValue"):
        at = (*reader.at, "DefaultValue")
        default = _parse_declared(kind, reader.node["DefaultValue"], at, reader.problems, from_text=False)
        if isinstance(default, str) and len(default) > _MAX_DEFAULT_LENGTH:
            reader.problems.add(at, f"has {len(default)} characters", f"Use at most {_MAX_DEFAULT_LENGTH}")
        if default is not None and enum_values and default not in enum_values:
            allowed = ", ".join(map(repr, enum_values))
            reader.problems.add(at, f"{default!r} is not among EnumValues", f"Use one of {allowed}")
    if name is None:
        return None
    return Parameter(name=name, type=kind, default=default, enum_values=enum_values, description=description)


def _parse_declared(
    kind: ParameterType, node: Any, at: Location, problems: Problems, *, from_text: bool
) -> Scalar | None:
    """Parse a declared value. EnumValues are strings for every type; a default has the type itself."""
    if isinstance(node, str) and kind is not ParameterType.STRING and not from_text:
        problems.add(at, f"is a string, but the parameter is of type {kind}", f"Write {_EXPECTED[kind]}")
        return None
    try:
        return parse_scalar(kind, node)
    except ValueError:
        problems.add(at, f"is {json_type(node)}, but the parameter is of type {kind}", f"Write {_EXPECTED[kind]}")
        return None


def start_values(parameters: Mapping[str, Parameter], given: Mapping[str, object]) -> Mapping[str, Scalar]:
    """Return the typed values that an execution starts with: the given ones over the defaults.

    :param parameters: the declared parameters.
    :param given: values by name, as text or typed.
    :raises PipelineParameterError: for unknown names, missing values, values of another type, outside
        ``EnumValues`` or too long: all of them at once.
    """
    problems = [
        Problem(f"Parameter '{name}'", "the pipeline has no such parameter", nearest(name, parameters))
        for name in given
        if name not in parameters
    ]
    values: dict[str, Scalar] = {}
    for name, parameter in parameters.items():
        if name not in given:
            if parameter.default is None:
                problems.append(Problem(f"Parameter '{name}'", "has no value and no default", "Give a value"))
            else:
                values[name] = parameter.default
            continue
        value = given[name]
        try:
            values[name] = parameter.parse(value)
        except ValueError as error:
            problems.append(
                Problem(
                    f"Parameter '{name}'",
                    str(error),
                    f"Give {_EXPECTED[parameter.type]} of those"
                    if parameter.enum_values
                    else f"Give {_EXPECTED[parameter.type]}",
                )
            )
            continue
        if len(str(value)) > MAX_VALUE_LENGTH:
            problems.append(
                Problem(
                    f"Parameter '{name}'",
                    f"has {len(str(value))} characters",
                    f"Give at most {MAX_VALUE_LENGTH}",
                )
            )
    if problems:
        raise PipelineParameterError(problems)
    return MappingProxyType(values)
