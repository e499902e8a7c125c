"""One run of a DAG, from the trigger to its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_sagemaker_pipelines.local.demo.api import AirflowApi
from airflow_sagemaker_pipelines.local.demo.errors import DemoError
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components
from airflow_sagemaker_pipelines.local.demo.rows import ENDED, NOTED_KEY, Row, order, row
from airflow_sagemaker_pipelines.local.demo.table import RunView

DAG_SECONDS = 120.0
POLL_SECONDS = 0.5
ENDED_RUN = frozenset({"success", "failed"})


@dataclass
class Run:
    """A run, and what its tasks have noted and returned so far."""

    dag_id: str
    run_id: str
    state: str = "queued"
    results: dict[str, Any] = field(default_factory=dict)
    noted: dict[tuple[str, int], Any] = field(default_factory=dict)
    failed_tries: dict[str, int] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether the run has ended well."""
        return self.state == "success"


@dataclass(frozen=True)
class Runner:
    """Starts and follows runs on the demo's Airflow."""

    api: AirflowApi
    components: Components
    interrupts: Interrupts

    def start(self, dag_id: str, conf: dict[str, Any]) -> Run:
        """Wait until the DAG is known, unpause it, trigger it."""

        def known() -> bool:
            self.components.check()
            if self.api.has_dag(dag_id):
                return True
            errors = self.api.import_errors()
            if errors:
                raise DemoError(
                    "\n".join(f"{error['filename']} does not import:\n{error['stack_trace']}" for error in errors)
                )
            return False

        self.interrupts.wait_until(f"Airflow does not find the DAG {dag_id!r}", known, timeout=DAG_SECONDS)
        self.api.unpause(dag_id)
        return Run(dag_id, self.api.trigger(dag_id, conf))

    def follow(self, run: Run, view: RunView, *, timeout: float) -> None:
        """Show the run until it has ended; DemoError after `timeout` seconds."""
        task_ids = order(self.api.tasks(run.dag_id))

        def ended() -> bool:
            self.components.check()
            # First the run, then its tasks: so the tasks shown last are those of the ended run.
            run.state = self.api.run_state(run.dag_id, run.run_id)
            view.show(self._rows(run, task_ids))
            return run.state in ENDED_RUN

        self.interrupts.wait_until(f"The run {run.run_id} has not ended", ended, timeout=timeout, poll=POLL_SECONDS)

    def reasons(self, run: Run) -> dict[str, str]:
        """Failed task -> the last error of its log."""
        return {
            task_id: last_error(self.api.log(run.dag_id, run.run_id, task_id, tries))
            for task_id, tries in run.failed_tries.items()
        }

    def _rows(self, run: Run, task_ids: list[str]) -> list[Row]:
        instances = {item["task_id"]: item for item in self.api.task_instances(run.dag_id, run.run_id)}
        now = datetime.now(UTC)
        return [
            row(
                instances.get(task_id, {"task_id": task_id}),
                self._noted(run, instances.get(task_id)),
                self._result(run, instances.get(task_id)),
                now,
            )
            for task_id in task_ids
        ]

    def _noted(self, run: Run, instance: Mapping[str, Any] | None) -> Any:
        """What the present try has noted; asked for until there is something, or will not be."""
        if instance is None or not instance.get("start_date"):
            return None
        task_try = instance["task_id"], int(instance["try_number"])
        if task_try not in run.noted:
            noted = self.api.xcom(run.dag_id, run.run_id, instance["task_id"], NOTED_KEY)
            if noted is None and instance["state"] not in ENDED:
                return None
            run.noted[task_try] = noted
        return run.noted[task_try]

    def _result(self, run: Run, instance: Mapping[str, Any] | None) -> Any:
        """What a task that has ended has returned."""
        if instance is None or instance["state"] not in ENDED:
            return None
        task_id = instance["task_id"]
        if task_id not in run.results:
            run.results[task_id] = self.api.xcom(run.dag_id, run.run_id, task_id)
            if instance["state"] == "failed":
                run.failed_tries[task_id] = int(instance["try_number"])
        return run.results[task_id]


def last_error(lines: list[Any]) -> str:
    """The last error in a task's log: the exception's text where there is one, else the line."""
    for line in reversed(lines):
        if isinstance(line, Mapping) and line.get("level") in {"error", "critical"}:
            details = line.get("error_detail") or []
            texts = [str(detail["exc_value"]) for detail in details if detail.get("exc_value")]
            return texts[0] if texts else str(line.get("event", ""))
    return ""
