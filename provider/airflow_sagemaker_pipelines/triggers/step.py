"""Waits until what a step made has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.task_states import state_of
from airflow_sagemaker_pipelines.triggers.ending import EndingTrigger
from airflow_sagemaker_pipelines.triggers.job_log import streamed_log
from airflow_sagemaker_pipelines.triggers.kills import prepare_for_kills, stop_at_last
from airflow_sagemaker_pipelines.triggers.pace import EARLIEST_RESUMPTION_SECONDS as _EARLIEST_RESUMPTION_SECONDS
from airflow_sagemaker_pipelines.triggers.threads import in_thread
from airflow_sagemaker_pipelines.triggers.wait import Wait
from airflow_sagemaker_pipelines.triggers.watch import Watch
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.runner import Handle
    from airflow_sagemaker_pipelines.triggers.wait import Outcome


class StepTrigger(EndingTrigger, BaseEventTrigger):
    """Waits for one resource to end, together with all triggers of the process that wait for the like.

    On Airflow 3.3 the triggers that share a connection and a step type share one loop, see
    :class:`~airflow_sagemaker_pipelines.triggers.watch.Watch`; on older versions, and in ``dag.test()``, each has its
    own. A restarted triggerer begins anew; the deadline is a wall-clock time, so restarts do not extend it. When the
    task is killed (marked failed, cleared), the resource is stopped.

    A success ends the task from here if ``ends_task`` says so. Anything else resumes the task, by the event
    ``{"handle": {…}, "try_number": …, "verdict": …, "reason": …, "outputs": {…}}``.

    :param step_type: the step's type.
    :param handle: what names the resource.
    :param connection: how to reach AWS, serialized.
    :param poll_interval: the most seconds between two looks at the resource; there are more when news is likely.
    :param since: Unix time at which the resource was started; by default now.
    :param deadline: Unix time after which waiting ends; ``None`` waits on.
    :param try_number: the task's try that waits.
    :param event_queue_url: the SQS queue of EventBridge's events about jobs; without one, jobs are polled.
    :param stop_on_kill: whether a kill of the task stops the resource.
    :param streams_log: whether the job's lines in CloudWatch are written into the task's log as they come.
    :param ends_task: whether a success may end the task without a worker, its outputs becoming the task's result.
    """

    # Airflow's default for event triggers is not to run in the queue of the task that has deferred to them.
    supports_triggerer_queue = True
    #: How it looks at what it waits for.
    watch_type: ClassVar[type[Watch]] = Watch

    def __init__(
        self,
        *,
        step_type: str,
        handle: Handle,
        connection: dict[str, Any],
        poll_interval: float,
        since: float | None = None,
        deadline: float | None = None,
        try_number: int | None = None,
        event_queue_url: str | None = None,
        stop_on_kill: bool = True,
        streams_log: bool = False,
        ends_task: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.step_type = step_type
        self.handle = handle
        self.connection = connection
        self.poll_interval = poll_interval
        self.since = time.time() if since is None else since
        self.deadline = deadline
        self.try_number = try_number
        self.event_queue_url = event_queue_url
        self.stop_on_kill = stop_on_kill
        self.streams_log = streams_log
        self.ends_task = ends_task

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make the trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "step_type": self.step_type,
                "handle": self.handle,
                "connection": self.connection,
                "poll_interval": self.poll_interval,
                "since": self.since,
                "deadline": self.deadline,
                "try_number": self.try_number,
                "event_queue_url": self.event_queue_url,
                "stop_on_kill": self.stop_on_kill,
                "streams_log": self.streams_log,
                "ends_task": self.ends_task,
            },
        )

    def shared_stream_key(self) -> Hashable | None:
        """Return what the triggers of one loop have in common."""
        return _stream_key(self.watch_type, self.step_type, self.connection, self.event_queue_url)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[None]:
        """Look for all triggers of one key.

        Each learns of its end by its own wait. The stream is empty: Airflow would hand every item to all of them.

        :param kwargs: of any of them.
        """
        watch = _shared_watch(cls.watch_type, kwargs["step_type"], kwargs["connection"], kwargs["event_queue_url"])
        await watch.look_for_all()
        yield

    async def filter_shared_stream(self, shared_stream: AsyncIterator[None]) -> AsyncIterator[TriggerEvent]:
        """Wait for the end of this trigger's resource."""
        began = time.monotonic()
        watch = _shared_watch(self.watch_type, self.step_type, self.connection, self.event_queue_url)
        outcome = await self._outcome(watch, anext(shared_stream, None))
        yield await self._event(outcome, began)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait alone."""
        began = time.monotonic()
        yield await self._event(await self._wait_alone(), began)

    async def _wait_alone(self) -> Outcome:
        watch = _watch(self.watch_type, self.step_type, self.connection, self.event_queue_url)
        return await self._outcome(watch, watch.look_for_all())

    async def _outcome(self, watch: Watch, looks: Awaitable[None]) -> Outcome:
        if not self.streams_log:
            return await self._end_of_wait(watch, looks)
        connection = AwsConnection(**self.connection)
        async with streamed_log(StepType(self.step_type), self.handle, connection, since=self.since, log=self.log):
            return await self._end_of_wait(watch, looks)

    async def _end_of_wait(self, watch: Watch, looks: Awaitable[None]) -> Outcome:
        """Wait for the outcome.

        :param looks: what looks for it; it fails if that fails.
        """
        if self.task_instance is not None:
            prepare_for_kills()
        wait = self._wait()
        watch.join(wait)
        looking = asyncio.ensure_future(looks)
        try:
            await asyncio.wait({wait.ended, looking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.leave(wait)
            looking.cancel()
        if wait.outcome is None:
            looking.result()
            raise RuntimeError("the looks have ended before what they look for")
        # Some only get their name while they are waited for.
        self.handle = wait.handle
        return wait.outcome

    def _wait(self) -> Wait:
        ti = self.task_instance
        return Wait(
            handle=self.handle,
            poll_interval=self.poll_interval,
            since=self.since,
            deadline=self.deadline,
            recurrence=(ti.dag_id, ti.task_id, ti.map_index) if ti is not None else None,
            log=self.log,
        )

    async def _event(self, outcome: Outcome, began: float) -> TriggerEvent:
        """Return the event for an outcome, when it may leave.

        :param began: when the trigger began to run, by the monotonic clock.
        """
        if isinstance(outcome, Exception):
            raise outcome
        # Under dag.test() no scheduler is involved, there is no task instance, and nothing can end a task from here.
        if self.task_instance is None:
            return self.resumption(outcome)
        outputs = outcome.get("outputs") if self.ends_task else None
        if outputs is not None and (event := await self.succeed(outputs)) is not None:
            self.log.info("%s has succeeded", self.handle)
            return event
        await asyncio.sleep(began + _EARLIEST_RESUMPTION_SECONDS - time.monotonic())
        return self.resumption(outcome)

    def resumption(self, payload: dict[str, Any]) -> TriggerEvent:
        """Return the event that has a worker resume the task, with what it waits for."""
        return super().resumption({"handle": self.handle, "try_number": self.try_number, **payload})

    async def _stop(self) -> None:
        if await self._is_waited_for():
            self.log.info("%s goes on: another triggerer waits for it", self.handle)
            return
        await stop_at_last(self._stop_resource, str(self.handle), self.log)

    def _stop_resource(self) -> None:
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

        runner_of(StepType(self.step_type)).stop(shared_clients(AwsConnection(**self.connection)), self.handle)

    async def _is_waited_for(self) -> bool:
        """Whether the task still waits for this very resource.

        Airflow calls on_kill also when another triggerer has taken over from this one. Then the task is still
        deferred, and its try, which XCom tells by what it made, is the same.
        """
        ti = self.task_instance
        if ti is None:
            return False

        def ask() -> bool:
            from airflow.sdk.bases.xcom import BaseXCom  # noqa: PLC0415

            made = BaseXCom.get_one(
                key=HANDLE_KEY, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
            )
            return state_of(ti) == "deferred" and made == self.handle

        return await in_thread(ask)


def _stream_key(
    watch_type: type[Watch], step_type: str, connection: dict[str, Any], event_queue_url: str | None
) -> Hashable:
    return ("sagemaker-pipelines", watch_type.__name__, step_type, AwsConnection(**connection).key, event_queue_url)


def _shared_watch(
    watch_type: type[Watch], step_type: str, connection: dict[str, Any], event_queue_url: str | None
) -> Watch:
    make = partial(_watch, watch_type, step_type, connection, event_queue_url)
    return Watch.shared(_stream_key(watch_type, step_type, connection, event_queue_url), make)


def _watch(watch_type: type[Watch], step_type: str, connection: dict[str, Any], event_queue_url: str | None) -> Watch:
    return watch_type(StepType(step_type), AwsConnection(**connection), event_queue_url=event_queue_url)
