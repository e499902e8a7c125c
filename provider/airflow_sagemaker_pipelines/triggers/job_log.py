"""Writes what a job logs into the log of the task that waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.triggers.threads import in_thread

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import StepType
    from airflow_sagemaker_pipelines.steps.logs import LogStream, Turns
    from airflow_sagemaker_pipelines.steps.runner import Handle

#: Seconds between two looks at the log of one job.
_INTERVAL = 15.0
#: A line may have been written this long before the task knew that the job had started.
_MARGIN = 60.0
#: Seconds that the end of the wait is held up for the last lines, at most.
_PATIENCE = 20.0

#: By region of a connection: AWS counts the calls of all jobs together.
_turns: dict[str, Turns] = {}


@asynccontextmanager
async def streamed_log(
    step_type: StepType, handle: Handle, connection: AwsConnection, *, since: float, log: logging.Logger | Any
) -> AsyncIterator[None]:
    """Write a job's new lines into a log, every quarter of a minute, and the last ones at the end.

    A restarted triggerer begins with the job's first line again. Types without a log in CloudWatch are left alone.

    :param since: Unix time at which the job was started.
    :param log: the trigger's.
    """
    from airflow_sagemaker_pipelines.steps.logs import LogStream, log_source  # noqa: PLC0415
    from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

    source = log_source(runner_of(step_type), handle)
    if source is None:
        yield
        return
    stream, is_over = LogStream(source, since=since - _MARGIN), asyncio.Event()
    following = asyncio.get_running_loop().create_task(_follow(stream, is_over, connection, log))
    try:
        yield
        is_over.set()
        await asyncio.wait([following], timeout=_PATIENCE)
        if not following.done():
            log.warning("The job's last lines are in CloudWatch only: it did not answer in time")
    finally:
        following.cancel()


async def _follow(stream: LogStream, is_over: asyncio.Event, connection: AwsConnection, log: logging.Logger) -> None:
    """Write the new lines now and then, and the last ones when it is over.

    A look is never cut short: what it has read would be lost, as the stream does not read it again.
    """
    try:
        is_last = False
        while not is_last:
            is_last = await _is_set_within(is_over, 0 if stream.is_behind else _INTERVAL)
            if not is_last:
                is_last = await _is_set_within(is_over, await in_thread(partial(_turn, connection)))
            await _write(stream, connection, log)
        while stream.is_behind:
            await _write(stream, connection, log)
    except Exception as error:  # noqa: BLE001 - a log is worth having, but never a wait
        log.warning("The job's lines are in CloudWatch only: %s", error)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()


async def _write(stream: LogStream, connection: AwsConnection, log: logging.Logger) -> None:
    read = await in_thread(lambda: stream.read(shared_clients(connection)))
    read.write(log)


def _turn(connection: AwsConnection) -> float:
    from airflow_sagemaker_pipelines.steps.logs import Turns  # noqa: PLC0415

    region = f"{connection.aws_conn_id} {shared_clients(connection).region_name}"
    return _turns.setdefault(region, Turns()).turn()
