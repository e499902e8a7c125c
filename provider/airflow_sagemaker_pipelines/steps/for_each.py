"""What a ForEach step makes of its iterations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow_sagemaker_pipelines.definition import ExpressionError, ForEachStep
from airflow_sagemaker_pipelines.definition.paths import follow
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.runner import StepRun
from airflow_sagemaker_pipelines.steps.status import Verdict


def loop_items(run: StepRun) -> list[Any]:
    """Return the items of a loop.

    :raises StepRequestError: if they are not a list, or text that holds a JSON list.
    """
    step = run.step
    items = run.resolve(step.iterable_items) if isinstance(step, ForEachStep) else None
    if isinstance(items, str):
        with suppress(ValueError):
            items = json.loads(items)
    if not isinstance(items, list):
        raise StepRequestError(f"IterableItems is {str(items)[:200]!r}, not a JSON list", step=step.name)
    return items


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStep:
    """One body step in one iteration."""

    step: str
    index: int
    verdict: Verdict
    outputs: Any = None


def loop_outputs(step: ForEachStep, children: Sequence[ChildStep], item_count: int) -> dict[str, Any]:
    """Return what ``Steps.<loop>.…`` refers to.

    A failed child fails the loop once all the others have ended: AWS's ``Status`` says as much, its documentation
    nothing. A loop without items has succeeded.

    :raises ExpressionError: if the selector's field is no number in some iteration.
    """
    counts = {verdict: sum(child.verdict is verdict for child in children) for verdict in Verdict}
    status = "Failed" if counts[Verdict.FAILED] else "Stopped" if counts[Verdict.STOPPED] else "Succeeded"
    iterations: list[dict[str, Any]] = [{} for _ in range(item_count)]
    for child in children:
        if child.verdict is Verdict.SUCCEEDED:
            iterations[child.index][child.step] = child.outputs
    return {
        "Status": status,
        "InputItemCount": item_count,
        "TotalStepCount": len(children),
        "SucceededStepCount": counts[Verdict.SUCCEEDED],
        "FailedStepCount": counts[Verdict.FAILED],
        "StoppedStepCount": counts[Verdict.STOPPED],
        "IterationOutputs": iterations,
        **({"Selected": selected} if (selected := _selected(step, iterations)) is not None else {}),
    }


def _selected(step: ForEachStep, iterations: Sequence[Mapping[str, Any]]) -> Any:
    """Return the outputs of the body step in the iteration that the selector picks; of equals the first."""
    if step.selector is None:
        return None
    field = step.selector.field
    scored = [
        (_number(follow(iteration[field.step], field.path), str(field)), -index)
        for index, iteration in enumerate(iterations)
        if field.step in iteration
    ]
    if not scored:
        return None
    best = max(scored) if step.selector.pick == "MaxBy" else min(scored, key=lambda pair: (pair[0], -pair[1]))
    return iterations[-best[1]][field.step]


def _number(value: Any, origin: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"{origin} is {str(value)[:80]!r}; a selector compares numbers")
    return value
