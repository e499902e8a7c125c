"""The soak's Airflow: on Postgres, with two triggerers, quick to notice who is dead; and what brings back the dead."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psutil

from airflow_sagemaker_pipelines.local.demo.airflow import airflow_environment, free_port, start_airflow
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Component, Components, python
from tests.integration.real_airflow import Api, import_early
from tests.postgres import postgres
from tests.soak.pipelines import VARIANTS, Scenario

ROOT = Path(__file__).parents[2]
#: Seconds until a client gives up; there is a fault that never answers.
CLIENT = {"connect_timeout": 3, "read_timeout": 3}
SETTINGS = {
    "CORE__PARALLELISM": 8,
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 3600,
    "LOGGING__COLORED_CONSOLE_LOG": False,
    # Who is dead is noticed soon, and soon replaced.
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 15,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    # Not sooner: a triggerer that has just started on a busy machine is silent for 15 seconds.
    "TRIGGERER__JOB_HEARTBEAT_SEC": 2,
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 30,
}
DAG_FILE = '''"""A DAG of Airflow's, made by the soak."""

from tests.soak import pipelines

dag = pipelines.dag({name!r}, {variant!r}, {queue_url!r})
'''
_ROLES = {"scheduler": "worker", "triggerer": "triggerer", "triggerer 2": "triggerer"}
_PATIENCE = 60.0
_T = TypeVar("_T")


class SoakApi(Api):
    """What the soak asks of Airflow; patient, as components die under it."""

    def states(self) -> dict[str, str]:
        """Return the state of every run, by its id."""
        found: dict[str, str] = {}
        while True:
            path = f"/api/v2/dags/~/dagRuns?limit=100&offset={len(found)}&order_by=id"
            answer = self._patient(lambda path=path: self._call("GET", path))
            found |= {run["dag_run_id"]: run["state"] for run in answer["dag_runs"]}
            if not answer["dag_runs"] or len(found) >= answer["total_entries"]:
                return found

    def start(self, dag_id: str, run_id: str) -> None:
        """Start a run of a given id."""
        body = {"logical_date": None, "conf": {}, "dag_run_id": run_id}
        try:
            self._patient(lambda: self._call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body))
        except httpx.HTTPStatusError as error:
            # An earlier call has got through although its answer was late.
            if error.response.status_code != httpx.codes.CONFLICT:
                raise

    def tasks_of(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return a run's task instances."""
        return self._patient(lambda: self.task_instances(dag_id, run_id))

    def triggerers(self) -> dict[int, float]:
        """Return when each triggerer there has been gave its last sign of life, by the id of its job."""
        path = "/api/v2/jobs?job_type=TriggererJob&limit=100&order_by=-id"
        answer = self._patient(lambda: self._call("GET", path))
        return {job["id"]: datetime.fromisoformat(job["latest_heartbeat"]).timestamp() for job in answer["jobs"]}

    def _patient(self, ask: Callable[[], _T]) -> _T:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return ask()
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                refused = isinstance(error, httpx.HTTPStatusError) and not error.response.is_server_error
                if refused or time.monotonic() > deadline:
                    raise
            time.sleep(1.0)


class Supervised(Components):
    """Components that are started again when they have died, as systemd would do."""

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self.revived: Counter[str] = Counter()
        self._commands: dict[str, tuple[Sequence[str], Mapping[str, str], Path | None]] = {}

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> Component:
        """Start a component, and remember how."""
        self._commands[name] = (command, env, cwd)
        return super().start(name, command, env=env, cwd=cwd)

    def role_of(self, session: int) -> str | None:
        """Tell whether the processes of a session do a worker's or a triggerer's work."""
        return next((_ROLES.get(it.name) for it in self._running if it.process.pid == session), None)

    def kill(self, name: str) -> None:
        """End a component and all its processes at once."""
        (component,) = (it for it in self._running if it.name == name)
        component.process.kill()

    def revive(self) -> None:
        """Start again what has died. What it has left behind goes first: systemd ends the whole control group."""
        for component in [it for it in self._running if it.process.poll() is not None]:
            _end_session(component.process.pid)
            self._running.remove(component)
            command, env, cwd = self._commands[component.name]
            self.start(component.name, command, env=env, cwd=cwd)
            self.revived[component.name] += 1


def _end_session(session: int) -> None:
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class SoakAirflow:
    """A running Airflow."""

    api: SoakApi
    components: Supervised


@contextmanager
def soak_airflow(home: Path, endpoint_url: str, queue_url: str, scenarios: Iterable[Scenario]) -> Iterator[SoakAirflow]:
    """Start Airflow with the DAGs of the scenarios."""
    interrupts = Interrupts()
    dags = home / "dags"
    dags.mkdir(parents=True)
    import_early(home, "tests.soak.pipelines")
    dag_ids = []
    for scenario in scenarios:
        for variant in VARIANTS:
            dag_ids.append(scenario.dag_id(variant))
            text = DAG_FILE.format(name=scenario.name, variant=variant, queue_url=queue_url)
            (dags / f"{dag_ids[-1]}.py").write_text(text)
    with postgres() as database, Supervised(home / "logs") as components:
        port = free_port()
        env = _environment(home, dags, port, endpoint_url, database)
        started = start_airflow(components, interrupts, home, env, port)
        components.start("triggerer 2", python("-m", "airflow", "triggerer", "--skip-serve-logs"), env=env, cwd=home)
        api = SoakApi(started.url)
        api.log_in()
        for dag_id in dag_ids:
            interrupts.wait_until(
                f"no DAG {dag_id}: {api.import_errors()}", lambda dag_id=dag_id: api.has_dag(dag_id), timeout=120
            )
            api.unpause(dag_id)
        yield SoakAirflow(api, components)


def _environment(home: Path, dags: Path, port: int, endpoint_url: str, database: str) -> dict[str, str]:
    env = airflow_environment(home, dags, port, endpoint_url)
    connection = json.loads(env["AIRFLOW_CONN_AWS_DEFAULT"])
    once = {**CLIENT, "retries": {"total_max_attempts": 1}}
    for name, config in {"DEFAULT": CLIENT, "ONCE": once}.items():
        extra = connection["extra"] | {"config_kwargs": config}
        env[f"AIRFLOW_CONN_AWS_{name}"] = json.dumps(connection | {"extra": extra})
    settings = {**SETTINGS, "DATABASE__SQL_ALCHEMY_CONN": database}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return env | {"PYTHONPATH": path} | {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
