"""A start that AWS refuses because a quota is reached waits for its turn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.operators.retries import exception_types
from airflow_sagemaker_pipelines.steps.errors import RESOURCE_LIMIT_CODES

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import Step
    from airflow_sagemaker_pipelines.steps.errors import StepCallError
    from airflow_sagemaker_pipelines.triggers.capacity import CapacityTrigger


def capacity_trigger(
    error: StepCallError, step: Step, *, waited_since: float | None, waits: int, timeout: float
) -> CapacityTrigger | None:
    """Return what a refused start waits by.

    :param waited_since: Unix time of the first refusal, ``None`` if this is the first.
    :param waits: how often the start has waited.
    :param timeout: the most seconds that it waits in all.
    :returns: ``None`` if it does not wait: no quota is the cause, the time is up, or the step's retry policies say what
        happens.
    """
    covered = {kind for policy in step.retry_policies for kind in policy.exception_types}
    if error.code not in RESOURCE_LIMIT_CODES or covered & exception_types(error, step):
        return None
    since = waited_since or time.time()
    left = since + timeout - time.time()
    if left <= 0:
        return None
    from airflow_sagemaker_pipelines.triggers.capacity import CapacityTrigger  # noqa: PLC0415

    return CapacityTrigger.after(waits, waited_since=since, at_most=left)
