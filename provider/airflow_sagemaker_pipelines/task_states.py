"""The state of a task instance, as Airflow's server knows it."""

from __future__ import annotations

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
