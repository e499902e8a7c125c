"""Cached steps: an earlier success of the same step of the same pipeline, with equal attributes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import StepType

from .step_run import SUCCEEDED, Outcome, StepRun

if TYPE_CHECKING:
    from .context import Context
    from .execution import Execution

_CHECK_SETTINGS = (
    "CheckType", "ModelName", "SkipCheck", "RegisterNewBaseline", "ModelPackageGroupName",
    "SuppliedBaselineConstraints", "SuppliedBaselineStatistics",
)  # fmt: skip


def _members(*names: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda arguments: {name: arguments.get(name) for name in names}


def _tuning(arguments: Mapping[str, Any]) -> Any:
    definition = arguments.get("TrainingJobDefinition") or {}
    members = (
        "AlgorithmSpecification",
        "HyperParameterRanges",
        "InputDataConfig",
        "StaticHyperParameters",
        "TuningObjective",
    )
    return {
        "HyperParameterTuningJobConfig": arguments.get("HyperParameterTuningJobConfig"),
        "TrainingJobDefinition": {name: definition.get(name) for name in members},
        "TrainingJobDefinitions": arguments.get("TrainingJobDefinitions"),
    }


def _auto_ml(arguments: Mapping[str, Any]) -> Any:
    config = arguments.get("AutoMLJobConfig") or {}
    return {
        **{name: arguments.get(name) for name in ("AutoMLJobObjective", "InputDataConfig", "ProblemType")},
        **{
            name: config.get(name)
            for name in ("CompletionCriteria", "CandidateGenerationConfig", "DataSplitConfig", "Mode")
        },
    }


def _whole(arguments: Mapping[str, Any]) -> Any:
    return arguments


# What counts, by type: "Caching pipeline steps" in the developer guide. Everything else (role, instances, outputs,
# tags, names) does not.
_ATTRIBUTES: Mapping[StepType, Callable[[Mapping[str, Any]], Any]] = {
    StepType.PROCESSING: _members("AppSpecification", "Environment", "ProcessingInputs"),
    StepType.TRAINING: _members(
        "AlgorithmSpecification", "CheckpointConfig", "DebugHookConfig", "DebugRuleConfigurations", "Environment",
        "HyperParameters", "InputDataConfig",
    ),
    StepType.TUNING: _tuning,
    StepType.AUTO_ML: _auto_ml,
    StepType.TRANSFORM: _members("DataProcessing", "Environment", "ModelName", "TransformInput"),
    StepType.QUALITY_CHECK: _whole,
    StepType.CLARIFY_CHECK: _whole,
    StepType.EMR: _members("ClusterId", "ClusterConfig", "StepConfig"),
}  # fmt: skip
_UNDOCUMENTED = frozenset(
    {
        StepType.LAMBDA,
        StepType.CALLBACK,
        StepType.ENDPOINT_CONFIG,
        StepType.ENDPOINT,
        StepType.EMR_SERVERLESS,
        StepType.JOB,
    }
)
_UNDOCUMENTED_SETTINGS = ("FunctionArn", "SqsQueueUrl")


def find(context: Context) -> Outcome | None:
    """Return the outcome of an earlier equal step, or None. It also notes what makes this one equal to others."""
    run, config = context.run, context.step.cache_config
    run.cache_key = _key(context)
    if not config.enabled or run.cache_key is None:
        return None
    run.cache_source = ""
    hit = context.execution.pipeline.cache.get(run.cache_key)
    if hit is None:
        return None
    source, arn = hit
    if config.expire_after is not None:
        earliest = config.expire_after.before(datetime.now(UTC))
        if datetime.fromtimestamp(source.ended or 0, UTC) < earliest:
            return None
    run.cache_source, run.metadata, run.resource_arn = arn, source.metadata, source.resource_arn
    return Outcome(outputs=source.outputs)


def keep(execution: Execution, run: StepRun) -> None:
    """Note a success that later executions may find; what is itself from a cache is not one."""
    if run.cache_key is not None and run.status == SUCCEEDED and not run.cache_source:
        with execution.home.lock:
            execution.pipeline.cache[run.cache_key] = (run, execution.arn)


def _key(context: Context) -> str | None:
    kind = context.step.type
    attributes = _ATTRIBUTES.get(kind)
    if attributes is None and kind in _UNDOCUMENTED and context.settings.cache_undocumented:
        attributes = _whole
    if attributes is None or not _is_of_use(context):
        return None
    document = [context.step.name, kind, attributes(context.arguments), _settings(context)]
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def _is_of_use(context: Context) -> bool:
    # Working a key out takes time, and a definition without caching may get it in a later version only.
    return context.step.cache_config.enabled or context.step.type in _ATTRIBUTES


def _settings(context: Context) -> Any:
    if context.step.type in (StepType.QUALITY_CHECK, StepType.CLARIFY_CHECK):
        return {name: context.setting(name) for name in _CHECK_SETTINGS}
    if context.step.type in _UNDOCUMENTED:
        return {name: context.setting(name) for name in _UNDOCUMENTED_SETTINGS}
    return None
