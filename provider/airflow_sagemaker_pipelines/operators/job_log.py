"""The last lines of a failed job, in the task's log and in its error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.hooks.aws import AwsClients
    from airflow_sagemaker_pipelines.steps.runner import Handle, StepRunner


def last_lines(
    runner: StepRunner, clients: AwsClients, handle: Handle, *, reason: str | None, log: logging.Logger | Any
) -> str | None:
    """Write the last lines of a job's CloudWatch log to the task's log, and return them for the error's text.

    :param reason: why the job failed: the log of an instance that it names is read first.
    :returns: ``None`` for what has no log, or one that cannot be read, which the task's log then says.
    """
    from airflow_sagemaker_pipelines.steps.log_lines import excerpt  # noqa: PLC0415
    from airflow_sagemaker_pipelines.steps.logs import log_source, tail  # noqa: PLC0415

    source = log_source(runner, handle)
    if source is None:
        return None
    read = tail(clients, source, reason=reason)
    read.write(log)
    return excerpt(read.lines) or None
