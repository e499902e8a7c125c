"""What becomes of steps that have not started, and of an execution when nothing goes on any more."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.definition import Step, StepType, Trigger

from .step_run import FAILED, STOPPED, STOPPING, SUCCEEDED, StepRun

if TYPE_CHECKING:
    from .execution import Execution

COMPLETED_WITH_FAILURES = "CompletedWithFailures"


class Fate(Enum):
    """What is to be expected of a step."""

    READY = auto()
    WAITING = auto()
    NEVER = auto()
    RUNNING = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    STOPPED = auto()


_OF_STATUS = {SUCCEEDED: Fate.SUCCEEDED, FAILED: Fate.FAILED, STOPPED: Fate.STOPPED}
_OPEN = frozenset({Fate.READY, Fate.WAITING, Fate.RUNNING})
# The statuses of an upstream step that meet a dependency.
WANTED = {
    Trigger.COMPLETED: frozenset({SUCCEEDED}),
    Trigger.FAILED: frozenset({FAILED}),
    Trigger.STOPPED: frozenset({STOPPED}),
    Trigger.ANY: frozenset({SUCCEEDED, FAILED, STOPPED}),
}
_WANTED_FATES = {trigger: frozenset(_OF_STATUS[status] for status in statuses) for trigger, statuses in WANTED.items()}


def of(execution: Execution) -> dict[str, Fate]:
    """Return the fate of every step outside of loops."""
    found: dict[str, Fate] = {}
    halted = not execution.settings.new_steps_after_failure and any(
        run.status == FAILED for run in execution.runs.values()
    )
    wanted = execution.start.wanted
    for name in execution.version.order:
        run = execution.runs.get(name)
        if run is not None:
            found[name] = _OF_STATUS.get(run.status, Fate.RUNNING)
        elif wanted is not None and name not in wanted:
            found[name] = Fate.NEVER
        else:
            found[name] = _outlook(execution, execution.definition.all_steps[name], found)
            if found[name] is Fate.READY and halted and not _is_handler(execution, name):
                found[name] = Fate.NEVER
    return found


def _outlook(execution: Execution, step: Step, found: dict[str, Fate]) -> Fate:
    """Return the fate of a step that has not started: all its dependencies must be met."""
    open_ones = False
    for name, trigger in execution.definition.graph.upstreams[step.name].items():
        fate = found[name]
        if fate in _OPEN:
            open_ones = True
        elif not _is_met(execution, trigger, fate) or _is_other_branch(execution, step, name):
            return Fate.NEVER
    return Fate.WAITING if open_ones else Fate.READY


def _is_met(execution: Execution, trigger: Trigger, fate: Fate) -> bool:
    if fate is Fate.NEVER:
        return trigger is Trigger.ANY and execution.settings.any_takes_skipped
    return fate in _WANTED_FATES[trigger]


def _is_other_branch(execution: Execution, step: Step, upstream: str) -> bool:
    if step.branch is None or step.branch.condition != upstream:
        return False
    outputs = execution.runs[upstream].outputs if upstream in execution.runs else None
    return outputs is None or outputs["Outcome"] is not step.branch.outcome


def _is_handler(execution: Execution, name: str) -> bool:
    """Tell whether a step is there for a failure, or comes after one that is."""
    upstreams = execution.definition.graph.upstreams
    above = [name, *execution.definition.graph.reach(name, up=True)]
    return any(trigger is not Trigger.COMPLETED for step in above for trigger in upstreams[step].values())


def conclusion(execution: Execution) -> str:
    """Return the status of an execution in which nothing goes on any more."""
    runs = [run for run in execution.runs.values() if run.iteration is None and run.selective_source is None]
    if execution.status == STOPPING:
        # A Lambda function that outlives its step's time fails the execution that waits for it.
        return FAILED if any(run.timed_out for run in runs) else STOPPED
    bad = [run for run in runs if run.status in (FAILED, STOPPED)]
    if not bad:
        return SUCCEEDED
    unhandled = [run for run in bad if not _is_handled(execution, run)]
    if len(unhandled) < len(bad) and not execution.settings.unhandled_failure_fails:
        return COMPLETED_WITH_FAILURES
    if not unhandled:
        return COMPLETED_WITH_FAILURES
    if all(run.status == STOPPED for run in unhandled):
        return execution.settings.stopped_step_execution_status
    return FAILED


def _is_handled(execution: Execution, run: StepRun) -> bool:
    """Tell whether a step has run because this one did not succeed."""
    if run.step.type is StepType.FAIL:
        return False
    graph = execution.definition.graph
    return any(
        name in execution.runs and graph.upstreams[name][run.name] is not Trigger.COMPLETED
        for name in graph.downstreams(run.name)
    )
