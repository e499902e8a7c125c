"""Waits until a step of an execution has ended."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TaskSkippedEvent, TriggerEvent

from airflow_sagemaker_pipelines.execution_notes import SeenEnd
from airflow_sagemaker_pipelines.hooks.aws import shared_clients
from airflow_sagemaker_pipelines.task_states import ENDED
from airflow_sagemaker_pipelines.triggers import pace
from airflow_sagemaker_pipelines.triggers.kills import stop_at_last
from airflow_sagemaker_pipelines.triggers.pipeline import AGAIN, PipelineTrigger
from airflow_sagemaker_pipelines.triggers.threads import in_thread
from airflow_sagemaker_pipelines.xcom_keys import CACHE_HIT_KEY

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.execution_notes import RunExecution
    from airflow_sagemaker_pipelines.executions.ends import StepEnd, StepKey
    from airflow_sagemaker_pipelines.executions.snapshot import Snapshot, StepRecord

#: So often a job that has ended is asked for its description.
_MOST_DESCRIBE_ATTEMPTS = 6
#: The ``verdict`` of an event when the execution runs another definition than the DAG's.
CHANGED = "changed"


class PipelineStepTrigger(PipelineTrigger):
    """Waits for the end of one step.

    The event is ``{"verdict": …, "reason": …, "entry": {…}, "execution_arn": …}`` with the entry of
    ListPipelineExecutionSteps, or ``{"again": True}`` if a worker has to decide what this try does. A kill of the
    task (marked failed) stops the step's job, and nothing else; that of the run stops the execution.

    :param step: the step's name.
    :param loop: the loop in whose body it is.
    :param index: the number of the item.
    :param stale_end: when the step ended before the execution was retried.
    :param until_over: whether to wait until the whole execution is over, and have a worker decide then.
    :param gives_items: whether the result is the list of the items of the step, which is a loop.
    :param describes: whether the result is the Describe answer of what the step has made.
    :param arguments: those of :class:`PipelineTrigger`.
    """

    def __init__(
        self,
        *,
        step: str,
        loop: str | None = None,
        index: int | None = None,
        stale_end: str | None = None,
        until_over: bool = False,
        gives_items: bool = False,
        describes: bool = False,
        **arguments: Any,
    ) -> None:
        more: dict[str, Any] = {
            "step": step,
            "loop": loop,
            "index": index,
            "stale_end": stale_end,
            "until_over": until_over,
            "gives_items": gives_items,
            "describes": describes,
        }
        super().__init__(**arguments, **more)
        self.step = step
        self.loop = loop
        self.index = index
        self.stale_end = stale_end
        self.until_over = until_over
        self.gives_items = gives_items
        self.describes = describes
        self._is_shown = False

    @property
    def key(self) -> StepKey:
        """What is watched."""
        from airflow_sagemaker_pipelines.executions.ends import StepKey  # noqa: PLC0415

        return StepKey(step=self.step, loop=self.loop, index=self.index)

    async def _wait(self) -> dict[str, Any]:
        execution = await self.run_execution()
        if self.digest is not None and execution.digest != self.digest:
            return {"verdict": CHANGED}
        if self._is_left_out_of(execution):
            return {"verdict": "skipped", "reason": "it is not among the selected steps"}
        if self.until_over:
            await self.first(execution.arn, _over)
            return {AGAIN: True}
        return await self._wait_in(execution)

    def _is_left_out_of(self, execution: RunExecution) -> bool:
        return execution.leaves_out(self.step)

    async def _wait_in(self, execution: RunExecution) -> dict[str, Any]:
        """Wait for what is waited for, in the execution in which it comes."""
        end, snapshot = await self.first(execution.arn, partial(self._end, execution))
        return {
            "verdict": str(end.state),
            "reason": end.reason,
            "entry": None if end.record is None else dict(end.record.entry),
            "result": await self._result(end, snapshot),
        }

    async def _end(self, execution: RunExecution, snapshot: Snapshot) -> tuple[StepEnd, Snapshot] | None:
        from airflow_sagemaker_pipelines.executions.ends import EndState, StepEnd, end_of  # noqa: PLC0415

        record = self.key.find(snapshot)
        if record is not None and self.task_instance is not None:
            await self._show(record)
        end = end_of(self.key, snapshot, stale_end=self.stale_end)
        if execution.stands_in_for(self.step) and record is None:
            # AWS lists of the reused steps only those that selected steps wait for.
            end = StepEnd(state=EndState.SUCCEEDED, reason="it is reused")
        return None if end is None else (end, snapshot)

    async def _show(self, record: StepRecord) -> None:
        """Leave in XCom what the UI's buttons lead to, and that the step was found in the cache, once it is known."""
        if self._is_shown:
            return
        found = await in_thread(partial(self._to_show, record))
        if found is None:
            return
        self._is_shown = True
        try:
            await in_thread(partial(self.push, found))
        except Exception as error:  # noqa: BLE001 - the step itself is not concerned
            self.log.warning("The links to what the step has made could not be left in XCom: %s", error)

    def _to_show(self, record: StepRecord) -> dict[str, Any] | None:
        """Return what XCom is to have, by key; ``None`` as long as SageMaker does not tell what the step has made."""
        from airflow_sagemaker_pipelines.executions.resources import resource_of  # noqa: PLC0415
        from airflow_sagemaker_pipelines.links.console import links_of  # noqa: PLC0415
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

        resource = resource_of(record)
        if resource is None and not record.cache_source:
            return None
        found: dict[str, Any] = {}
        if record.cache_source:
            self.log.info("Step '%s' was found in the cache of %s", self.step, record.cache_source)
            found[CACHE_HIT_KEY] = {"source_execution": record.cache_source}
        if resource is not None:
            kind, handle = resource
            self.log.info("Step '%s' runs as %s", self.step, runner_of(kind).resource(handle))
            found |= links_of(runner_of(kind), handle, shared_clients(self.connection).region_name)
        return found

    async def _result(self, end: StepEnd, snapshot: Snapshot) -> Any:
        """Return the task's result, ``None`` if it has none."""
        from airflow_sagemaker_pipelines.executions.ends import EndState, items_of  # noqa: PLC0415

        if self.gives_items:
            # Also of a loop that has failed: its iterations have tasks of their own.
            return None if end.record is None else items_of(self.step, snapshot)
        if end.state is not EndState.SUCCEEDED:
            return None
        if end.record is None:
            return {"StepName": self.step, "StepStatus": "Succeeded"}
        if self.describes and (answer := await self._described(end.record)) is not None:
            return answer
        return dict(end.record.entry)

    async def _described(self, record: StepRecord) -> dict[str, Any] | None:
        from airflow_sagemaker_pipelines.executions.errors import PipelineCallError  # noqa: PLC0415
        from airflow_sagemaker_pipelines.executions.resources import described  # noqa: PLC0415

        for failures in count(1):
            try:
                return await in_thread(partial(described, shared_clients(self.connection), record))
            except PipelineCallError as error:
                self.log.warning("Asking for the description again: %s", error)
                await asyncio.sleep(pace.back_off(failures))
        raise AssertionError("nobody counts to the end")

    async def _ended_here(self, outcome: dict[str, Any]) -> TriggerEvent | None:
        if outcome.get("verdict") == "skipped":
            self.log.info("Step '%s' is skipped: %s", self.step, outcome["reason"])
            return TaskSkippedEvent()
        if outcome.get("result") is None:
            return None
        event = await self.succeed(outcome["result"])
        if event is not None and self.start_task_id and self.execution is not None and not self.gives_items:
            end = SeenEnd(execution=self.execution.arn, ended=(outcome["entry"] or {}).get("EndTime"))
            await in_thread(partial(self.notes.see, end))
        self.log.info("Step '%s' has succeeded", self.step)
        return event

    async def _stop_in(self, arn: str, run: str) -> None:
        from airflow_sagemaker_pipelines.executions.control import stop_step  # noqa: PLC0415

        stop = partial(stop_step, shared_clients(self.connection), arn, self.key, with_execution=run in ENDED)
        await stop_at_last(stop, f"step '{self.step}'", self.log)


async def _over(snapshot: Snapshot) -> bool | None:
    return snapshot.is_over or None
