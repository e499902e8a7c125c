"""Reads the steps of a document: their common keys, branches and loop bodies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from airflow_sagemaker_pipelines.definition.conditions import read_conditions
from airflow_sagemaker_pipelines.definition.envelopes import check_envelope
from airflow_sagemaker_pipelines.definition.errors import Location
from airflow_sagemaker_pipelines.definition.expressions import (
    EMPTY,
    MAX_DEPTH,
    Get,
    IterationOutputReference,
    StepReference,
    Value,
    ValueParser,
)
from airflow_sagemaker_pipelines.definition.parameters import PARAMETER_TYPES, ParameterType
from airflow_sagemaker_pipelines.definition.policies import read_cache_config, read_retry_policies
from airflow_sagemaker_pipelines.definition.reader import ObjectReader, Problems, json_type, nearest
from airflow_sagemaker_pipelines.definition.steps import (
    UNDOCUMENTED_STEP_TYPES,
    Branch,
    ConditionStep,
    Dependency,
    ForEachStep,
    PropertyFile,
    Selector,
    Step,
    StepType,
    Trigger,
)

_STEP_TYPES = tuple(map(str, StepType))
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_COMMON_KEYS = frozenset(
    {
        "Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description", "RetryPolicies", "CacheConfig",
        "PropertyFiles", "OutputParameters",
    }
)  # fmt: skip
_NESTED_STEPS = ("IfSteps", "ElseSteps", "ForEachBody")
_MAX_LITERAL_ITEMS = 100
_ARGUMENTS_OPTIONAL = frozenset({StepType.LAMBDA, StepType.CALLBACK}) | UNDOCUMENTED_STEP_TYPES
_NOT_IN_LOOPS = frozenset({StepType.CONDITION, StepType.FAIL, StepType.FOR_EACH})


class StepsReader:
    """Reads steps recursively.

    :param problems: where problems go.
    :param overridden_steps: names of steps that the DAG author brings an operator for.
    """

    def __init__(self, problems: Problems, overridden_steps: Collection[str]) -> None:
        self.problems = problems
        self.overridden_steps = overridden_steps
        self.names: set[str] = set()
        """The names of all steps, also of those that could not be read."""

    def read(
        self, items: Iterable[tuple[Any, Location]], *, branch: Branch | None = None, loop: str | None = None
    ) -> tuple[Step, ...]:
        """Read a list of steps."""
        steps = (self._read_step(node, at, branch, loop) for node, at in items)
        return tuple(step for step in steps if step is not None)

    def _read_step(self, node: Any, at: Location, branch: Branch | None, loop: str | None) -> Step | None:
        if len(at) > MAX_DEPTH:
            self.problems.add(at[:8], f"is nested more than {MAX_DEPTH} levels deep", "Flatten it")
            return None
        reader = ObjectReader.of(node, at, self.problems)
        if not isinstance(node, dict):
            return None
        name = reader.text("Name", required=True, pattern=_NAME) or ""
        kind = self._step_type(reader, name)
        if name and name in self.names:
            reader.problem("Name", f"the name '{name}' is taken by another step", "Rename one; branches count too")
        self.names.add(name)
        return None if kind is None else self._build(reader, name, kind, branch, loop)

    def _step_type(self, reader: ObjectReader, name: str) -> StepType | None:
        kind = reader.choice("Type", _STEP_TYPES, required=True)
        if kind in UNDOCUMENTED_STEP_TYPES and name not in self.overridden_steps:
            reader.problem(
                "Type",
                f"steps of type '{kind}' are not supported",
                "Override the step with an operator of yours",
            )
        return None if kind is None else StepType(kind)

    def _build(self, reader: ObjectReader, name: str, kind: StepType, branch: Branch | None, loop: str | None) -> Step:
        values = ValueParser(self.problems)
        arguments = reader.object("Arguments", required=kind not in _ARGUMENTS_OPTIONAL)
        check_envelope(kind, reader, arguments)
        own = self._own_members(reader, arguments, name, kind, values)
        if "arguments" not in own:
            own["arguments"] = _members(arguments, values)
        settings = {key: item for key, item in reader.node.items() if key not in _COMMON_KEYS and item is not None}
        cls: type[Step] = own.pop("cls", Step)
        return cls(
            name=name,
            type=kind,
            settings=_members(ObjectReader(settings, reader.at, self.problems), values) if settings else EMPTY,
            output_parameters=_read_output_parameters(reader),
            depends_on=self._read_depends_on(reader),
            display_name=reader.text("DisplayName", max_length=256),
            description=reader.text("Description", max_length=3072),
            retry_policies=read_retry_policies(reader),
            cache_config=read_cache_config(reader),
            property_files=_read_property_files(reader, arguments, kind),
            branch=branch,
            loop=loop,
            location=reader.at,
            source=msgspec.json.encode(_without_nested_steps(reader.node)).decode(),
            references=tuple(values.references),
            **own,
        )

    def _own_members(
        self, reader: ObjectReader, arguments: ObjectReader, name: str, kind: StepType, values: ValueParser
    ) -> dict[str, Any]:
        """Read the members of the types that have some, with the class that holds them."""
        if kind is StepType.CONDITION:
            return {
                "cls": ConditionStep,
                "arguments": EMPTY,
                "conditions": read_conditions(arguments, "Conditions", values),
                "if_steps": self.read(arguments.items("IfSteps"), branch=Branch(name, True)),
                "else_steps": self.read(arguments.items("ElseSteps"), branch=Branch(name, False)),
            }
        if kind is StepType.FOR_EACH:
            return self._loop(arguments, name, values)
        if kind is StepType.CLEANUP:
            # The steps whose files are deleted are dependencies although no expression names them.
            for node, at in arguments.object("Resources").items("S3"):
                if isinstance(node, dict) and isinstance(source := node.get("StepName"), str):
                    values.references.append((StepReference(source, ()), (*at, "StepName")))
        return {}

    def _loop(self, arguments: ObjectReader, name: str, values: ValueParser) -> dict[str, Any]:
        items = arguments.require("IterableItems")
        at = (*arguments.at, "IterableItems")
        if isinstance(items, list):
            if not 1 <= len(items) <= _MAX_LITERAL_ITEMS:
                self.problems.add(at, f"has {len(items)} items", f"Give 1 to {_MAX_LITERAL_ITEMS}")
        elif items is not None and not isinstance(items, dict):
            self.problems.add(at, f"is {json_type(items)}", "Write a list or an expression")
        concurrency = arguments.number("MaxConcurrency", low=1, high=50, required=True)
        body = self.read(arguments.items("ForEachBody", required=True), loop=name)
        for step in body:
            if step.type in _NOT_IN_LOOPS:
                self.problems.add(
                    (*step.location, "Type"),
                    f"a {step.type} step cannot stand in a loop",
                    "Move it out of ForEachBody",
                )
        return {
            "cls": ForEachStep,
            "arguments": EMPTY,
            "iterable_items": values.parse(items, at),
            "max_concurrency": int(concurrency or 1),
            "body": body,
            "selector": self._selector(arguments, body),
        }

    def _selector(self, arguments: ObjectReader, body: tuple[Step, ...]) -> Selector | None:
        if not arguments.has("Selector"):
            return None
        reader = arguments.object("Selector")
        pick = reader.choice("Pick", ("MaxBy", "MinBy"), required=True)
        at = (*reader.at, "Field")
        value = ValueParser(self.problems).parse(reader.require("Field"), at)
        if not (isinstance(value, Get) and isinstance(value.reference, IterationOutputReference)):
            self.problems.add(
                at, "is not an output of the loop's body", 'Write {"Get": "IterationOutput.<step>.<member>"}'
            )
            return None
        names = {step.name for step in body}
        if value.reference.step not in names:
            self.problems.add(
                at,
                f"the loop's body has no step '{value.reference.step}'",
                nearest(value.reference.step, names),
            )
        return Selector(pick or "MaxBy", value.reference)

    def _read_depends_on(self, reader: ObjectReader) -> tuple[Dependency, ...]:
        dependencies: dict[str, Dependency] = {}
        for node, at in reader.items("DependsOn"):
            if isinstance(node, str):
                dependency = Dependency(node, location=at)
            elif isinstance(node, dict):
                entry = ObjectReader(node, at, self.problems)
                trigger = entry.choice("Trigger", tuple(Trigger)) or Trigger.COMPLETED
                if (upstream := entry.text("Step", required=True)) is None:
                    continue
                dependency = Dependency(upstream, Trigger(trigger), at)
            else:
                self.problems.add(at, f"is {json_type(node)}", 'Write a step\'s name or {"Step": …, "Trigger": …}')
                continue
            first = dependencies.setdefault(dependency.step, dependency)
            if first.trigger is not dependency.trigger:
                self.problems.add(
                    at,
                    f"'{dependency.step}' is listed with two triggers",
                    f"Keep {first.trigger} or {dependency.trigger}",
                )
        return tuple(dependencies.values())


def _members(reader: ObjectReader, values: ValueParser) -> Mapping[str, Value]:
    """Parse the members of an object that itself is never an expression, whatever its keys."""
    return MappingProxyType({key: values.parse(item, (*reader.at, key)) for key, item in reader.node.items()})


def _without_nested_steps(node: Mapping[str, Any]) -> Mapping[str, Any]:
    arguments = node.get("Arguments")
    if not isinstance(arguments, dict) or not any(key in arguments for key in _NESTED_STEPS):
        return node
    own = {key: item for key, item in arguments.items() if key not in _NESTED_STEPS}
    return {**node, "Arguments": own}


def _read_output_parameters(step: ObjectReader) -> Mapping[str, ParameterType]:
    if not step.has("OutputParameters"):
        return EMPTY
    outputs: dict[str, ParameterType] = {}
    for node, at in step.items("OutputParameters"):
        reader = ObjectReader.of(node, at, step.problems)
        name = reader.text("OutputName", required=True)
        kind = reader.choice("OutputType", PARAMETER_TYPES) or ParameterType.STRING
        if name is not None:
            if name in outputs:
                reader.problem("OutputName", f"'{name}' is declared twice", "Remove one")
            outputs[name] = ParameterType(kind)
    return MappingProxyType(outputs)


def _read_property_files(step: ObjectReader, arguments: ObjectReader, kind: StepType) -> Mapping[str, PropertyFile]:
    if not step.has("PropertyFiles"):
        return EMPTY
    if kind is not StepType.PROCESSING:
        step.problem("PropertyFiles", f"stands on a {kind} step", "Only Processing steps have property files")
    files: dict[str, PropertyFile] = {}
    outputs = _output_names(arguments)
    for node, at in step.items("PropertyFiles"):
        reader = ObjectReader.of(node, at, step.problems)
        name, output, path = (reader.text(key, required=True) for key in ("PropertyFileName", "OutputName", "FilePath"))
        if output is not None and output not in outputs and kind is StepType.PROCESSING:
            reader.problem("OutputName", f"the step has no output '{output}'", nearest(output, outputs))
        if name is not None:
            if name in files:
                reader.problem("PropertyFileName", f"'{name}' is declared twice", "Rename one")
            files[name] = PropertyFile(name=name, output_name=output or "", file_path=path or "")
    return MappingProxyType(files)


def _output_names(arguments: ObjectReader) -> set[str]:
    config = arguments.node.get("ProcessingOutputConfig")
    outputs = config.get("Outputs") if isinstance(config, dict) else None
    names = (
        (item.get("OutputName") for item in outputs or () if isinstance(item, dict))
        if isinstance(outputs, list)
        else ()
    )
    return {name for name in names if isinstance(name, str)}
