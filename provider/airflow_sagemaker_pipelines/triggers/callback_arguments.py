"""Waits for the message by which a Callback step asks to be fulfilled."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TaskSkippedEvent, TriggerEvent

from airflow_sagemaker_pipelines.triggers.callback_message import CallbackMessages
from airflow_sagemaker_pipelines.triggers.pipeline_step import CHANGED, PipelineStepTrigger
from airflow_sagemaker_pipelines.triggers.threads import in_thread
from airflow_sagemaker_pipelines.xcom_keys import CALLBACK_KEY

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.snapshot import StepRecord

#: The ``verdict`` of an event that has a message.
ASKED = "asked"


class CallbackArgumentsTrigger(PipelineStepTrigger):
    """Waits until a Callback step runs, and takes its message out of its queue.

    The event is ``{"verdict": "asked", "token": …, "arguments": {…}}``, or that of
    :class:`~airflow_sagemaker_pipelines.triggers.pipeline_step.PipelineStepTrigger` if the step has ended. The message
    is noted in XCom before it leaves the queue, so that a restart of the triggerer loses nothing.
    """

    async def _wait(self) -> dict[str, Any]:
        execution = await self.run_execution()
        if self.digest is not None and execution.digest != self.digest:
            return {"verdict": CHANGED}
        if execution.leaves_out(self.step) or execution.stands_in_for(self.step):
            return {"verdict": "skipped", "reason": "it is not among the selected steps"}
        if self.until_over:
            return await self._until_over(execution.arn)
        async with aclosing(self.snapshots(execution.arn)) as snapshots:
            async for snapshot in snapshots:
                record = self.key.find(snapshot)
                if record is not None and record.callback_token and not record.verdict.is_final:
                    return await self._message_or_end(record, execution.arn)
                if (ended := self._ended_without(snapshot)) is not None:
                    return ended
        raise RuntimeError("the looks have ended before what they look for")

    async def _message_or_end(self, record: StepRecord, arn: str) -> dict[str, Any]:
        """Wait for the message; somebody else may take it, or stop the step."""
        message = asyncio.ensure_future(self._message(record))
        end = asyncio.ensure_future(self._end_without(arn))
        try:
            await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
            return (message if message.done() else end).result()
        finally:
            message.cancel()
            end.cancel()

    async def _end_without(self, arn: str) -> dict[str, Any]:
        async with aclosing(self.snapshots(arn)) as snapshots:
            async for snapshot in snapshots:
                if (ended := self._ended_without(snapshot)) is not None:
                    return ended
        raise RuntimeError("the looks have ended before what they look for")

    def _ended_without(self, snapshot: Any) -> dict[str, Any] | None:
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
        await in_thread(partial(self._note, message))
        await CallbackMessages.delete(url, self.connection, received)
        return {"verdict": ASKED, **message}

    def _noted(self) -> dict[str, Any] | None:
        if self.task_instance is None:
            return None
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415

        noted: dict[str, Any] | None = XCom.get_one(key=CALLBACK_KEY, **self.of_task)
        return noted

    def _note(self, message: dict[str, Any]) -> None:
        if self.task_instance is None:
            return
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415

        XCom.set(key=CALLBACK_KEY, value=message, **self.of_task)

    async def _ended_here(self, outcome: dict[str, Any]) -> TriggerEvent | None:
        if outcome.get("verdict") == "skipped":
            self.log.info("Nothing has to fulfil step '%s': %s", self.step, outcome["reason"])
            return TaskSkippedEvent()
        if outcome.get("verdict") != ASKED:
            return None
        return await self.succeed(outcome["arguments"])

    async def _stop(self) -> None:
        """Leave the step alone: its own task stands for it."""
