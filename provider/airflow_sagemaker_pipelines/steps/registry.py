"""Finds the runner of a step type: every class in ``steps/types/`` that has a ``step_type``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps import types
from airflow_sagemaker_pipelines.steps.runner import StepRunner


@cache
def runners() -> Mapping[StepType, StepRunner]:
    """Return the runner of each step type."""
    found: dict[StepType, StepRunner] = {}
    for module_info in pkgutil.iter_modules(types.__path__, f"{types.__name__}."):
        module = importlib.import_module(module_info.name)
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, StepRunner) and cls.__module__ == module.__name__ and hasattr(cls, "step_type"):
                found[cls.step_type] = cls()
    return found


def runner_of(kind: StepType) -> StepRunner:
    """Return the runner of one step type.

    :raises NotImplementedError: if Airflow cannot run steps of this type.
    """
    try:
        return runners()[kind]
    except KeyError:
        raise NotImplementedError(f"steps of type {kind} cannot run with orchestrator='airflow'") from None
