"""Waits until an execution is over, with whatever the run has made of it since."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_sagemaker_pipelines.executions.errors import PipelineCallError
from airflow_sagemaker_pipelines.hooks.aws import shared_clients
from airflow_sagemaker_pipelines.task_states import FINISHED, open_among, task_states
from airflow_sagemaker_pipelines.triggers.kills import stop_at_last
from airflow_sagemaker_pipelines.triggers.pipeline import PipelineTrigger
from airflow_sagemaker_pipelines.triggers.threads import in_thread

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.snapshot import Snapshot
    from airflow_sagemaker_pipelines.steps.aws import Clients

#: Seconds between two looks at the run's tasks once the execution is over.
_TASKS_INTERVAL = 3.0


class PipelineExecutionTrigger(PipelineTrigger):
    """Waits for the end of an execution, and of the tasks that watch its steps: each may yet retry it.

    The event is ``{"verdict": …, "status": …, "reason": …, "failed": {step: reason}, "failed_tasks": […],
    "execution_arn": …}``. A kill of the task (marked failed; or its run ended) stops the execution.

    :param step_task_ids: the tasks that watch steps.
    :param callback_tasks: by Callback step that the DAG fulfils, its task.
    :param arguments: those of :class:`PipelineTrigger`.
    """

    _decides_again = False

    def __init__(
        self, *, step_task_ids: Sequence[str] = (), callback_tasks: Mapping[str, str] | None = None, **arguments: Any
    ) -> None:
        more: dict[str, Any] = {"step_task_ids": list(step_task_ids), "callback_tasks": dict(callback_tasks or {})}
        super().__init__(**arguments, **more)
        self.step_task_ids = list(step_task_ids)
        self.callback_tasks = dict(callback_tasks or {})

    async def _wait(self) -> dict[str, Any]:
        while True:
            execution = await self.run_execution()
            if payload := await self.first(execution.arn, partial(self._over, execution.arn)):
                return payload
            # A task that was cleared has started another one.
            self.execution = None

    async def _over(self, arn: str, snapshot: Snapshot) -> dict[str, Any] | None:
        """Return the event once an execution is over for good; an empty one if the run is in another one by then."""
        if self.task_instance is None and self.step_task_ids:
            # dag.test() runs one thing at a time: the tasks of the steps need their turn.
            return payload_of(snapshot, {}) if snapshot.is_over else {"verdict": "running"}
        if not snapshot.is_over:
            await self._answer_abandoned(snapshot, arn)
            return None
        if not await self._is_in(arn):
            return {}
        states = await self._task_states()
        # When nobody is left who could make it go on, somebody may yet have done so since this look.
        if not open_among(states) and await self._is_in(arn) and await self.first(arn, _is_over):
            return payload_of(snapshot, states)
        await asyncio.sleep(_TASKS_INTERVAL)
        return None

    async def _answer_abandoned(self, snapshot: Snapshot, arn: str) -> None:
        """Answer the Callback steps whose tasks have ended without an answer."""
        if not any(_asks(snapshot, step) for step in self.callback_tasks):
            return
        states = await in_thread(partial(task_states, self.task_instance, list(self.callback_tasks.values())))
        clients = shared_clients(self.connection)
        try:
            await in_thread(partial(answer_abandoned, clients, arn, self.callback_tasks, states))
        except PipelineCallError as error:
            self.log.warning("A callback is answered at the next look: %s", error)

    async def _task_states(self) -> Mapping[str, str | None]:
        if not self.step_task_ids:
            return {}
        return await in_thread(partial(task_states, self.task_instance, self.step_task_ids))

    async def _is_in(self, arn: str) -> bool:
        if not self.start_task_id:
            return True
        found = await in_thread(self.notes.execution)
        return found is not None and found.arn == arn

    async def _ended_here(self, outcome: dict[str, Any]) -> TriggerEvent | None:
        if outcome.get("verdict") != "succeeded" or outcome["failed"] or outcome["failed_tasks"]:
            return None
        return await self.succeed(result_of(outcome, self.execution.arn if self.execution else ""))

    def _is_given_up(self, state: str | None, run: str) -> bool:
        return super()._is_given_up(state, run) or (state == "success" and run != "running")

    async def _stop_in(self, arn: str, run: str) -> None:
        from airflow_sagemaker_pipelines.executions.control import stop  # noqa: PLC0415

        await stop_at_last(partial(stop, shared_clients(self.connection), arn), f"execution {arn}", self.log)


def answer_abandoned(
    clients: Clients, arn: str, callback_tasks: Mapping[str, str], states: Mapping[str, str | None]
) -> None:
    """Answer, as failed, the running Callback steps whose tasks have ended without an answer; it blocks.

    :param callback_tasks: by Callback step, its task.
    :param states: of these tasks.
    """
    from airflow_sagemaker_pipelines.executions.control import answer_callbacks  # noqa: PLC0415

    abandoned = {step for step, task in callback_tasks.items() if states.get(task) in FINISHED - {"success"}}
    if abandoned:
        answer_callbacks(clients, arn, "The task that was to fulfil it did not succeed", only=abandoned)


async def _is_over(snapshot: Snapshot) -> bool:
    return snapshot.is_over


def _asks(snapshot: Snapshot, step: str) -> bool:
    record = snapshot.steps.get(step)
    return record is not None and record.callback_token is not None and not record.verdict.is_final


def payload_of(snapshot: Snapshot, states: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the event of an execution that is over.

    :param states: of the tasks that watch its steps.
    """
    failed = {
        step.name: step.reason or step.verdict.value
        for step in snapshot.steps.values()
        if step.verdict.is_final and step.verdict != "succeeded"
    }
    return {
        "verdict": str(snapshot.verdict),
        "status": snapshot.status,
        "reason": snapshot.reason,
        "failed": failed,
        "failed_tasks": [name for name, state in states.items() if state == "failed"],
    }


def result_of(outcome: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """Return the result of a task whose execution has succeeded."""
    return {"PipelineExecutionArn": arn, "PipelineExecutionStatus": outcome["status"]}


def failures_of(failed: Mapping[str, str]) -> str:
    """Say which steps have failed, and why."""
    return "; ".join(f"Step '{name}': {reason}" for name, reason in failed.items())
