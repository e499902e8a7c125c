"""From pipeline parameters to the fields of Airflow's trigger form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from airflow_sagemaker_pipelines.definition import Parameter, ParameterType, PipelineDefinition
from airflow_sagemaker_pipelines.operators.admission import REUSE_FROM_RUN, SELECTED_STEPS
from airflow_sagemaker_pipelines.operators.pipeline import is_template

_JSON_SCHEMA_TYPES = {
    ParameterType.STRING: "string",
    ParameterType.INTEGER: "integer",
    ParameterType.FLOAT: "number",
    ParameterType.BOOLEAN: "boolean",
}
_SELECTION = "Run only some steps"


def pipeline_params(definition: PipelineDefinition, given: Mapping[str, object]) -> dict[str, Param]:
    """Return the params of a pipeline's DAG: its parameters, and the selection of steps.

    :param given: the author's values.
    """
    params = {name: _param(parameter, given) for name, parameter in definition.parameters.items()}
    # A pipeline's own parameter of the same name comes first; such a pipeline has no selection.
    return _selection_params(definition) | params


def _param(parameter: Parameter, given: Mapping[str, object]) -> Param:
    schema: dict[str, Any] = {"type": _JSON_SCHEMA_TYPES[parameter.type]}
    if parameter.enum_values:
        schema["enum"] = list(parameter.enum_values)
    value = given.get(parameter.name, parameter.default)
    if is_template(value):
        # The form shows the author's template, which is text whatever the parameter's type, and none of the enum.
        schema["type"] = [schema["type"], "string"] if schema["type"] != "string" else "string"
        if "enum" in schema:
            schema["enum"].append(value)
    elif value is not None:
        value = parameter.parse(value)
    if parameter.description:
        schema["description"] = parameter.description
    return Param(value, **schema) if value is not None else Param(**schema)


def _selection_params(definition: PipelineDefinition) -> dict[str, Param]:
    return {
        SELECTED_STEPS: Param(
            None,
            type=["null", "array"],
            examples=list(definition.graph.upstreams),
            section=_SELECTION,
            title="Steps",
            description="Run these alone; all steps if empty.",
        ),
        REUSE_FROM_RUN: Param(
            None,
            type=["null", "string"],
            section=_SELECTION,
            title="Outputs from run",
            description="The run whose outputs the selected steps use.",
        ),
    }
