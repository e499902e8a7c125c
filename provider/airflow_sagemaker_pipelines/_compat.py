"""The differences between the Airflow versions that the provider supports, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import RetryPolicy
    from airflow.sdk.bases.skipmixin import SkipMixin
    from airflow.sdk.definitions.retry_policy import RetryDecision
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
    )
else:
    try:
        from airflow.sdk.bases.skipmixin import SkipMixin
        from airflow.sdk.exceptions import (
            AirflowFailException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
            TaskDeferralError,
        )
    except ImportError:  # Airflow 3.1
        from airflow.exceptions import (
            AirflowFailException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
            TaskDeferralError,
        )
        from airflow.providers.standard.utils.skipmixin import SkipMixin
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:  # before Airflow 3.3

        class RetryPolicy:
            """Stands in where no task asks for one."""

        RetryDecision = None

#: Whether tasks take a ``retry_policy`` (Airflow 3.3).
HAS_RETRY_POLICIES: bool = RetryDecision is not None

#: Whether tasks may begin in the triggerer with all that they need there (Airflow 3.3).
STARTS_FROM_TRIGGER: bool = HAS_RETRY_POLICIES

__all__ = [
    "HAS_RETRY_POLICIES",
    "STARTS_FROM_TRIGGER",
    "AirflowFailException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "RetryDecision",
    "RetryPolicy",
    "SkipMixin",
    "TaskDeferralError",
    "has_success_listeners",
    "resumes_with",
]


def resumes_with(task_instance: Any) -> str | None:
    """Return the method with which a task starts again after a deferral. The SDK has no public word for it."""
    context = getattr(task_instance, "_ti_context_from_server", None)
    return context.next_method if context else None


def has_success_listeners() -> bool:
    """Whether a plugin wants to hear of tasks that have succeeded, which only a worker tells it."""
    try:
        from airflow.sdk.listener import get_listener_manager  # noqa: PLC0415
    except ImportError:  # Airflow 3.1
        from airflow.listeners.listener import get_listener_manager  # type: ignore[assignment]  # noqa: PLC0415
    return bool(get_listener_manager().hook.on_task_instance_success.get_hookimpls())
