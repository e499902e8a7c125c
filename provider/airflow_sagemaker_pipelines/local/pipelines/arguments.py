"""What CreatePipeline and UpdatePipeline refuse in a definition, in the words of reports about AWS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import (
    ConditionStep,
    PipelineDefinition,
    PipelineDefinitionError,
    Step,
    StepType,
    load_definition,
)
from airflow_sagemaker_pipelines.definition.expressions import Get, Join, JsonGet, ParameterReference, Value
from airflow_sagemaker_pipelines.definition.parameters import Parameter, ParameterType

from ..errors import AwsError, validation_error
from ..service_model import operation_model
from ..validation import validate
from .calls import fitted
from .context import NAME_MEMBERS
from .documents import without_nulls

if TYPE_CHECKING:
    from botocore.model import Shape

    from .settings import PipelineSettings

_OPERATIONS: Mapping[StepType, str] = {
    StepType.PROCESSING: "CreateProcessingJob",
    StepType.QUALITY_CHECK: "CreateProcessingJob",
    StepType.CLARIFY_CHECK: "CreateProcessingJob",
    StepType.TRAINING: "CreateTrainingJob",
    StepType.TUNING: "CreateHyperParameterTuningJob",
    StepType.TRANSFORM: "CreateTransformJob",
    StepType.AUTO_ML: "CreateAutoMLJob",
    StepType.MODEL: "CreateModel",
    StepType.REGISTER_MODEL: "CreateModelPackage",
    StepType.ENDPOINT_CONFIG: "CreateEndpointConfig",
    StepType.ENDPOINT: "CreateEndpoint",
    StepType.INFERENCE_COMPONENT: "CreateInferenceComponent",
    StepType.JOB: "CreateJob",
}
# Members that the service takes and botocore's model does not have: SDK 3's templates hold them.
_BEYOND_THE_MODEL = {StepType.JOB: frozenset({"VpcConfig"}), StepType.ENDPOINT: frozenset({"DeploymentConfig"})}
# Text into a member of another type, and the like.
_ACCEPTED = {
    "string": frozenset({ParameterType.STRING}),
    "integer": frozenset({ParameterType.INTEGER}),
    "long": frozenset({ParameterType.INTEGER}),
    "float": frozenset({ParameterType.FLOAT, ParameterType.INTEGER}),
    "double": frozenset({ParameterType.FLOAT, ParameterType.INTEGER}),
    "boolean": frozenset({ParameterType.BOOLEAN}),
}
_WORDS = {"list": "Array", "structure": "Object", "map": "Object"}
_PARSE = "Unable to parse pipeline definition. "
# What may be given at run time is not missing; of lists and maps nobody has reported more than what is in them.
_NOT_REFUSED = re.compile(r"Member must not be null|^Value '[\[{]")


def read_definition(text: str, settings: PipelineSettings) -> PipelineDefinition:
    """Read a definition as CreatePipeline does.

    :raises AwsError: ValidationException with everything that is wrong.
    """
    try:
        definition = load_definition(text.encode())
    except PipelineDefinitionError as error:
        raise validation_error(_PARSE + " ".join(map(str, error.problems))) from error
    _check_conditions(definition, settings)
    if settings.check_arguments:
        for step in definition.all_steps.values():
            _check_arguments(step, definition.parameters)
    return definition


def _check_conditions(definition: PipelineDefinition, settings: PipelineSettings) -> None:
    for step in definition.all_steps.values():
        if isinstance(step, ConditionStep) and step.branch is not None and not settings.nested_conditions:
            raise validation_error(f"{_PARSE}Condition step {step.name} cannot be nested in a condition step")
        for dependency in step.depends_on:
            upstream = definition.all_steps[dependency.step]
            if upstream.type is StepType.CONDITION and not settings.depends_on_condition:
                raise validation_error(f"{step.name} can not depends on ConditionStep {upstream.name}")


def _check_arguments(step: Step, parameters: Mapping[str, Parameter]) -> None:
    model = operation_model(_OPERATIONS.get(step.type, ""))
    if model is None or model.input_shape is None:
        return
    known: Any = model.input_shape
    extra = _BEYOND_THE_MODEL.get(step.type, frozenset())
    arguments = {name: value for name, value in step.arguments.items() if name not in extra}
    problems = list(_problems(known, arguments, parameters))
    if problems:
        raise validation_error(_PARSE + problems[0])
    _check_literals(step, known, arguments)


def _problems(shape: Any, value: Value, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    match value:
        case None | JsonGet() | Join():
            return
        case Get(ParameterReference(name)):
            accepted = _ACCEPTED.get(shape.type_name)
            if accepted is not None and parameters[name].type not in accepted:
                kind = "Float" if shape.type_name == "double" else shape.type_name.title()
                yield f"Cannot assign property reference [Parameters.{name}] to argument of type {kind}"
        case Get():
            return
        case tuple():
            if shape.type_name != "list":
                yield f"Expecting start of Json {_WORDS.get(shape.type_name, 'value')}"
                return
            for item in value:
                yield from _problems(shape.member, item, parameters)
        case Mapping():
            yield from _object_problems(shape, value, parameters)
        case _:
            if shape.type_name in _WORDS:
                yield f"Expecting start of Json {_WORDS[shape.type_name]}"


def _object_problems(shape: Any, value: Mapping[str, Value], parameters: Mapping[str, Parameter]) -> Iterator[str]:
    if shape.type_name == "map":
        for item in value.values():
            yield from _problems(shape.value, item, parameters)
    elif shape.type_name == "structure":
        for name, item in value.items():
            if name not in shape.members:
                yield f"Unknown Argument member '{name}'"
            else:
                yield from _problems(shape.members[name], item, parameters)
    else:
        yield f"Expecting start of Json {_WORDS.get(shape.type_name, 'value')}"


def _check_literals(step: Step, shape: Shape, arguments: Mapping[str, Value]) -> None:
    """Refuse texts and numbers that the target call would refuse, whatever the expressions beside them give."""
    name_member = NAME_MEMBERS.get(step.type)
    literals = {
        name: item
        for name, value in arguments.items()
        if name != name_member and (item := _literal(value)) is not _UNKNOWN
    }
    try:
        validate(shape, fitted(shape, without_nulls(literals)))
    except AwsError as error:
        count, _, text = error.message.partition(": ")
        broken = [item for item in (text or count).split("; ") if not _NOT_REFUSED.search(item)]
        if broken:
            raise validation_error(f"{_PARSE}Model Validation failed: {'; '.join(broken)}") from error


_UNKNOWN = object()


def _literal(value: Value) -> Any:
    """Return a value without what is known only at run time."""
    match value:
        case Get() | Join() | JsonGet():
            return _UNKNOWN
        case tuple():
            items = [_literal(item) for item in value]
            return _UNKNOWN if any(item is _UNKNOWN for item in items) else items
        case Mapping():
            members = {name: _literal(item) for name, item in value.items()}
            return {name: item for name, item in members.items() if item is not _UNKNOWN}
        case _:
            return value
