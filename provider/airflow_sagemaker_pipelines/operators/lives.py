"""A life of a task: its tries from one clear to the next, and the notes that they leave each other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.runner import Handle


def life_of(ti: Any) -> int:
    """Count what was tried before the task was last cleared; the same in all tries since.

    A clear sets ``max_tries`` to the tries so far plus the task's retries; nothing else changes it.
    """
    return max(0, int(ti.max_tries or 0) - int(ti.task.retries or 0))


def failures_before(ti: Any) -> int:
    """Count the tries of a task's present life that failed before this one."""
    return max(0, int(ti.try_number) - life_of(ti) - 1)


def first_try_age(context: Mapping[str, Any]) -> timedelta:
    """Return the time since the first try of a task's present life began.

    Airflow 3.3 keeps that time between tries; before, the run's start stands in, so that a policy's ``ExpireAfterMin``
    ends early rather than late.
    """
    store, now = context.get("task_state_store"), datetime.now(UTC)
    if store is None:
        return now - (context["dag_run"].start_date or now)
    key = f"first_try_of_life_{life_of(context['ti'])}"
    if (began := store.get(key)) is None:
        began = now.isoformat()
        store.set(key, began)
    return now - datetime.fromisoformat(str(began))


def note_told(context: Mapping[str, Any], handle: Handle) -> None:
    """Note that Airflow is about to be told of a failure that is to be retried, so that another try starts anew.

    Without the note, a retry after the death of the worker that was to tell it takes the failure for its own.
    """
    if (store := context.get("task_state_store")) is not None and "name" in handle:
        store.set(_told_key(context), [*_told(context), handle["name"]])


def is_told(context: Mapping[str, Any], handle: Handle) -> bool:
    """Whether an earlier try has told of a failure. Airflow older than 3.3 keeps no such notes."""
    return context.get("task_state_store") is None or handle.get("name") in _told(context)


def _told(context: Mapping[str, Any]) -> list[str]:
    return list(context["task_state_store"].get(_told_key(context)) or ())


def _told_key(context: Mapping[str, Any]) -> str:
    return f"told_failures_of_life_{life_of(context['ti'])}"
