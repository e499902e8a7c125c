"""What a cleared task has left running on AWS.

Who clears a task wants its job ended. Usually the triggerer sees to that. It does not know of a task that is cleared
in the second between its deferral and the start of its trigger, nor of one whose worker has died. Airflow 3.3 keeps
notes of a task that outlive a clear; on older versions such a job goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.operators.lives import life_of
from airflow_sagemaker_pipelines.steps.errors import StepRequestError

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.hooks.aws import AwsClients
    from airflow_sagemaker_pipelines.steps.runner import Handle, StepRunner

_KEY = "sagemaker_running"


def note_running(context: Mapping[str, Any], handle: Handle) -> None:
    """Note what runs for the task in its present life."""
    if (store := context.get("task_state_store")) is not None:
        store.set(_KEY, {"life": life_of(context["ti"]), "handle": handle})


def forget_running(context: Mapping[str, Any]) -> None:
    """Drop the note: what it names is over."""
    if (store := context.get("task_state_store")) is not None:
        store.delete(_KEY)


def stop_leftovers(
    context: Mapping[str, Any], runner: StepRunner, clients: AwsClients, log: logging.Logger | Any
) -> None:
    """Stop what an earlier life of the task may have left running. If AWS refuses, the log says so.

    :raises StepCallError: if AWS gives no answer now; the next try asks again.
    """
    handle = left_running(context)
    if not handle:
        return
    from airflow_sagemaker_pipelines.steps.aws import aws_call  # noqa: PLC0415

    try:
        with aws_call("The call to stop what ran before", step=context["task"].step.name):
            if _still_runs(runner, clients, handle):
                log.info("Stopping %s, which ran before the task was cleared", runner.resource(handle))
                runner.stop(clients, handle)
    except StepRequestError as error:
        log.warning("%s may still run, though the task was cleared: %s", runner.resource(handle), error)
    # Not before: the worker may die on the way.
    forget_running(context)


def _still_runs(runner: StepRunner, clients: AwsClients, handle: Handle) -> bool:
    try:
        return not runner.poll(clients, handle).verdict.is_final
    except NotImplementedError:
        # Nobody can ask the worker of a callback; but once it has replied, the note is gone.
        return True


def left_running(context: Mapping[str, Any]) -> Handle | None:
    """Return what an earlier life of the task may have left running."""
    store = context.get("task_state_store")
    life = life_of(context["ti"])
    if store is None or life == 0:
        return None
    note = store.get(_KEY)
    if not note or note["life"] >= life:
        return None
    handle: Handle = note["handle"]
    return handle
