"""Waits for the message by which a Callback step asks to be fulfilled."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TaskSkippedEvent, TriggerEvent

from airflow_sagemaker_pipelines.triggers.callback_message import CallbackMessages
from airflow_sagemaker_pipelines.triggers.pipeline_step import PipelineStepTrigger
from airflow_sagemaker_pipelines.triggers.threads import in_thread
from airflow_sagemaker_pipelines.xcom_keys import CALLBACK_KEY

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.execution_notes import RunExecution
    from airflow_sagemaker_pipelines.executions.snapshot import Snapshot, StepRecord

#: The ``verdict`` of an event that has a message.
ASKED = "asked"


class CallbackArgumentsTrigger(PipelineStepTrigger):
    """Waits until a Callback step runs, and takes its message out of its queue.

    The event is ``{"verdict": "asked", "token": …, "arguments": {…}}``, or that of
    :class:`~airflow_sagemaker_pipelines.triggers.pipeline_step.PipelineStepTrigger` if the step has ended. The message
    is noted in XCom before it leaves the queue, so that a restart of the triggerer loses nothing.
    """

    def _is_left_out_of(self, execution: RunExecution) -> bool:
        return execution.leaves_out(self.step) or execution.stands_in_for(self.step)

    async def _wait_in(self, execution: RunExecution) -> dict[str, Any]:
        return await self.first(execution.arn, partial(self._asked_or_ended, execution.arn))

    async def _asked_or_ended(self, arn: str, snapshot: Snapshot) -> dict[str, Any] | None:
        record = self.key.find(snapshot)
        if record is not None and record.callback_token and not record.verdict.is_final:
            return await self._message_or_end(record, arn)
        return await self._ended_without(snapshot)

    async def _message_or_end(self, record: StepRecord, arn: str) -> dict[str, Any]:
        """Wait for the message; somebody else may take it, or stop the step."""
        message = asyncio.ensure_future(self._message(record))
        end = asyncio.ensure_future(self.first(arn, self._ended_without))
        try:
            await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
            return (message if message.done() else end).result()
        finally:
            message.cancel()
            end.cancel()

    async def _ended_without(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """Return the event of a step that has ended without anybody having fulfilled it from here."""
        from airflow_sagemaker_pipelines.executions.ends import EndState, end_of  # noqa: PLC0415

        end = end_of(self.key, snapshot, stale_end=self.stale_end)
        if end is None:
            return None
        if end.state is EndState.SUCCEEDED:
            return {"verdict": "skipped", "reason": "it has succeeded without a message"}
        entry = None if end.record is None else dict(end.record.entry)
        return {"verdict": str(end.state), "reason": end.reason, "entry": entry, "result": None}

    async def _message(self, record: StepRecord) -> dict[str, Any]:
        token = str(record.callback_token)
        if (noted := await in_thread(self._noted)) is not None and noted["token"] == token:
            return {"verdict": ASKED, **noted}
        url = str(record.metadata["Callback"]["SqsQueueUrl"])
        received = await CallbackMessages.message(url, self.connection, token)
        message = {"token": token, "arguments": dict(received.message.arguments)}
        if self.task_instance is not None:
            await in_thread(partial(self.push, {CALLBACK_KEY: message}))
        await CallbackMessages.delete(url, self.connection, received)
        return {"verdict": ASKED, **message}

    def _noted(self) -> dict[str, Any] | None:
        if self.task_instance is None:
            return None
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415

        noted: dict[str, Any] | None = XCom.get_one(key=CALLBACK_KEY, **self.of_task)
        return noted

    async def _ended_here(self, outcome: dict[str, Any]) -> TriggerEvent | None:
        if outcome.get("verdict") == "skipped":
            self.log.info("Nothing has to fulfil step '%s': %s", self.step, outcome["reason"])
            return TaskSkippedEvent()
        if outcome.get("verdict") != ASKED:
            return None
        return await self.succeed(outcome["arguments"])

    async def _stop(self) -> None:
        """Leave the step alone: its own task stands for it."""
