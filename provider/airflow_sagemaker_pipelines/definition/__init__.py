"""What a pipeline says: text to a typed model, expressions, conditions, graph. Knows neither Airflow nor boto3."""

from __future__ import annotations

from airflow_sagemaker_pipelines.definition.conditions import evaluate
from airflow_sagemaker_pipelines.definition.errors import (
    ExpressionError,
    PipelineDefinitionError,
    PipelineParameterError,
    Problem,
    StepSelectionError,
)
from airflow_sagemaker_pipelines.definition.expressions import ExecutionVariable
from airflow_sagemaker_pipelines.definition.graph import Graph, Selection
from airflow_sagemaker_pipelines.definition.load import DefinitionSource, load_definition
from airflow_sagemaker_pipelines.definition.model import PipelineDefinition
from airflow_sagemaker_pipelines.definition.parameters import (
    Parameter,
    ParameterType,
    parse_scalar,
    start_values,
)
from airflow_sagemaker_pipelines.definition.resolve import Scope, resolve
from airflow_sagemaker_pipelines.definition.steps import (
    ConditionStep,
    Dependency,
    ForEachStep,
    Step,
    StepType,
    Trigger,
)

__all__ = [
    "ConditionStep",
    "DefinitionSource",
    "Dependency",
    "ExecutionVariable",
    "ExpressionError",
    "ForEachStep",
    "Graph",
    "Parameter",
    "ParameterType",
    "PipelineDefinition",
    "PipelineDefinitionError",
    "PipelineParameterError",
    "Problem",
    "Scope",
    "Selection",
    "Step",
    "StepSelectionError",
    "StepType",
    "Trigger",
    "evaluate",
    "load_definition",
    "parse_scalar",
    "resolve",
    "start_values",
]
