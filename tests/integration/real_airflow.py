"""A real Airflow and a local endpoint, each in processes of its own, for one test module."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_sagemaker_pipelines.local.demo.airflow import airflow_environment, free_port, start_airflow
from airflow_sagemaker_pipelines.local.demo.api import AirflowApi
from airflow_sagemaker_pipelines.local.demo.endpoint import Endpoint, clean_environment
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Component, Components, python, tail

DAGS = Path(__file__).parent / "dags"
ENDED = frozenset({"success", "failed"})
#: Airflow imports this in every process. LocalExecutor forks its workers from the scheduler, which then has what takes
#: a task most of its first second.
LOCAL_SETTINGS = """
import airflow.providers.amazon.aws.hooks.base_aws
import airflow_sagemaker_pipelines.operators.pipeline_run
import airflow_sagemaker_pipelines.operators.run
import airflow_sagemaker_pipelines.operators.tries
from airflow_sagemaker_pipelines.steps.registry import runners

runners()
"""


class Api(AirflowApi):
    """What these tests ask beyond what the demo does."""

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The DAG's runs."""
        return list(self._call("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns")["dag_runs"])

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """What the UI's button does."""
        # The answer is empty.
        self._http.delete(self._run_path(dag_id, run_id)).raise_for_status()

    def backfills(self, dag_id: str) -> list[dict[str, Any]]:
        """The DAG's backfills."""
        return list(self._call("GET", f"/api/v2/backfills?dag_id={quote(dag_id)}")["backfills"])

    def task_instance(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """One task instance, with its rendered fields."""
        return dict(self._call("GET", self._task(dag_id, run_id, task_id)))

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """The buttons that the UI shows for a task instance."""
        return dict(self._call("GET", f"{self._task(dag_id, run_id, task_id)}/links")["extra_links"])

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """What the UI's button does."""
        self._call("PATCH", self._task(dag_id, run_id, task_id), {"new_state": "failed"})

    def mark_run_failed(self, dag_id: str, run_id: str) -> None:
        """What the UI's button does."""
        self._call("PATCH", self._run_path(dag_id, run_id), {"state": "failed"})

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks with all that comes after them, whatever their state, as the UI does; all of the run if none."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        chosen = {"task_ids": list(task_ids)} if task_ids else {}
        self._call("POST", f"/api/v2/dags/{quote(dag_id)}/clearTaskInstances", body | chosen)

    def _task(self, dag_id: str, run_id: str, task_id: str) -> str:
        return f"{self._run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}"


@dataclass(frozen=True)
class RealAirflow:
    """What the module has started."""

    api: Api
    endpoint: Endpoint
    components: Components
    env: Mapping[str, str]
    home: Path

    def wait(self, what: str, ready: Callable[[], bool], timeout: float = 100.0) -> None:
        """Wait until something holds; fail when it does not, or when a process has ended by itself."""

        def ready_or_dead() -> bool:
            self.components.check()
            return ready()

        Interrupts().wait_until(what, ready_or_dead, timeout=timeout, poll=0.5)

    def ended(self, dag_id: str, run_id: str) -> str:
        """Wait for the end of a run and return its state."""
        self.wait(f"run {run_id} of {dag_id} has not ended", lambda: self.api.run_state(dag_id, run_id) in ENDED)
        return self.api.run_state(dag_id, run_id)

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """The state of each task of a run."""
        return {item["task_id"]: item["state"] for item in self.api.task_instances(dag_id, run_id)}

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The log of a task's first try, as text."""
        return json.dumps(self.api.log(dag_id, run_id, task_id, 1))

    def calls(self) -> dict[str, int]:
        """How often the endpoint was asked for each operation."""
        return dict(_ask(f"{self.endpoint.url}/_local/calls"))

    def cli(self, *arguments: str) -> None:
        """Run an ``airflow`` command; fail with its output when it fails."""
        command = python("-m", "airflow", *arguments)
        done = subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, timeout=120, check=False)
        output = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"airflow {' '.join(arguments)}:\n{output[-5000:]}"

    def start_dags_test(self, dag_id: str) -> DagsTest:
        """Start ``airflow dags test`` on a database of its own."""
        home = self.home / "dags-test"
        env = dict(self.env) | {"AIRFLOW_HOME": str(home), "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
        home.mkdir()
        command = 'airflow() { "$PYTHON" -m airflow "$@"; }; airflow db migrate && airflow dags test "$DAG_ID"'
        env |= {"PYTHON": python()[0], "DAG_ID": dag_id}
        # Not among the components: it is meant to end.
        processes = Components(self.home / "logs")
        return DagsTest(processes, processes.start("dags test", ["bash", "-ec", command], env=env, cwd=home))


@dataclass(frozen=True)
class DagsTest:
    """A running ``airflow dags test``."""

    processes: Components
    component: Component

    def exit_code(self, timeout: float) -> int:
        """Wait for its end."""
        return self.component.process.wait(timeout)

    @property
    def output(self) -> str:
        """The end of what it has written."""
        return tail(self.component.log, 60)


def import_early(home: Path, *modules: str) -> None:
    """Have the processes of an Airflow, before it is started, import what tasks need.

    :param modules: what they need besides this package.
    """
    config = home / "airflow" / "config"
    config.mkdir(parents=True)
    imports = "".join(f"import {module}\n" for module in modules)
    (config / "airflow_local_settings.py").write_text(f"{LOCAL_SETTINGS}{imports}")


@contextmanager
def real_airflow(
    home: Path,
    *,
    rules: list[dict[str, Any]],
    settings: Mapping[str, str] | None = None,
    dags: Path = DAGS,
    endpoint_url: str | None = None,
) -> Iterator[RealAirflow]:
    """Start everything, and stop it in the end.

    :param rules: for the endpoint's jobs.
    :param settings: more of Airflow's, such as ``DATABASE__SQL_ALCHEMY_CONN``.
    :param dags: the folder of the DAG files.
    :param endpoint_url: an endpoint that runs already; by default one is started.
    """
    # A package that is found by PYTHONPATH is found from other working directories, too.
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(":") if entry)
    interrupts = Interrupts()
    with Components(home / "logs") as components:
        endpoint = Endpoint(endpoint_url) if endpoint_url else _start_endpoint(components, interrupts, home)
        _ask(f"{endpoint.url}/_local/rules", rules)
        endpoint.s3().create_bucket(Bucket="lake")
        port = free_port()
        env = airflow_environment(home, dags, port, endpoint.url) | ({"PYTHONPATH": path} if path else {})
        env |= {f"AIRFLOW__{name}": value for name, value in (settings or {}).items()}
        started = start_airflow(components, interrupts, home, env, port)
        api = Api(started.url)
        api.log_in()
        yield RealAirflow(api, endpoint, components, env, home)


def _start_endpoint(components: Components, interrupts: Interrupts, home: Path) -> Endpoint:
    """The demo's endpoint runs the jobs' code; here jobs only take their time."""
    port_file = home / "endpoint.port"
    command = python("-m", "airflow_sagemaker_pipelines.local", "--port", "0", "--port-file", str(port_file))
    components.start("local endpoint", [*command, "--duration", "1"], env=clean_environment())

    def listens() -> bool:
        components.check()
        return port_file.exists()

    interrupts.wait_until("the local endpoint does not listen", listens, timeout=60)
    return Endpoint(f"http://127.0.0.1:{port_file.read_text().strip()}")


def _ask(url: str, body: object = None) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    with opener.open(urllib.request.Request(url, data=data), timeout=20) as answer:
        return json.load(answer)
