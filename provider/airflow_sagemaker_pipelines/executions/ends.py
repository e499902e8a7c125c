"""How a step of an execution has ended for the task that watches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_sagemaker_pipelines.executions.snapshot import Snapshot, StepRecord
from airflow_sagemaker_pipelines.steps.status import Verdict


class EndState(StrEnum):
    """What a step has come to."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    """It does not run in the execution, and that is as it should be."""
    NOT_STARTED = "not started"
    """The execution has ended before the step could start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKey:
    """Names what a task watches.

    :param step: the step's name.
    :param loop: the loop in whose body it is.
    :param index: the number of the item.
    """

    step: str
    loop: str | None = None
    index: int | None = None

    def find(self, snapshot: Snapshot) -> StepRecord | None:
        """Return the step's record, if it has started."""
        if self.loop is None:
            return snapshot.steps.get(self.step)
        # SageMaker calls the children of a loop <body step>-<index>.
        names = {self.step, f"{self.step}-{self.index}"}
        children = (child for child in snapshot.children(self.loop) if child.name in names)
        return next((child for child in children if child.iteration == (self.loop, self.index)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd:
    """How a step has ended."""

    state: EndState
    reason: str | None = None
    record: StepRecord | None = None

    @property
    def ended(self) -> str | None:
        """When, ``None`` if it has not started."""
        return None if self.record is None else self.record.ended


_STATES: Mapping[Verdict, EndState] = {
    Verdict.SUCCEEDED: EndState.SUCCEEDED,
    Verdict.FAILED: EndState.FAILED,
    Verdict.STOPPED: EndState.STOPPED,
}


def end_of(key: StepKey, snapshot: Snapshot, *, stale_end: str | None = None) -> StepEnd | None:
    """Return how a step has ended, ``None`` while that is open.

    :param stale_end: when the step ended before a retry of the execution: AWS may show that end until the step starts
        again.
    """
    record = key.find(snapshot)
    if record is not None and record.verdict.is_final:
        is_stale = stale_end is not None and record.ended == stale_end
        return None if is_stale and not snapshot.is_over else _listed(record)
    if not snapshot.is_over:
        return None
    if snapshot.verdict is Verdict.SUCCEEDED:
        return StepEnd(state=EndState.SKIPPED, reason="it was not to run")
    reason = f"the execution is {snapshot.status}, and the step has not started"
    return StepEnd(state=EndState.NOT_STARTED, reason=reason)


def _listed(record: StepRecord) -> StepEnd:
    return StepEnd(state=_STATES[record.verdict], reason=record.reason, record=record)


def items_of(loop: str, snapshot: Snapshot) -> list[Any] | None:
    """Return the items of a loop that has ended, as the contexts of its iterations tell them.

    :returns: ``None`` if it has none because they could not be read.
    """
    items = {child.iteration[1]: _item(child) for child in snapshot.children(loop) if child.iteration}
    record = snapshot.steps[loop]
    metadata = record.metadata.get("ForEach")
    if not metadata and not items and record.verdict is not Verdict.SUCCEEDED:
        return None
    count = (metadata or {}).get("InputItemCount", 0)
    return [items.get(index) for index in range(max([int(count), *(index + 1 for index in items)]))]


def _item(child: StepRecord) -> Any:
    return child.entry["IterationContext"].get("Item")
