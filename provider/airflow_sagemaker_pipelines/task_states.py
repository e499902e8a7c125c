"""The state of a task instance, as Airflow's server knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: States in which somebody else may put a task that is at work.
ENDED = frozenset({"success", "failed", "skipped", "removed"})


def state_of(ti: Any) -> str | None:
    """Return a task instance's present state; it blocks.

    :param ti: the task instance, of a worker or of a trigger.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    # Airflow's server calls an instance of a mapped task so.
    name = f"{ti.task_id}_{ti.map_index}" if is_mapped else ti.task_id
    state = states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))


#: States of tasks from which nothing more comes, unless somebody clears them.
_FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def open_among(states: Mapping[str, str | None]) -> list[str]:
    """Return the tasks that may still do something."""
    return [name for name, state in states.items() if state not in _FINISHED]


def task_states(ti: Any, task_ids: Sequence[str]) -> dict[str, str | None]:
    """Return the states of tasks of the run; those of a mapped task have its index after their name. It blocks."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    states = RuntimeTaskInstance.get_task_states(dag_id=ti.dag_id, task_ids=list(task_ids), run_ids=[ti.run_id])
    found = states.get(ti.run_id, {})
    return {name: None if state is None else str(getattr(state, "value", state)) for name, state in found.items()}


def dag_run_state(ti: Any) -> str:
    """Return the state of the run; it blocks."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    state = RuntimeTaskInstance.get_dagrun_state(dag_id=ti.dag_id, run_id=ti.run_id)
    return str(getattr(state, "value", state))
