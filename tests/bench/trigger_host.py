"""Runs triggers as a triggerer does, in a process of its own, and tells when each fired and what that took.

    python -m tests.bench.trigger_host <which triggers> <file of jobs> <file for the result>

The jobs, or executions and their steps, are given as pairs: a name, and the Unix time from which on it is waited for.

The process is Airflow's own runner of triggers. What it would ask its supervisor, which alone knows the database, is
answered here: which triggers to begin with, fifty at a time as a triggerer takes them up, that XComs were stored, and
that all tasks are deferred.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from airflow.executors.workloads import RunTrigger
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.jobs.triggerer_job_runner import TriggerRunner, messages
from airflow.models.trigger import Trigger
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
from airflow.triggers.base import BaseTrigger

POLL_SECONDS = 15
#: Airflow's ``[triggerer] max_trigger_to_select_per_loop``.
AT_A_TIME = 50
LAG_PERIOD = 0.02
#: SageMaker's longest execution.
WEEKS = 28 * 24 * 3600


def our_trigger(job: str, since: float) -> BaseTrigger:
    """Return the trigger with which a step of a pipeline waits."""
    from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
    from airflow_sagemaker_pipelines.triggers.step import StepTrigger

    return StepTrigger(
        step_type="Training",
        handle={"name": job},
        connection=AwsConnection().serialize(),
        poll_interval=POLL_SECONDS,
        since=since,
        deadline=time.time() + WEEKS,
        try_number=1,
        ends_task=True,
    )


def amazon_trigger(job: str, _since: float) -> BaseTrigger:
    """Return the trigger with which ``SageMakerTrainingOperator`` waits."""
    from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger

    attempts = WEEKS // POLL_SECONDS
    return SageMakerTrigger(job_name=job, job_type="Training", waiter_delay=POLL_SECONDS, waiter_max_attempts=attempts)


def our_execution_trigger(name: str, _since: float) -> BaseTrigger:
    """Return the trigger with which a run waits for its execution, or, if a step is named, for that step of it."""
    from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
    from airflow_sagemaker_pipelines.triggers.pipeline_execution import PipelineExecutionTrigger
    from airflow_sagemaker_pipelines.triggers.pipeline_step import PipelineStepTrigger

    arn, step = execution_and_step(name)
    arguments: dict[str, Any] = {
        "connection": AwsConnection().serialize(),
        "poll_interval": POLL_SECONDS,
        "execution": {"arn": arn, "digest": ""},
    }
    return PipelineStepTrigger(step=step, **arguments) if step else PipelineExecutionTrigger(**arguments)


def amazon_execution_trigger(name: str, _since: float) -> BaseTrigger:
    """Return the trigger with which ``SageMakerStartPipelineOperator`` waits."""
    from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerPipelineTrigger

    return SageMakerPipelineTrigger(
        waiter_type=SageMakerPipelineTrigger.Type.COMPLETE,
        pipeline_execution_arn=name,
        waiter_delay=POLL_SECONDS,
        waiter_max_attempts=WEEKS // POLL_SECONDS,
        aws_conn_id="aws_default",
    )


def execution_and_step(name: str) -> tuple[str, str]:
    """Return what a trigger waits for, whose name is an execution's ARN, with a step's name after it or without."""
    arn, _, index = name.partition("-Train")
    return arn, f"Train{index}" if index else ""


TRIGGERS: dict[str, Callable[[str, float], BaseTrigger]] = {
    "ours": our_trigger,
    "amazon": amazon_trigger,
    "ours-executions": our_execution_trigger,
    "amazon-executions": amazon_execution_trigger,
}


class _Fired(deque[Any]):
    """The runner's queue of events, which notes when each came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[int, float] = {}

    def append(self, entry: Any) -> None:
        """Take note."""
        self.times[entry.trigger_id] = time.time()
        super().append(entry)


def write_workloads(side: str, jobs: Sequence[tuple[str, float]], path: Path) -> None:
    """Write, a line for each job, what a supervisor sends: the trigger, and the task instance that waits."""
    with path.open("w") as file:
        for index, (job, begin) in enumerate(jobs):
            classpath, arguments = TRIGGERS[side](job, begin).serialize()
            run, _, step = job.partition("-Train")
            ti = TaskInstanceDTO(
                id=uuid.uuid4(),
                dag_id="bench",
                run_id=run,
                task_id=f"Train{step.partition('-')[0]}",
                try_number=1,
                dag_version_id=uuid.UUID(int=0),
                pool_slots=1,
                priority_weight=1,
            )
            kwargs = Trigger.encrypt_kwargs(arguments)
            file.write(
                RunTrigger(id=index, classpath=classpath, encrypted_kwargs=kwargs, ti=ti).model_dump_json() + "\n"
            )


class Host(TriggerRunner):
    """A runner of triggers without a supervisor.

    The first trigger runs alone: what comes with it, imports and clients, is not the cost of a wait.

    :param workloads: the triggers to run.
    :param begins: when each begins, in ascending order.
    """

    def __init__(self, workloads: Iterator[str], begins: Sequence[float]) -> None:
        super().__init__()
        self.events = self.fired = _Fired()
        self.lags: list[tuple[float, float]] = []
        self.memory: list[tuple[float, int]] = []
        self.all_wait: float | None = None
        self._workloads = workloads
        self._begins = begins
        self._begun = 0

    async def init_comms(self) -> None:
        """Stand in for the connection to the supervisor."""
        never = asyncio.get_running_loop().create_future()
        self.comms_decoder = SimpleNamespace(_reader_task=never, send=_answer)
        task_runner.SUPERVISOR_COMMS = self.comms_decoder
        self._lag_watch = asyncio.create_task(self._watch_lag())

    async def asend(self, msg: messages.TriggerStateChanges) -> messages.TriggerStateSync:
        """Answer a report to the supervisor."""
        if msg.failures:
            raise RuntimeError(f"A trigger has failed: {msg.failures[0]}")
        self.memory.append((time.time(), psutil.Process().memory_info().rss))
        self.stop = len(self.fired.times) == len(self._begins)
        create = [RunTrigger.model_validate_json(line) for line in islice(self._workloads, self._room)]
        self._begun += len(create)
        if self.all_wait is None and self._begun == len(self._begins):
            self.all_wait = time.time()
        return messages.TriggerStateSync(to_create=create, to_cancel=set())

    @property
    def _room(self) -> int:
        """How many triggers may begin now."""
        if self._begun == 0:
            return 1
        if not self.fired.times:
            return 0
        return min(AT_A_TIME, bisect_right(self._begins, time.time()) - self._begun)

    async def _watch_lag(self) -> None:
        """Note how much later than asked for the loop comes back."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LAG_PERIOD)
            self.lags.append((time.time(), loop.time() - before - LAG_PERIOD))


def _answer(message: object) -> object:
    """Answer that all tasks are deferred; accept anything else that a trigger sends, such as an XCom."""
    if isinstance(message, GetTaskStates):
        return TaskStatesResult(
            task_states={run: dict.fromkeys(message.task_ids, "deferred") for run in message.run_ids}
        )
    return None


def main() -> None:
    """Wait for all jobs, then write down how it went."""
    side, jobs, result = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    path = result.with_suffix(".workloads")
    # In another process, whose memory is not measured.
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        other.submit(write_workloads, side, jobs, path).result()
    with path.open() as workloads:
        host = Host(workloads, [begin for _, begin in jobs])
        host.run()
    measured = {
        "fired": {jobs[index][0]: at for index, at in host.fired.times.items()},
        "all_wait": host.all_wait,
        "lags": host.lags,
        "memory": host.memory,
        "cpu": sum(psutil.Process().cpu_times()[:2]),
    }
    result.write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
