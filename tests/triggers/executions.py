"""What tests of the triggers that wait in executions share."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from importlib import import_module
from typing import Any

from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import DagRunStateResult
from airflow.sdk.serde import deserialize, serialize

from airflow_sagemaker_pipelines.execution_notes import RunExecution
from airflow_sagemaker_pipelines.xcom_keys import EXECUTION_KEY
from tests.operators.worker import Server
from tests.triggers.waiting import task_instance

START_TASK = "start-pipeline-execution"
#: What the triggerer cancels a trigger with when somebody has ended its task.
KILL = "__airflow_user_action__"


class RunServer(Server):
    """The server, which knows the state of the run, too."""

    run_state = "running"

    def _GetDagRunState(self, msg: Any) -> DagRunStateResult:
        return DagRunStateResult(state=self.run_state)

    def enter(self, arn: str, digest: str = "", **selection: Any) -> None:
        """Note that the run is in an execution."""
        note = json.loads(json.dumps(asdict(RunExecution(arn=arn, digest=digest, **selection))))
        self.xcoms.setdefault(("abalone", "run-1", START_TASK), {})[EXECUTION_KEY] = note


def of_run(trigger: Any, *, task_id: str = "Train", try_number: int = 1, map_index: int = -1) -> Any:
    """Give a trigger the task instance that it has in a triggerer, deferred unless the test says otherwise."""
    trigger.task_instance = task_instance(task_id=task_id, try_number=try_number, map_index=map_index)
    name = task_id if map_index < 0 else f"{task_id}_{map_index}"
    task_runner.SUPERVISOR_COMMS.states.setdefault(name, "deferred")
    return trigger


def again(trigger: Any) -> Any:
    """Make a trigger as it comes out of the database."""
    classpath, arguments = trigger.serialize()
    module, _, name = classpath.rpartition(".")
    stored = json.loads(json.dumps(serialize(arguments)))
    return getattr(import_module(module), name)(**deserialize(stored))


def event(trigger: Any, seconds: float = 60) -> Any:
    """Run a trigger to its event."""

    async def first() -> Any:
        return await asyncio.wait_for(anext(trigger.run()), seconds)

    return asyncio.run(first())


def killed(trigger: Any, *, after: float = 0.3) -> None:
    """Run a trigger as the triggerer does, then end its task, and let what that begins come to its end."""

    async def run() -> None:
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(after)
        running.cancel(KILL)
        await asyncio.gather(running, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(run())
