"""Events of executions and their steps on EventBridge's default bus.

Names and members are those of "Amazon SageMaker AI events" in EventBridge's events reference; unlike the events of
jobs they are in lower camel case. The ``metadata`` of other steps than Processing is written the same way by analogy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..events import send
from .documents import present
from .step_run import FAILED

if TYPE_CHECKING:
    from .execution import Execution
    from .step_run import StepRun

_EXECUTION = "SageMaker Model Building Pipeline Execution Status Change"
_STEP = "SageMaker Model Building Pipeline Execution Step Status Change"


def execution_changed(execution: Execution, previous: str | None) -> None:
    """Send the event of an execution's new status."""

    def detail() -> dict[str, Any]:
        return present(
            {
                "pipelineExecutionDisplayName": execution.display_name,
                "currentPipelineExecutionStatus": execution.status,
                "previousPipelineExecutionStatus": previous,
                "executionStartTime": iso(execution.started),
                "executionEndTime": iso(execution.ended) if execution.ended else None,
                "pipelineExecutionDescription": execution.description,
                "pipelineArn": execution.pipeline.arn,
                "pipelineExecutionArn": execution.arn,
            }
        )

    _send(execution, _EXECUTION, detail)


def step_changed(execution: Execution, run: StepRun, previous: str | None) -> None:
    """Send the event of a step's new status."""

    def detail() -> dict[str, Any]:
        return present(
            {
                "metadata": lower_camel(run.metadata),
                "stepStartTime": iso(run.started),
                "stepEndTime": iso(run.ended) if run.ended else None,
                "stepName": run.name,
                "stepType": str(run.step.type),
                "previousStepStatus": previous,
                "currentStepStatus": run.status,
                "cacheHitResult": {"sourcePipelineExecutionArn": run.cache_source} if run.cache_source else None,
                "failureReason": run.failure_reason if run.status == FAILED else None,
                "pipelineArn": execution.pipeline.arn,
                "pipelineExecutionArn": execution.arn,
            }
        )

    _send(execution, _STEP, detail)


def iso(moment: float) -> str:
    """Write a time as these events do."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


#: Members whose keys are names that users gave.
_MAPS_OF_NAMES = frozenset({"ActionArns", "ArtifactArns", "ContextArns"})


def lower_camel(node: Any) -> Any:
    """Write the members of the API's metadata in lower camel case: ``emr`` and ``emrServerless``, ``autoMLJob``."""
    if isinstance(node, list):
        return [lower_camel(item) for item in node]
    if isinstance(node, dict):
        return {_lower(key): item if key in _MAPS_OF_NAMES else lower_camel(item) for key, item in node.items()}
    return node


def _lower(member: str) -> str:
    if member.startswith("EMR"):
        return f"emr{member[3:]}"
    return member[:1].lower() + member[1:]


def _send(execution: Execution, detail_type: str, detail: Callable[[], Mapping[str, Any]]) -> None:
    store = execution.home.engine.store
    send(
        account=store.account,
        region=store.region,
        source="aws.sagemaker",
        detail_type=detail_type,
        resources=[execution.pipeline.arn, execution.arn],
        detail=detail,
    )
