"""What the triggers that wait for a pipeline's execution, or for one of its steps, have in common."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import TriggerEvent

from airflow_sagemaker_pipelines.execution_notes import Notes, RunExecution
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.task_states import ENDED, GIVEN_UP, dag_run_state, state_of
from airflow_sagemaker_pipelines.triggers.ending import EndingTrigger
from airflow_sagemaker_pipelines.triggers.execution_watch import ExecutionWatch
from airflow_sagemaker_pipelines.triggers.kills import prepare_for_kills
from airflow_sagemaker_pipelines.triggers.pace import EARLIEST_RESUMPTION_SECONDS as _EARLIEST_RESUMPTION_SECONDS
from airflow_sagemaker_pipelines.triggers.threads import in_thread
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.snapshot import Snapshot

T = TypeVar("T")

#: Seconds between two looks for the execution of a run that has yet to start one.
_NOTE_INTERVAL = 2.0
#: The key of an event that leaves the decision to a worker.
AGAIN = "again"


class PipelineTrigger(EndingTrigger):
    """Waits in an execution, together with all triggers of the process that wait in it.

    It may begin without a worker (``start_from_trigger``). Then it finds the execution by itself, and has a worker
    decide if this is not the task's first try.

    :param connection: how to reach AWS, serialized.
    :param poll_interval: the most seconds between two looks at the execution.
    :param start_task_id: the task that starts executions.
    :param execution: the execution, if a worker has decided on it; else that of the run counts.
    :param digest: of the DAG's definition; ``None`` checks none.
    :param deadline: Unix time after which waiting ends; ``None`` waits on.
    :param event_queue_url: the SQS queue of EventBridge's events; without one, the execution is polled.
    :param stop_on_kill: whether a kill of the task stops what it waits for.
    :param ends_task: whether a success may end the task without a worker.
    :param try_number: the task's try that waits, if a worker has begun it.
    """

    def __init__(
        self,
        *,
        connection: dict[str, Any],
        poll_interval: float,
        start_task_id: str = "",
        execution: dict[str, Any] | None = None,
        digest: str | None = None,
        deadline: float | None = None,
        event_queue_url: str | None = None,
        stop_on_kill: bool = True,
        ends_task: bool = True,
        try_number: int | None = None,
        **more: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._arguments = {
            "connection": connection,
            "poll_interval": poll_interval,
            "start_task_id": start_task_id,
            "execution": execution,
            "digest": digest,
            "deadline": deadline,
            "event_queue_url": event_queue_url,
            "stop_on_kill": stop_on_kill,
            "ends_task": ends_task,
            "try_number": try_number,
            **more,
        }
        self.connection = AwsConnection(**connection)
        self.poll_interval = poll_interval
        self.start_task_id = start_task_id
        self.execution = None if execution is None else RunExecution(**execution)
        self.digest = digest
        self.deadline = deadline
        self.event_queue_url = event_queue_url
        self.stop_on_kill = stop_on_kill
        self.ends_task = ends_task
        self.try_number = try_number
        self._is_from_worker = execution is not None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make the trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", dict(self._arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        if not self._is_from_worker:
            await self._while_cleared()
        yield await self._event()

    async def _event(self) -> TriggerEvent:
        began = time.monotonic()
        ti = self.task_instance
        if ti is not None:
            prepare_for_kills()
        if ti is not None and not self._is_from_worker and ti.try_number > 1 and self._decides_again:
            return self.resumption({AGAIN: True})
        outcome = await self._outcome()
        await self._while_cleared()
        # Under dag.test() there is no task instance, and nothing can end a task from here.
        if ti is not None and self.ends_task and (event := await self._ended_here(outcome)) is not None:
            return self.ended(event)
        if ti is not None and self._is_from_worker:
            await asyncio.sleep(began + _EARLIEST_RESUMPTION_SECONDS - time.monotonic())
        return self.resumption(outcome)

    async def _while_cleared(self) -> None:
        """Do nothing, until it is killed, if the task was cleared: its next try has a trigger of its own.

        Airflow keeps the trigger of a cleared task until the tasks before it have ended, and gives it to triggerers
        that start in the meantime. There it would watch what the clear has made SageMaker run, and note its end.
        """
        ti = self.task_instance
        if ti is not None and await in_thread(partial(state_of, ti)) not in {"deferred", *ENDED}:
            await asyncio.Event().wait()

    #: Whether another try has something to decide before it waits.
    _decides_again = True

    async def _outcome(self) -> dict[str, Any]:
        """Wait for what is waited for, as long as there is time; return the event's payload."""
        from airflow_sagemaker_pipelines.executions.errors import PipelineError  # noqa: PLC0415

        left = None if self.deadline is None else max(0.0, self.deadline - time.time())
        try:
            async with asyncio.timeout(left) as limit:
                return await self._wait()
        except TimeoutError:
            if not limit.expired():
                raise
            return {"verdict": TIMED_OUT}
        except PipelineError as error:
            return {"verdict": REFUSED, "reason": str(error)}

    @abstractmethod
    async def _wait(self) -> dict[str, Any]:
        """Wait for what is waited for; return the event's payload."""

    async def _ended_here(self, outcome: dict[str, Any]) -> TriggerEvent | None:
        """End the task without a worker, if that is all there is to do."""
        raise NotImplementedError

    def resumption(self, payload: dict[str, Any]) -> TriggerEvent:
        """Return the event that has a worker resume the task, with what it waits in."""
        execution = None if self.execution is None else self.execution.arn
        return super().resumption({"execution_arn": execution, "try_number": self.try_number, **payload})

    @property
    def notes(self) -> Notes:
        """What the tasks of the run have noted; their methods block."""
        return Notes(self.task_instance, self.start_task_id)

    async def run_execution(self) -> RunExecution:
        """Return the execution that the run is in, as soon as there is one."""
        if self.execution is not None:
            return self.execution
        while (found := await in_thread(self.notes.execution)) is None:
            await asyncio.sleep(_NOTE_INTERVAL)
        self.execution = found
        return found

    async def known_execution(self) -> RunExecution | None:
        """Return the execution that the run is in, ``None`` if there is none yet."""
        return self.execution or await in_thread(self.notes.execution)

    async def first(self, arn: str, look: Callable[[Snapshot], Awaitable[T | None]]) -> T:
        """Look at an execution again and again, until one look shows what is looked for.

        :param look: returns what a snapshot shows, ``None`` if that is not yet it.
        """
        with ExecutionWatch.joined(
            arn, self.connection, poll_interval=self.poll_interval, event_queue_url=self.event_queue_url
        ) as watch:
            async with aclosing(watch.snapshots()) as snapshots:
                async for snapshot in snapshots:
                    if (found := await look(snapshot)) is not None:
                        return found
        raise RuntimeError("the looks have ended before what they look for")

    async def _stop(self) -> None:
        ti = self.task_instance
        if ti is None:
            return
        state, run = await in_thread(lambda: (state_of(ti), dag_run_state(ti)))
        if not self._is_given_up(state, run):
            # Another triggerer waits for it, or it was cleared: the next try decides.
            return
        # It may not have found the execution yet.
        if (execution := await self.known_execution()) is not None:
            await self._stop_in(execution.arn, run)

    def _is_given_up(self, state: str | None, run: str) -> bool:
        """Whether nobody wants any more what the task waits for.

        Of a step that is marked as a success, SageMaker still needs the job.

        :param state: the task's.
        :param run: the state of its run.
        """
        return state in GIVEN_UP

    async def _stop_in(self, arn: str, run: str) -> None:
        """Stop what the task waits for.

        :param arn: the execution.
        :param run: the state of the task's run.
        """
        raise NotImplementedError
