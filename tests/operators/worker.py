"""An Airflow worker and triggerer without a server: the SDK's own task runner, on a server made of dictionaries."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    InactiveAssetsResult,
    TaskStatesResult,
    TaskStateStoreResult,
    XComResult,
    XComSequenceSliceResult,
)
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.serde import deserialize, serialize

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.triggers.base import BaseTrigger


class Server:
    """What the api server keeps, and the answers that tasks and triggers get from it."""

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.states: dict[str, str] = {}
        self.rendered: dict[str, dict[str, Any]] = {}
        self.stored: dict[tuple[Any, str], Any] = {}

    def send(self, msg: Any) -> Any:
        """Answer one message."""
        answer = getattr(self, f"_{msg.type}", None)
        return answer(msg) if answer else None

    async def asend(self, msg: Any) -> Any:
        """Answer one message to asynchronous code."""
        return self.send(msg)

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        """What a task has left."""
        return next(
            (values[key] for (_, _, task), values in self.xcoms.items() if task == task_id and key in values), None
        )

    def _entries(self, msg: Any) -> dict[str, Any]:
        return self.xcoms.setdefault((msg.dag_id, msg.run_id, msg.task_id), {})

    def _SetXCom(self, msg: Any) -> None:
        # What is no JSON does not reach a real server either.
        self._entries(msg)[msg.key] = json.loads(json.dumps(msg.value))

    def _DeleteXCom(self, msg: Any) -> None:
        self._entries(msg).pop(msg.key, None)

    def _GetXCom(self, msg: Any) -> XComResult:
        return XComResult(key=msg.key, value=self._entries(msg).get(msg.key))

    def _GetXComSequenceSlice(self, msg: Any) -> XComSequenceSliceResult:
        entries = self._entries(msg)
        return XComSequenceSliceResult(root=[entries[msg.key]] if msg.key in entries else [])

    def _ValidateInletsAndOutlets(self, msg: Any) -> InactiveAssetsResult:
        return InactiveAssetsResult(inactive_assets=[])

    def _SetRenderedFields(self, msg: Any) -> None:
        self.rendered.update(msg.rendered_fields)

    def _GetTaskStates(self, msg: Any) -> TaskStatesResult:
        # As Airflow's own server, which calls an instance of a mapped task <task id>_<map index>.
        asked = msg.task_ids or self.states
        states = {
            name: state for name, state in self.states.items() if name in asked or name.rpartition("_")[0] in asked
        }
        return TaskStatesResult(task_states=dict.fromkeys(msg.run_ids, states))

    def _SetTaskStateStore(self, msg: Any) -> None:
        self.stored[msg.ti_id, msg.key] = msg.value

    def _GetTaskStateStore(self, msg: Any) -> Any:
        if (msg.ti_id, msg.key) not in self.stored:
            return ErrorResponse(error="TASK_STORE_NOT_FOUND")
        return TaskStateStoreResult(value=self.stored[msg.ti_id, msg.key])

    def _DeleteTaskStateStore(self, msg: Any) -> None:
        self.stored.pop((msg.ti_id, msg.key), None)


@dataclass
class Outcome:
    """How a stay of a task on a worker has ended."""

    state: str
    message: Any
    error: BaseException | None
    task: Any

    @property
    def trigger(self) -> BaseTrigger:
        """What a triggerer makes of a deferral."""
        if self.state != "deferred":
            raise AssertionError(f"the task is {self.state}, not deferred: {self.error}")
        # As the database keeps it.
        message = json.loads(self.message.model_dump_json())
        module, _, name = message["classpath"].rpartition(".")
        return getattr(import_module(module), name)(**deserialize(message["trigger_kwargs"]))


@dataclass
class Worker:
    """Runs the tasks of one DAG run.

    :param has_store: whether tasks have a ``task_state_store``, as since Airflow 3.3.
    """

    dag: DAG
    server: Server
    conf: dict[str, Any] = field(default_factory=dict)
    run_id: str = "scheduled__2026-01-01T00:00:00+00:00"
    ids: dict[str, Any] = field(default_factory=dict)
    has_store: bool = True

    def start(self, task_id: str, *, try_number: int = 1, max_tries: int | None = None) -> Outcome:
        """Run a new try of a task until it ends or waits.

        :param max_tries: what the server says; more than the task's retries once somebody has cleared the task.
        """
        self.server.xcoms.pop((self.dag.dag_id, self.run_id, task_id), None)
        return self._run(task_id, try_number, max_tries)

    def resume(
        self, waiting: Outcome, event: Any, task_id: str, *, try_number: int = 1, max_tries: int | None = None
    ) -> Outcome:
        """Run a waiting task with what its trigger has said."""
        next_kwargs = deserialize(waiting.message.next_kwargs) | {"event": event}
        next_step = {"next_method": waiting.message.next_method, "next_kwargs": serialize(next_kwargs)}
        return self._run(task_id, try_number, max_tries, **next_step)

    def resume_crashed(self, task_id: str, *, try_number: int = 1, max_tries: int | None = None) -> Outcome:
        """Run a waiting task whose trigger has crashed."""
        next_kwargs = {"error": TriggerFailureReason.TRIGGER_FAILURE.value, "traceback": ["Traceback: oh no"]}
        next_step = {"next_method": TRIGGER_FAIL_REPR, "next_kwargs": serialize(next_kwargs)}
        return self._run(task_id, try_number, max_tries, **next_step)

    def run(self, task_id: str, *, try_number: int = 1, max_tries: int | None = None) -> Outcome:
        """Run a new try to its end, with all its waiting."""
        tries: dict[str, Any] = {"try_number": try_number, "max_tries": max_tries}
        outcome = self.start(task_id, **tries)
        while outcome.state == "deferred":
            outcome = self.resume(outcome, event_of(outcome.trigger), task_id, **tries)
        return outcome

    def _run(self, task_id: str, try_number: int, max_tries: int | None, **next_step: Any) -> Outcome:
        task = self.dag.get_task(task_id)
        max_tries = task.retries if max_tries is None else max_tries
        now = datetime.now(UTC)
        dag_run = DagRun(
            dag_id=self.dag.dag_id,
            run_id=self.run_id,
            logical_date=datetime(2026, 1, 1, tzinfo=UTC),
            data_interval_start=datetime(2026, 1, 1, tzinfo=UTC),
            data_interval_end=datetime(2026, 1, 2, tzinfo=UTC),
            run_after=datetime(2026, 1, 2, tzinfo=UTC),
            start_date=now - timedelta(minutes=1),
            end_date=None,
            run_type="scheduled",
            state="running",
            conf=self.conf,
            consumed_asset_events=[],
            partition_key=None,
        )
        ti = RuntimeTaskInstance.model_construct(
            id=self.ids.setdefault(task_id, uuid4()),
            task_id=task_id,
            dag_id=self.dag.dag_id,
            run_id=self.run_id,
            try_number=try_number,
            dag_version_id=uuid4(),
            map_index=-1,
            task=task,
            max_tries=max_tries,
            start_date=now,
            _ti_context_from_server=TIRunContext(
                dag_run=dag_run, max_tries=max_tries, should_retry=try_number <= max_tries, **next_step
            ),
        )
        log = structlog.get_logger()
        context = ti.get_template_context()
        if not self.has_store:
            context.pop("task_state_store")
        self.server.states[task_id] = "running"
        state, message, error = task_runner.run(ti, context, log)
        task_runner.finalize(ti, state, context, log, error)
        self.server.states[task_id] = state.value
        return Outcome(state.value, message, error, ti.task)


def event_of(trigger: BaseTrigger) -> Any:
    """Run a trigger until it has said something, and return that as the server keeps it."""

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("the trigger has said nothing")

    return json.loads(json.dumps(asyncio.run(asyncio.wait_for(first(), timeout=30))))
