"""Run Amazon SageMaker Pipelines definitions as Apache Airflow DAGs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.dags import pipeline_dag, pipeline_task_group, watch_pipeline_execution
    from airflow_sagemaker_pipelines.definition import (
        PipelineDefinitionError,
        PipelineParameterError,
        load_definition,
    )

__version__ = "0.1.0"

__all__ = [
    "PipelineDefinitionError",
    "PipelineParameterError",
    "load_definition",
    "pipeline_dag",
    "pipeline_task_group",
    "watch_pipeline_execution",
]

_HOMES = {
    "PipelineDefinitionError": "definition",
    "PipelineParameterError": "definition",
    "load_definition": "definition",
    "pipeline_dag": "dags",
    "pipeline_task_group": "dags",
    "watch_pipeline_execution": "dags",
}


def __getattr__(name: str) -> Any:
    # Reading a definition should not import Airflow.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
