"""Which execution a run of the DAG is in, and which tasks have seen their step end in it.

Both are XComs of the task that starts executions: so a clear of that task, which starts all anew, forgets them, and a
clear of any other task does not. Every task of the run may write them; these calls block.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.xcom_keys import EXECUTION_KEY, SEEN_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExecution:
    """The execution that a run is in at present.

    :param arn: its ARN.
    :param digest: of the definition that the DAG had when it started.
    :param selected: the steps that run in it; ``None``: all.
    :param reused: steps before those, which stand as succeeded without having run.
    """

    arn: str
    digest: str
    selected: Sequence[str] | None = None
    reused: Sequence[str] = ()

    def leaves_out(self, step: str) -> bool:
        """Whether a step neither runs nor is reused."""
        return self.selected is not None and step not in self.selected and step not in self.reused

    def stands_in_for(self, step: str) -> bool:
        """Whether an earlier execution's result stands in for a step's."""
        return self.selected is not None and step in self.reused


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEnd:
    """An end of a step that its task has seen.

    :param execution: the execution's ARN.
    :param ended: when the step ended there, ``None`` if it has not started.
    :param last_of_life: the life of the task of which this end is the last word. If another try of that life comes,
        the worker has died with the news: that try tells it.
    """

    execution: str
    ended: str | None
    last_of_life: int | None = None


class Notes:
    """What the tasks of one run have noted.

    :param ti: any task instance of the run, a worker's or a trigger's.
    :param start_task_id: the task that starts executions.
    """

    def __init__(self, ti: Any, start_task_id: str) -> None:
        self._of_start = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": start_task_id, "map_index": -1}
        self._seen_key = f"{SEEN_KEY}.{ti.task_id}" + (f".{ti.map_index}" if _is_mapped(ti) else "")

    def execution(self) -> RunExecution | None:
        """Return the execution that the run is in, ``None`` if there is none yet."""
        note = self._read(EXECUTION_KEY)
        return None if note is None else RunExecution(**note)

    def enter(self, execution: RunExecution) -> None:
        """Note that the run is in another execution from now on."""
        self._write(EXECUTION_KEY, asdict(execution))

    def seen(self) -> SeenEnd | None:
        """Return the last end of its step that the task has seen."""
        note = self._read(self._seen_key)
        return None if note is None else SeenEnd(**note)

    def see(self, end: SeenEnd) -> None:
        """Note that the task is about to end because its step has."""
        self._write(self._seen_key, asdict(end))

    def _read(self, key: str) -> Any:
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415

        return XCom.get_one(key=key, **self._of_start)

    def _write(self, key: str, value: Any) -> None:
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415

        XCom.set(key=key, value=value, **self._of_start)


def _is_mapped(ti: Any) -> bool:
    return ti.map_index is not None and ti.map_index >= 0
