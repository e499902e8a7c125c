"""The few calls of Airflow's REST API that the demo makes."""

from typing import Any
from urllib.parse import quote

import httpx

TIMEOUT_SECONDS = 20.0
NOT_FOUND = 404
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")

Json = dict[str, Any]


class AirflowApi:
    """A client of one Airflow. Network trouble and refusals are `httpx.HTTPError`."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        # Straight to loopback: no proxy out of the environment.
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False, transport=transport)

    def unhealthy(self) -> list[str]:
        """The components that do not report themselves healthy."""
        health = self._call("GET", "/api/v2/monitor/health")
        return [name for name in COMPONENTS if (health.get(name) or {}).get("status") != "healthy"]

    def log_in(self) -> None:
        """Take the token that Airflow hands to everybody when all are admins."""
        token = self._call("GET", "/auth/token")["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def import_errors(self) -> list[Json]:
        """DAG files that failed to import: `filename`, `stack_trace`."""
        return list(self._call("GET", "/api/v2/importErrors")["import_errors"])

    def has_dag(self, dag_id: str) -> bool:
        """Whether the dag processor has found the DAG."""
        try:
            self._call("GET", f"/api/v2/dags/{_path(dag_id)}/details")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == NOT_FOUND:
                return False
            raise
        return True

    def tasks(self, dag_id: str) -> list[Json]:
        """The DAG's tasks: `task_id`, `downstream_task_ids`, …"""
        return list(self._call("GET", f"/api/v2/dags/{_path(dag_id)}/tasks")["tasks"])

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self._call("PATCH", f"/api/v2/dags/{_path(dag_id)}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Json) -> str:
        """Start a run as the UI's Trigger button does; returns its id."""
        run = self._call("POST", f"/api/v2/dags/{_path(dag_id)}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """queued, running, success or failed."""
        return str(self._call("GET", self._run_path(dag_id, run_id))["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """The run's task instances."""
        return list(self._call("GET", f"{self._run_path(dag_id, run_id)}/taskInstances")["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """A task's XCom; None when it has none."""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances/{_path(task_id)}/xcomEntries/{_path(key)}"
        try:
            return self._call("GET", path)["value"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code == NOT_FOUND:
                return None
            raise

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> list[Any]:
        """The lines of a task's log, each an object with at least `event`."""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances/{_path(task_id)}/logs/{try_number}"
        content = self._call("GET", path)["content"]
        return content if isinstance(content, list) else [content]

    def run_page(self, dag_id: str, run_id: str) -> str:
        """Where the UI shows the run."""
        return f"{self.url}/dags/{_path(dag_id)}/runs/{_path(run_id)}"

    def _run_path(self, dag_id: str, run_id: str) -> str:
        return f"/api/v2/dags/{_path(dag_id)}/dagRuns/{_path(run_id)}"

    def _call(self, method: str, path: str, body: Json | None = None) -> Any:
        response = self._http.request(method, path, json=body)
        if response.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: HTTP {response.status_code}: {response.text[:2000]}",
                request=response.request,
                response=response,
            )
        return response.json()


def _path(part: str) -> str:
    return quote(part, safe="")
