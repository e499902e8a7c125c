"""What a trigger does when its task is killed. Airflow gives it a second, and less to a process that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import cache
from importlib import import_module
from itertools import count
from typing import Any

from airflow_sagemaker_pipelines.triggers import pace
from airflow_sagemaker_pipelines.triggers.threads import in_thread

#: So often AWS is asked to stop something before it is left to run; half a minute in all.
_STOP_ATTEMPTS = 6
#: What goes on in the background, as asyncio may collect a task that nobody refers to.
_background: set[asyncio.Task[None]] = set()


def in_background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Do something that outlives whoever began it."""
    task = asyncio.get_running_loop().create_task(work)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task


@cache
def prepare_for_kills() -> None:
    """Import what a stop needs: the first import takes seconds, in which the triggerer may be gone."""

    def load() -> None:
        import_module("airflow.sdk.execution_time.task_runner")
        import_module("airflow_sagemaker_pipelines.steps.registry")
        import_module("airflow_sagemaker_pipelines.executions.control")

    in_background(in_thread(load))


async def stop_at_last(stop: Callable[[], None], what: str, log: Any) -> None:
    """Stop something, again and again if AWS gives no answer; the log says if it could not be stopped.

    :param stop: blocks; raises what AWS's refusal is turned into, or a botocore error.
    :param what: what is stopped, for messages.
    """
    log.info("Stopping %s", what)
    for failures in count(1):
        error = await in_thread(lambda: _error_of(stop))
        if error is None:
            return
        if not _may_pass(error) or failures == _STOP_ATTEMPTS:
            log.warning("%s may still run: %s", what, error)
            return
        await asyncio.sleep(pace.back_off(failures))


def _error_of(stop: Callable[[], None]) -> Exception | None:
    try:
        stop()
    except Exception as error:  # noqa: BLE001 - it is told, and perhaps tried again
        return error
    return None


def _may_pass(error: Exception) -> bool:
    from airflow_sagemaker_pipelines.executions.errors import PipelineCallError  # noqa: PLC0415
    from airflow_sagemaker_pipelines.steps.aws import is_transient  # noqa: PLC0415
    from airflow_sagemaker_pipelines.steps.errors import StepCallError  # noqa: PLC0415

    return isinstance(error, PipelineCallError | StepCallError) or is_transient(error)
