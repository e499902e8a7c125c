"""What the table shows of a run: Airflow's answers as rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# The XCom in which a task of ours notes what it has made in AWS, as soon as it has made it: {"name": name or ARN}.
NOTED_KEY = "sagemaker_resource"
WAITING = "waiting"
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
# Airflow's words for "a job is running and no worker is held", "no state yet".
SHOWN_AS = {"deferred": "running in AWS", "": WAITING, "None": WAITING}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One step of the run."""

    task_id: str
    state: str
    seconds: float | None
    resource: str

    @property
    def duration(self) -> str:
        """The duration, for people."""
        return "" if self.seconds is None else f"{self.seconds:.1f} s"


def order(tasks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Task ids, every task after its upstreams, else in the order given. (A task's downstream has no order.)"""
    downstream = {task["task_id"]: list(task.get("downstream_task_ids") or ()) for task in tasks}
    waits_for = dict.fromkeys(downstream, 0)
    for followers in downstream.values():
        for follower in followers:
            waits_for[follower] += 1
    ready = [task_id for task_id, count in waits_for.items() if count == 0]
    ordered = []
    while ready:
        task_id = ready.pop(0)
        ordered.append(task_id)
        for follower in downstream[task_id]:
            waits_for[follower] -= 1
        ready += [follower for follower in downstream if follower in downstream[task_id] and not waits_for[follower]]
    return ordered


def row(instance: Mapping[str, Any], noted: Any, result: Any, now: datetime) -> Row:
    """The row of a task instance, of what it has noted so far, and of what it has returned."""
    state = str(instance.get("state") or "")
    return Row(
        task_id=instance["task_id"],
        state=SHOWN_AS.get(state, state),
        seconds=_seconds(instance, now),
        resource=resource(noted, result),
    )


def _seconds(instance: Mapping[str, Any], now: datetime) -> float | None:
    if not instance.get("start_date") or instance.get("state") in {"skipped", "upstream_failed"}:
        return None
    start = datetime.fromisoformat(instance["start_date"])
    end = datetime.fromisoformat(instance["end_date"]) if instance.get("end_date") else now
    return max(0.0, (end.astimezone(UTC) - start.astimezone(UTC)).total_seconds())


def resource(noted: Any, result: Any) -> str:
    """What a step has made in AWS, or what a condition has decided; empty when it has said neither."""
    name = find(noted, "name")
    if isinstance(name, str):
        return name.rpartition(":")[2]
    outcome = find(result, "Outcome")
    return "" if outcome is None else f"outcome: {outcome}"


def find(value: Any, key: str) -> Any:
    """The value under a key of a JSON object or of the objects in it, the outermost first; None when absent."""
    level = [value]
    while level:
        objects = [item for item in level if isinstance(item, Mapping)]
        for item in objects:
            if item.get(key) is not None:
                return item[key]
        level = [child for item in objects for child in item.values()]
    return None
