"""ForEach steps: their items, the steps of each iteration, and what they come to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import ExpressionError, ForEachStep, Step
from airflow_sagemaker_pipelines.definition.paths import follow

from .calls import StepError
from .step_run import FAILED, STOPPED, STOPPING, SUCCEEDED, Iteration, Outcome, StepRun

if TYPE_CHECKING:
    from .context import Context
    from .execution import Execution

# The API's limit for an iteration's Item.
_ITEM_LENGTH = 12_800


@dataclass(frozen=True, kw_only=True)
class Child:
    """A body step of one iteration, which has not started."""

    step: Step
    name: str
    iteration: Iteration


def begin(context: Context) -> None:
    """Read a loop's items; its steps start on their own."""
    step = _loop(context.run)
    items = context.resolve(step.iterable_items)
    if isinstance(items, str):
        with suppress(ValueError):
            items = json.loads(items)
    if not isinstance(items, list):
        raise StepError(f"IterableItems is {str(items)[:200]!r}, not a JSON list")
    context.run.items = items
    _forget_children_of_other_items(context.execution, context.run)


def _forget_children_of_other_items(execution: Execution, loop: StepRun) -> None:
    """Keep, in a retry, what succeeded for the same item."""
    items = loop.items or []
    for name, run in list(execution.runs.items()):
        at = run.iteration
        if at and at.loop == loop.name and (at.index >= len(items) or items[at.index] != at.item):
            del execution.runs[name]


def _loop(run: StepRun) -> ForEachStep:
    if not isinstance(run.step, ForEachStep):
        raise TypeError(f"{run.name} is no loop")
    return run.step


def _children(execution: Execution, loop: StepRun) -> list[StepRun]:
    return [run for run in execution.runs.values() if run.iteration and run.iteration.loop == loop.name]


def ready(execution: Execution, loop: StepRun) -> Iterator[Child]:
    """Yield the steps of iterations that can start."""
    if loop.status == STOPPING:
        return
    step = _loop(loop)
    if not execution.settings.loop_goes_on and any(run.status == FAILED for run in _children(execution, loop)):
        return
    upstreams = execution.definition.body_upstreams(step)
    for index, item in enumerate(loop.items or ()):
        for child in step.body:
            name = f"{child.name}-{index}"
            if name in execution.runs:
                continue
            above = [execution.runs.get(f"{upstream}-{index}") for upstream in upstreams[child.name]]
            if all(run is not None and run.status == SUCCEEDED for run in above):
                text = item if isinstance(item, str) else json.dumps(item)
                at = Iteration(loop=loop.name, index=index, item=item, text=text[:_ITEM_LENGTH])
                yield Child(step=child, name=name, iteration=at)


def has_slot(execution: Execution, loop: StepRun) -> bool:
    """Tell whether one more step of a loop may run."""
    return sum(not run.is_over for run in _children(execution, loop)) < _loop(loop).max_concurrency


def close(execution: Execution, loop: StepRun) -> bool:
    """End a loop in which nothing goes on or can start any more; tell whether it has ended."""
    children = _children(execution, loop)
    if loop.is_over or loop.items is None or any(not run.is_over for run in children):
        return False
    if execution.status != STOPPING and next(ready(execution, loop), None) is not None:
        return False
    try:
        outcome = _outcome(execution, loop, children)
    except ExpressionError as error:
        outcome = Outcome(status=FAILED, reason=f"ClientError: {error}")
    execution.end(loop, outcome)
    return True


def _outcome(execution: Execution, loop: StepRun, children: list[StepRun]) -> Outcome:
    items = loop.items or []
    counts = {status: sum(run.status == status for run in children) for status in (SUCCEEDED, FAILED, STOPPED)}
    if counts[FAILED]:
        status = FAILED
    elif counts[STOPPED] or loop.status == STOPPING:
        status = STOPPED
    else:
        status = SUCCEEDED if items else execution.settings.empty_loop
    summary: dict[str, Any] = {
        "Status": status,
        "InputItemCount": len(items),
        "TotalStepCount": len(items) * len(_loop(loop).body),
        "SucceededStepCount": counts[SUCCEEDED],
        "FailedStepCount": counts[FAILED],
        "StoppedStepCount": counts[STOPPED],
    }
    iterations: list[dict[str, Any]] = [{} for _ in items]
    for run in children:
        if run.status == SUCCEEDED and run.iteration:
            iterations[run.iteration.index][run.step.name] = run.outputs
    outputs = {**summary, "IterationOutputs": iterations}
    selected = _selected(execution, loop, iterations) if status == SUCCEEDED else None
    if selected is not None:
        name, index = selected
        summary["Selector"] = {"StepName": name, "Index": index}
        outputs["Selected"] = iterations[index][name]
    loop.metadata = {"ForEach": summary}
    failed = [run.name for run in children if run.status == FAILED]
    reason = f"Iterations failed: {', '.join(failed)}" if failed else None
    if status == FAILED and not items:
        reason = "The loop has no items"
    return Outcome(status=status, outputs=outputs, reason=reason)


def _selected(execution: Execution, loop: StepRun, iterations: list[dict[str, Any]]) -> tuple[str, int] | None:
    selector = _loop(loop).selector
    if selector is None:
        return None
    best: tuple[float, int] | None = None
    for index, outputs in enumerate(iterations):
        if selector.field.step not in outputs:
            continue
        value = follow(outputs[selector.field.step], selector.field.path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ExpressionError(f"{selector.field} is {str(value)[:80]!r}; a selector compares numbers")
        score = float(value) if selector.pick == "MaxBy" else -float(value)
        later_wins = not execution.settings.first_of_equals
        if best is None or score > best[0] or (later_wins and score == best[0]):
            best = score, index
    return None if best is None else (selector.field.step, best[1])
