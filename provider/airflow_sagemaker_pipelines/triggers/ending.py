"""How a trigger's wait ends: by the task's success, by an event that resumes it, or by a kill."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_sagemaker_pipelines.triggers.kills import in_background
from airflow_sagemaker_pipelines.triggers.threads import in_thread


class EndingTrigger(BaseTrigger):
    """A trigger that may end its task by itself, and whose kill stops what the task waits for."""

    #: Whether a kill of the task stops what it waits for.
    stop_on_kill: bool
    _has_ended = False

    @property
    def of_task(self) -> dict[str, Any]:
        """What names the task in a call about its XComs."""
        ti: Any = self.task_instance
        index = -1 if ti.map_index is None else ti.map_index
        return {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": index}

    def push(self, values: Mapping[str, Any]) -> None:
        """Leave values in the task's XCom, by key; it blocks."""
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415

        for key, value in values.items():
            XCom.set(key=key, value=value, **self.of_task)

    async def succeed(self, result: dict[str, Any]) -> TriggerEvent | None:
        """End the task with a result; ``None`` if that must be left to a worker.

        The event itself could carry it, but Airflow 3.3.2 makes JSON of it twice, and passes by the XCom backend.
        """
        try:
            await in_thread(partial(self.push, {"return_value": result}))
        except Exception as error:  # noqa: BLE001 - a worker is another way
            self.log.warning("The result could not be pushed from here, so a worker does it: %s", error)
            return None
        return self.ended(TaskSuccessEvent())

    def resumption(self, payload: dict[str, Any]) -> TriggerEvent:
        """Return the event that has a worker resume the task."""
        return self.ended(TriggerEvent(payload))  # type: ignore[no-untyped-call]

    def ended(self, event: TriggerEvent) -> TriggerEvent:
        """Return an event that ends the wait; from now on a kill is not this trigger's matter."""
        self._has_ended = True
        return event

    async def on_kill(self) -> None:
        """Stop what the task waits for, because somebody ended it while it was deferred.

        Airflow cuts this method short after a second, hence the shielded task.
        """
        if not self._has_ended and self.stop_on_kill:
            await asyncio.shield(in_background(self._stop()))

    @abstractmethod
    async def _stop(self) -> None:
        """Stop it, unless the task goes on elsewhere."""
