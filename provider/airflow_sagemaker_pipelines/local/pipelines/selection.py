"""Selective execution: some steps run, those they need are reused from an earlier execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import PipelineDefinition, StepSelectionError

from ..errors import AwsError, validation_error
from .fates import COMPLETED_WITH_FAILURES, WANTED
from .step_run import FAILED, STOPPED, SUCCEEDED, StepRun

if TYPE_CHECKING:
    from .execution import Execution
    from .store import Pipeline, Pipelines

_SOURCE_STATUSES = frozenset({SUCCEEDED, FAILED, COMPLETED_WITH_FAILURES})


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """What a selective execution runs, and what it takes over."""

    wanted: frozenset[str]
    reused: Mapping[str, StepRun] = field(default_factory=dict)


def select(home: Pipelines, pipeline: Pipeline, definition: PipelineDefinition, config: Mapping[str, Any]) -> Reuse:
    """Work out what runs and what is reused.

    :raises AwsError: ValidationException if the steps do not fit together, or the source cannot give what they need.
    """
    names = [item["StepName"] for item in config["SelectedSteps"]]
    try:
        selection = definition.graph.select(names)
    except StepSelectionError as error:
        raise validation_error(f"Invalid SelectedSteps. {'; '.join(map(str, error.problems))}") from error
    arn = config.get("SourcePipelineExecutionArn")
    if not selection.reused and arn is None:
        return Reuse(wanted=frozenset(selection.selected))
    source = None if arn is None else _source(home, pipeline, arn)
    if source is None:
        raise validation_error(
            f"Invalid SourcePipelineExecutionArn: null. The selected steps [{', '.join(selection.selected)}] have "
            f"dependencies on [{', '.join(selection.reused)}]"
        )
    return Reuse(
        wanted=frozenset(selection.selected),
        reused=_reused(home, definition, selection.selected, selection.reused, source),
    )


def _source(home: Pipelines, pipeline: Pipeline, arn: str) -> Execution:
    try:
        source = home.execution(arn)
    except AwsError as error:
        raise validation_error(f"Invalid SourcePipelineExecutionArn: {arn}. {error.message}") from error
    if source.pipeline is not pipeline:
        raise validation_error(
            f"Invalid SourcePipelineExecutionArn: {arn}. It is not an execution of pipeline {pipeline.name}."
        )
    allowed = _SOURCE_STATUSES | ({STOPPED} if home.engine.state.pipelines.source_stopped else set())
    if source.status not in allowed:
        raise validation_error(
            f"Invalid SourcePipelineExecutionArn: {arn}. The execution is in status {source.status}."
        )
    return source


def _reused(
    home: Pipelines,
    definition: PipelineDefinition,
    selected: tuple[str, ...],
    reused: tuple[str, ...],
    source: Execution,
) -> dict[str, StepRun]:
    found: dict[str, StepRun] = {}
    missing: list[str] = []
    for name in reused:
        run = source.runs.get(name)
        triggers = {edges[name] for step in selected if name in (edges := definition.graph.upstreams[step])}
        if run is not None and all(run.status in WANTED[trigger] for trigger in triggers):
            found[name] = run
        else:
            missing.append(name)
    if missing and home.engine.state.pipelines.source_checked_at_start:
        raise validation_error(
            f"Invalid SourcePipelineExecutionArn: {source.arn}. The selected steps depend on steps "
            f"[{', '.join(missing)}], which did not succeed in that execution."
        )
    return found
