"""Expressions: ``Get``, ``Std:Join`` and ``Std:JsonGet``, parsed from JSON into immutable values.

An expression is a JSON object with exactly one key. It may stand anywhere inside a step's arguments; an object with
two or more keys is data, even if one of them is called ``Get``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from airflow_sagemaker_pipelines.definition.errors import Location
from airflow_sagemaker_pipelines.definition.paths import Path, parse_path, write_path
from airflow_sagemaker_pipelines.definition.reader import ObjectReader, Problems, json_type, nearest

#: Deeper nesting than any definition needs (31 nested conditions need about 110 levels), and shallow enough for
#: recursive code inside Python's own limit.
MAX_DEPTH = 256


class ExecutionVariable(StrEnum):
    """The variables of ``Get: Execution.…``."""

    START_DATE_TIME = "StartDateTime"
    CURRENT_DATE_TIME = "CurrentDateTime"
    PIPELINE_NAME = "PipelineName"
    PIPELINE_ARN = "PipelineArn"
    PIPELINE_EXECUTION_ID = "PipelineExecutionId"
    PIPELINE_EXECUTION_ARN = "PipelineExecutionArn"
    TRAINING_JOB_NAME = "TrainingJobName"
    PROCESSING_JOB_NAME = "ProcessingJobName"


@dataclass(frozen=True, slots=True)
class ParameterReference:
    """``Parameters.<name>``."""

    name: str

    def __str__(self) -> str:
        return f"Parameters.{self.name}"


@dataclass(frozen=True, slots=True)
class ExecutionReference:
    """``Execution.<variable>``."""

    variable: ExecutionVariable

    def __str__(self) -> str:
        return f"Execution.{self.variable}"


@dataclass(frozen=True, slots=True)
class StepReference:
    """``Steps.<step>.<path>``: a member of what the step made."""

    step: str
    path: Path

    def __str__(self) -> str:
        return f"Steps.{self.step}.{write_path(self.path)}"


@dataclass(frozen=True, slots=True)
class PropertyFileReference:
    """``Steps.<step>.PropertyFiles.<name>``, the source of a ``Std:JsonGet``."""

    step: str
    name: str

    def __str__(self) -> str:
        return f"Steps.{self.step}.PropertyFiles.{self.name}"


@dataclass(frozen=True, slots=True)
class ExperimentReference:
    """``PipelineExperimentConfig.ExperimentName`` or ``.TrialName``."""

    member: str

    def __str__(self) -> str:
        return f"PipelineExperimentConfig.{self.member}"


@dataclass(frozen=True, slots=True)
class CurrentItemReference:
    """``ForEach.CurrentItem`` and members of it, inside a loop's body."""

    path: Path

    def __str__(self) -> str:
        return ".".join(filter(None, ("ForEach.CurrentItem", write_path(self.path))))


@dataclass(frozen=True, slots=True)
class IterationOutputReference:
    """``IterationOutput.<body step>.<path>``, in a loop's selector."""

    step: str
    path: Path

    def __str__(self) -> str:
        return f"IterationOutput.{self.step}.{write_path(self.path)}"


Reference: TypeAlias = (
    ParameterReference
    | ExecutionReference
    | StepReference
    | PropertyFileReference
    | ExperimentReference
    | CurrentItemReference
    | IterationOutputReference
)


@dataclass(frozen=True, slots=True)
class Get:
    """The value of a reference."""

    reference: Reference


@dataclass(frozen=True, slots=True)
class Join:
    """``Std:Join``: values rendered as text, put together with a separator."""

    on: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class JsonGet:
    """``Std:JsonGet``: a value out of a JSON file in S3, which keeps its JSON type."""

    source: PropertyFileReference | Value
    """A property file, or an expression that gives the file's S3 URI."""
    path: Path


Scalar: TypeAlias = str | int | float | bool
#: A JSON value in which expressions may stand; objects are read-only mappings, lists are tuples.
Value: TypeAlias = "Scalar | Get | Join | JsonGet | tuple[Value, ...] | Mapping[str, Value] | None"

EMPTY: Mapping[Any, Any] = MappingProxyType({})


def empty() -> Mapping[Any, Any]:
    """Return the empty mapping: the default of dataclass fields."""
    return EMPTY


class ValueParser:
    """Turns JSON into values and collects the references in them.

    :param problems: where problems go.
    """

    __slots__ = ("problems", "references")

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.references: list[tuple[Reference, Location]] = []

    def parse(self, node: Any, at: Location) -> Value:
        """Parse one JSON value at a location."""
        if len(at) > MAX_DEPTH:
            # The location itself is as deep: show its beginning.
            self.problems.add(at[:8], f"is nested more than {MAX_DEPTH} levels deep", "Flatten it")
            return None
        if isinstance(node, dict):
            if len(node) == 1:
                (key,) = node
                if key == "Get":
                    return self._value_of(self._get(node[key], (*at, key)), at)
                if key.startswith("Std:"):
                    return self._function(key, node[key], (*at, key))
            # Most members are text, which needs no parsing; this is the hot path of building a DAG.
            return MappingProxyType(
                {key: item if type(item) is str else self.parse(item, (*at, key)) for key, item in node.items()}
            )
        if isinstance(node, list):
            return tuple([self.parse(item, (*at, index)) for index, item in enumerate(node)])
        return node  # type: ignore[no-any-return]

    def _value_of(self, get: Get | None, at: Location) -> Get | None:
        if get is not None and isinstance(get.reference, PropertyFileReference):
            self.problems.add(
                at, f"'{get.reference}' is a file, not a value", "Read a value out of it with Std:JsonGet"
            )
        return get

    def _function(self, name: str, node: Any, at: Location) -> Value:
        if name == "Std:Join":
            return self._join(node, at)
        if name == "Std:JsonGet":
            return self._json_get(node, at)
        self.problems.add(at, f"the function '{name}' is unknown", nearest(name, ("Std:Join", "Std:JsonGet")))
        return None

    def _join(self, node: Any, at: Location) -> Value:
        reader = ObjectReader.of(node, at, self.problems)
        separator = reader.text("On")
        values = tuple(self.parse(item, item_at) for item, item_at in reader.items("Values", required=True))
        return Join(separator or "", values)

    def _json_get(self, node: Any, at: Location) -> Value:
        reader = ObjectReader.of(node, at, self.problems)
        path: Path = ()
        if (text := reader.text("Path", required=True)) is not None:
            path = self._json_file_path(text, (*at, "Path"))
        if reader.has("PropertyFile") == reader.has("S3Uri"):
            reader.problems.add(
                at, "needs exactly one of 'PropertyFile' and 'S3Uri'", "Name the file in one of the two ways"
            )
            return None
        if reader.has("S3Uri"):
            return JsonGet(self.parse(node["S3Uri"], (*at, "S3Uri")), path)
        file_at = (*at, "PropertyFile")
        file = ObjectReader.of(node["PropertyFile"], file_at, self.problems)
        get = self._get(file.node.get("Get"), (*file_at, "Get")) if isinstance(node["PropertyFile"], dict) else None
        if get is None:
            return None
        if not isinstance(get.reference, PropertyFileReference):
            form = 'Write {"Get": "Steps.<step>.PropertyFiles.<name>"}'
            self.problems.add(file_at, f"'{get.reference}' is not a property file", form)
            return None
        return JsonGet(get.reference, path)

    def _json_file_path(self, text: str, at: Location) -> Path:
        # SDK definitions write "a.b"; JSONPath's own "$.a.b" means the same.
        try:
            return parse_path(text.removeprefix("$").removeprefix("."))
        except ValueError as error:
            self.problems.add(
                at, str(error), "Write a path like a.b[0]['key']; filters and wildcards are not supported"
            )
            return ()

    def _get(self, node: Any, at: Location) -> Get | None:
        if not isinstance(node, str):
            self.problems.add(at, f"is {json_type(node)}", "Write a reference such as 'Parameters.InputData'")
            return None
        root, _, rest = node.partition(".")
        read = _ROOTS.get(root)
        if read is None:
            self.problems.add(at, f"'{node[:80]}' has an unknown root '{root[:80]}'", nearest(root, _ROOTS))
            return None
        try:
            reference = read(rest)
        except ValueError as error:
            self.problems.add(at, f"'{node[:200]}' is not a reference: {error}", _FORMS[root])
            return None
        self.references.append((reference, at))
        return Get(reference)


def _parameter(rest: str) -> Reference:
    if not rest:
        raise ValueError("the parameter's name is missing")
    return ParameterReference(rest)


def _execution(rest: str) -> Reference:
    try:
        return ExecutionReference(ExecutionVariable(rest))
    except ValueError:
        raise ValueError(f"there is no variable '{rest[:80]}'") from None


def _owner_and_path(rest: str) -> tuple[str, Path]:
    # A step's name holds neither dots nor brackets.
    owner = rest.split(".", 1)[0].split("[", 1)[0]
    path = parse_path(rest[len(owner) :].removeprefix("."))
    if not owner or not path:
        raise ValueError("the step's name or the member is missing")
    return owner, path


def _step(rest: str) -> Reference:
    step, path = _owner_and_path(rest)
    if path[0] == "PropertyFiles" and len(path) > 1:
        # A property file's name may itself hold dots.
        return PropertyFileReference(step, ".".join(map(str, path[1:])))
    return StepReference(step, path)


def _experiment(rest: str) -> Reference:
    if rest not in {"ExperimentName", "TrialName"}:
        raise ValueError(f"there is no '{rest[:80]}'")
    return ExperimentReference(rest)


def _for_each(rest: str) -> Reference:
    path = parse_path(rest)
    if not path or path[0] != "CurrentItem":
        raise ValueError("only 'CurrentItem' exists")
    return CurrentItemReference(path[1:])


def _iteration_output(rest: str) -> Reference:
    return IterationOutputReference(*_owner_and_path(rest))


_ROOTS = {
    "Parameters": _parameter,
    "Execution": _execution,
    "Steps": _step,
    "PipelineExperimentConfig": _experiment,
    "ForEach": _for_each,
    "IterationOutput": _iteration_output,
}
_FORMS = {
    "Parameters": "Write Parameters.<name>",
    "Execution": f"Write Execution. and one of {', '.join(ExecutionVariable)}",
    "Steps": "Write Steps.<step>.<member>, for example Steps.Train.ModelArtifacts.S3ModelArtifacts",
    "PipelineExperimentConfig": "Write PipelineExperimentConfig.ExperimentName or .TrialName",
    "ForEach": "Write ForEach.CurrentItem or a member of it",
    "IterationOutput": "Write IterationOutput.<body step>.<member>",
}
