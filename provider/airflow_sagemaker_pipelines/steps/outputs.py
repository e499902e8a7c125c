"""Output parameters that Lambda and Callback steps declare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_sagemaker_pipelines.definition import ParameterType, Step, parse_scalar
from airflow_sagemaker_pipelines.steps.errors import StepRequestError


def declared_outputs(step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declared outputs among the values, in their types.

    An output without a value fails the step that refers to it, not this one; AWS does not say.

    :raises StepRequestError: if a value does not have its type.
    """
    declared = step.output_parameters
    return {
        name: typed_output(step.name, name, kind, values[name]) for name, kind in declared.items() if name in values
    }


def typed_output(step: str, name: str, kind: ParameterType, value: Any) -> Any:
    """Give an output its declared type; nested values become one JSON string.

    :raises StepRequestError: if the value does not have the type.
    """
    if isinstance(value, dict | list) or value is None or (kind is ParameterType.STRING and not isinstance(value, str)):
        # Operators of the DAG's author may leave times and the like in XCom.
        value = json.dumps(value, default=str)
    try:
        return parse_scalar(kind, value)
    except ValueError as error:
        raise StepRequestError(f"its output '{name}' is declared as {kind}: {error}", step=step) from error
