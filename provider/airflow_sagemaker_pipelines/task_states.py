"""The states of task instances, as Airflow's server knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: States by which somebody has given up what a task was to do.
GIVEN_UP = frozenset({"failed", "skipped", "removed"})
#: States in which somebody else may put a task that is at work.
ENDED = GIVEN_UP | {"success"}
#: States from which nothing more comes, unless somebody clears the task.
FINISHED = ENDED | {"upstream_failed"}


def task_states(ti: Any, task_ids: Sequence[str], *, map_index: int | None = None) -> dict[str, str | None]:
    """Return the states of tasks of a run; those of a mapped task have its index after their name. It blocks.

    :param ti: any task instance of the run, of a worker or of a trigger.
    :param map_index: only instances with this index; ``None``: all.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=list(task_ids), run_ids=[ti.run_id], map_index=map_index
    )
    return {name: _text(state) for name, state in states.get(ti.run_id, {}).items()}


def state_of(ti: Any) -> str | None:
    """Return a task instance's present state; it blocks.

    :param ti: the task instance, of a worker or of a trigger.
    """
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    name = instance_name(ti.task_id, ti.map_index) if is_mapped else ti.task_id
    return task_states(ti, [ti.task_id], map_index=ti.map_index).get(name)


def instance_name(task_id: str, index: int) -> str:
    """Return what Airflow's server calls an instance of a mapped task."""
    return f"{task_id}_{index}"


def open_among(states: Mapping[str, str | None]) -> list[str]:
    """Return the tasks that may still do something."""
    return [name for name, state in states.items() if state not in FINISHED]


def dag_run_state(ti: Any) -> str:
    """Return the state of the run; it blocks."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    return str(_text(RuntimeTaskInstance.get_dagrun_state(dag_id=ti.dag_id, run_id=ti.run_id)))


def _text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
