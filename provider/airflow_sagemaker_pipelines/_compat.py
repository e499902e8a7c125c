"""The differences between the Airflow versions that the provider supports, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.bases.skipmixin import SkipMixin
    from airflow.sdk.exceptions import AirflowFailException
else:
    try:
        from airflow.sdk.bases.skipmixin import SkipMixin
        from airflow.sdk.exceptions import AirflowFailException
    except ImportError:  # Airflow 3.1
        from airflow.exceptions import AirflowFailException
        from airflow.providers.standard.utils.skipmixin import SkipMixin

__all__ = ["AirflowFailException", "SkipMixin", "is_resuming"]


def is_resuming(task_instance: Any) -> bool:
    """Whether a task starts again after a deferral. The SDK has no public word for it."""
    context = getattr(task_instance, "_ti_context_from_server", None)
    return bool(context and context.next_method)
