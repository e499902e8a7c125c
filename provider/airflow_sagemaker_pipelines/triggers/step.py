"""Waits until what a step made has ended."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_sagemaker_pipelines.hooks.aws import AwsClients
    from airflow_sagemaker_pipelines.steps.runner import Handle, State

T = TypeVar("T")

#: Airflow 3.3 can lose a deferred task whose trigger fires within about five seconds of the deferral (its scheduler
#: takes the resumed task for one that never ran; apache/airflow#66374, #71580). No event leaves earlier than this.
_FIRST_LOOK_SECONDS = 6.0
_FIRST_INTERVAL = 5.0
_GROWTH = 1.5
_JITTER = 0.1

#: The value of ``verdict`` in the event when the deadline has passed, and when AWS refuses to tell the state.
TIMED_OUT = "timed out"
REFUSED = "refused"

#: Stops that on_kill has begun: Airflow gives on_kill a second, and a task without a reference may be collected.
_stopping: set[asyncio.Task[None]] = set()


class StepTrigger(BaseTrigger):
    """Polls one resource until it has ended, with boto3 in a thread.

    Its one event is ``{"handle": {…}, "try_number": …, "verdict": …, "reason": …, "outputs": {…}}``. A restarted
    triggerer begins to poll again; the deadline is a wall-clock time, so restarts do not extend it. When the task is
    killed (marked failed, cleared), the resource is stopped.

    :param step_type: the step's type.
    :param handle: what names the resource.
    :param connection: how to reach AWS, serialized.
    :param poll_interval: the most seconds between two polls; the first ones come faster.
    :param deadline: Unix time after which waiting ends; ``None`` waits on.
    :param try_number: the task's try that waits.
    """

    def __init__(
        self,
        *,
        step_type: str,
        handle: Handle,
        connection: dict[str, Any],
        poll_interval: float,
        deadline: float | None = None,
        try_number: int | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.step_type = step_type
        self.handle = handle
        self.connection = connection
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.try_number = try_number
        self._ended = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make the trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "step_type": self.step_type,
                "handle": self.handle,
                "connection": self.connection,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "try_number": self.try_number,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the resource has ended or the deadline has passed."""
        # Under dag.test() no scheduler is involved, and there is no task instance.
        if self.task_instance is not None:
            await asyncio.sleep(_FIRST_LOOK_SECONDS)
        event = await self._wait()
        self._ended = True
        yield TriggerEvent({"handle": self.handle, "try_number": self.try_number, **event})  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        interval = min(_FIRST_INTERVAL, self.poll_interval)
        while True:
            event = await self._look()
            if event is not None:
                return event
            if self.deadline is not None and time.time() >= self.deadline:
                return {"verdict": TIMED_OUT}
            # Jitter keeps tasks that started together from asking together.
            await asyncio.sleep(interval * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311
            interval = min(interval * _GROWTH, self.poll_interval)

    async def _look(self) -> dict[str, Any] | None:
        """Ask once; return the event if the resource has ended."""
        from airflow_sagemaker_pipelines.steps.aws import error_message, is_transient  # noqa: PLC0415

        try:
            return await self._in_thread(self._ask)
        except Exception as error:
            if is_aws_error(error) and is_transient(error):
                self.log.warning("AWS did not tell the state of %s, asking again: %s", self.handle, error)
                return None
            if is_aws_error(error):
                return {"verdict": REFUSED, "reason": error_message(error)}
            raise

    def _ask(self) -> dict[str, Any] | None:
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415
        from airflow_sagemaker_pipelines.steps.status import Verdict  # noqa: PLC0415

        runner = runner_of(StepType(self.step_type))
        clients = self._clients()
        state: State = runner.poll(clients, self.handle)
        if not state.verdict.is_final:
            return None
        outputs = runner.outputs(clients, state) if state.verdict is Verdict.SUCCEEDED else None
        return {"verdict": str(state.verdict), "reason": state.reason, "outputs": outputs}

    def _clients(self) -> AwsClients:
        return shared_clients(AwsConnection(**self.connection))

    @staticmethod
    async def _in_thread(function: Callable[[], T]) -> T:
        # asgiref's threads, unlike asyncio's, can look up Airflow connections through the triggerer's loop. Without the
        # shield it would put an error of its own in place of Airflow's CancelledError, whose text says that the task
        # was killed: no on_kill for whoever is killed during a poll.
        return await asyncio.shield(asyncio.ensure_future(sync_to_async(function, thread_sensitive=False)()))

    async def on_kill(self) -> None:
        """Stop the resource, because somebody ended the task while it was deferred.

        Airflow cuts this method short after a second, hence the shielded task.
        """
        if self._ended:
            return
        stop = asyncio.create_task(self._stop())
        _stopping.add(stop)
        stop.add_done_callback(_stopping.discard)
        await asyncio.shield(stop)

    async def _stop(self) -> None:
        if await self._is_waited_for():
            self.log.info("%s goes on: another triggerer waits for it", self.handle)
            return
        self.log.info("Stopping %s", self.handle)
        await self._in_thread(self._stop_resource)

    def _stop_resource(self) -> None:
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

        runner_of(StepType(self.step_type)).stop(self._clients(), self.handle)

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
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

            states = RuntimeTaskInstance.get_task_states(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
            mapped = ti.map_index is not None and ti.map_index >= 0
            name = f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id
            deferred = states.get(ti.run_id, {}).get(name) == "deferred"
            made = BaseXCom.get_one(
                key=HANDLE_KEY, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
            )
            return deferred and made == self.handle

        return await self._in_thread(ask)


def is_aws_error(error: BaseException) -> bool:
    """Whether botocore raised the error."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    return isinstance(error, BotoCoreError | ClientError)
