"""The differences between the Airflow versions that the provider supports, and nothing else."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    BaseOperatorLink,
    SkipMixin,
)

__all__ = [
    "AirflowFailException",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseOperator",
    "BaseOperatorLink",
    "SkipMixin",
    "is_resuming",
]


def is_resuming(task_instance: Any) -> bool:
    """Whether a task starts again after a deferral. The SDK has no public word for it."""
    context = getattr(task_instance, "_ti_context_from_server", None)
    return bool(context and context.next_method)
