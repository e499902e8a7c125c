"""A whole pipeline definition, as an immutable value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from airflow_sagemaker_pipelines.definition.expressions import Value, empty
from airflow_sagemaker_pipelines.definition.graph import Graph, upstreams
from airflow_sagemaker_pipelines.definition.parameters import Parameter
from airflow_sagemaker_pipelines.definition.steps import ForEachStep, Step

#: The only version of the definition language.
VERSION = "2020-12-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """The experiment and the run group ("trial") that an execution's jobs belong to."""

    experiment_name: Value
    trial_name: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowConfig:
    """The MLflow server and experiment that an execution's jobs log to."""

    resource_arn: str
    experiment_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class PipelineDefinition:
    """What a pipeline says."""

    version: str = VERSION
    metadata: Mapping[str, str] = field(default_factory=empty)
    parameters: Mapping[str, Parameter]
    """By name, in the document's order."""
    steps: tuple[Step, ...]
    """The top level; branches and loop bodies are inside their steps."""
    all_steps: Mapping[str, Step]
    """Every step by name, those in branches and loop bodies included, in the document's order."""
    graph: Graph = field(repr=False, compare=False)
    """The dependencies among all steps outside loop bodies."""
    experiment_config: ExperimentConfig | None = None
    """``None`` when absent or null: no experiment."""
    mlflow_config: MlflowConfig | None = None
    source: str = field(repr=False, compare=False)
    """The definition's own JSON, compact; what is deployed."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the definition in canonical JSON; equal definitions have equal digests whatever their layout."""
        canonical = msgspec.json.encode(msgspec.json.decode(self.source), order="sorted")
        return hashlib.sha256(canonical).hexdigest()

    def body_upstreams(self, loop: ForEachStep) -> Mapping[str, tuple[str, ...]]:
        """Return, for each step of a loop's body, those of the body that it waits for."""
        names = {step.name for step in loop.body}
        return {step.name: tuple(name for name in upstreams(step) if name in names) for step in loop.body}

    def __deepcopy__(self, memo: dict[int, object]) -> PipelineDefinition:
        return self
