"""DAG runs of both sides on one real Airflow, and what they cost.

Airflow's four components run on Postgres with LocalExecutor. Every DAG has a file and an endpoint of its own: a task
parses the file of its DAG only, and calls are counted per DAG.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from airflow_sagemaker_pipelines.local.demo.airflow import airflow_environment, free_port, start_airflow
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Component, Components
from tests.bench import workload
from tests.bench.endpoint import CountingEndpoint, job_times, start_endpoint
from tests.integration.real_airflow import Api, RealAirflow
from tests.postgres import postgres

ROOT = Path(__file__).parents[2]
PARALLELISM = 8
DAG_FILE = '''"""A DAG of Airflow's, made by the benchmarks."""

from tests.bench import workload

dag = workload.{side}({dag_id!r}, {jobs!r}, **{arguments!r})
'''
#: Long enough not to meet the race in which Airflow fails a task whose trigger fires at once.
WARM_UP_SECONDS = 15.0
RUN_ENDED = frozenset({"success", "failed"})
PROCESS_STARTED = "Worker startup parse complete"
_STEP = re.compile(r"\bTrain\d+\b")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A DAG that is measured.

    :param side: ``ours`` or ``amazon``.
    :param durations: the jobs' seconds, one for each step.
    :param events: whether events tell of the jobs' ends, which only our side can make use of.
    :param arguments: of ``pipeline_dag``, or of each of the other side's operators.
    """

    name: str
    side: str
    durations: Sequence[float]
    chained: bool
    events: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def jobs_time(self) -> float:
        """The seconds that the run would take if Airflow took none."""
        return sum(self.durations) if self.chained else max(self.durations)

    @property
    def rules(self) -> list[dict[str, Any]]:
        """How long the endpoint's jobs take, by the step's name in theirs."""
        return [
            {"kind": "Training", "name": rf"\b{workload.step_name(index)}\b", "duration": seconds}
            for index, seconds in enumerate(self.durations)
        ]

    def file(self, endpoint: CountingEndpoint) -> str:
        """Return the DAG's file."""
        arguments = {"aws_conn_id": f"aws_{self.name}", **self.arguments}
        if self.events:
            arguments |= {"waiting": "events", "event_queue_url": endpoint.event_queue_url}
        if self.side == "amazon":
            return DAG_FILE.format(
                side=self.side,
                dag_id=self.name,
                jobs=len(self.durations),
                arguments={"chained": self.chained, **arguments},
            )
        text = workload.definition(len(self.durations), chained=self.chained)
        return DAG_FILE.format(side=self.side, dag_id=self.name, jobs=text, arguments=arguments)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run of a case has taken.

    :param starts: by task, seconds from the moment it could run to its job's creation.
    :param ends: by task, seconds from its job's end to its own.
    :param task_processes: how often a worker started a process for one of its tasks.
    :param cpu: seconds of all processes of Airflow, from before the run until after it.
    """

    case: Case
    wall: float
    starts: Sequence[float]
    ends: Sequence[float]
    task_processes: int
    calls: Counter[str]
    cpu: float

    @property
    def beyond(self) -> float:
        """Seconds beyond the jobs' own."""
        return self.wall - self.case.jobs_time

    @property
    def start(self) -> float:
        """The median."""
        return statistics.median(self.starts)

    @property
    def end(self) -> float:
        """The median."""
        return statistics.median(self.ends)


class BenchApi(Api):
    """What the benchmarks ask beyond what the tests do."""

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One DAG run."""
        return dict(self._call("GET", self._run_path(dag_id, run_id)))


class Processes(Components):
    """Airflow's components, whose time is counted."""

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self.started: list[Component] = []

    def start(self, *args: Any, **kwargs: Any) -> Component:
        """Start one."""
        component = super().start(*args, **kwargs)
        self.started.append(component)
        return component

    def cpu_seconds(self) -> float:
        """Return the seconds of all processes that live, and of their children that have ended."""
        total = 0.0
        for component in self.started:
            # One that has ended is the migration of the database.
            with suppress(psutil.NoSuchProcess):
                leader = psutil.Process(component.process.pid)
                total += sum(sum(process.cpu_times()[:4]) for process in [leader, *leader.children(recursive=True)])
        return total


@dataclass(frozen=True)
class BenchAirflow(RealAirflow):
    """A running Airflow with the DAGs of some cases."""

    api: BenchApi
    components: Processes
    endpoints: Mapping[str, CountingEndpoint]

    def start(self, case: Case) -> Started:
        """Begin a run of a case."""
        endpoint = self.endpoints[case.name]
        endpoint.prepare(case.rules)
        if case.events:
            endpoint.make_event_queue()
        cpu = self.components.cpu_seconds()
        return Started(self, case, self.api.trigger(case.name, {}), cpu)

    def end_of(self, case: Case, run_id: str) -> str:
        """Wait for the end of a run and return its state."""
        last = f"run {run_id} of {case.name} has not ended"
        timeout = case.jobs_time + 60 * len(case.durations)
        self.wait(last, lambda: self.api.run_state(case.name, run_id) in RUN_ENDED, timeout=timeout)
        return self.api.run_state(case.name, run_id)

    def task_processes(self, dag_id: str, run_id: str, task_id: str = "*") -> int:
        """Return how many processes the workers have started for the tasks of a run: each says so in the task's log.

        :param task_id: one of them; by default all.
        """
        logs = self.home / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return sum(path.read_text().count(PROCESS_STARTED) for path in logs.glob(f"task_id={task_id}/attempt=*.log"))


@dataclass(frozen=True)
class Started:
    """A run that goes on."""

    airflow: BenchAirflow
    case: Case
    run_id: str
    cpu_before: float

    def finish(self) -> Run:
        """Wait for its end and return what it has taken.

        :raises RuntimeError: if it has not succeeded.
        """
        airflow, case = self.airflow, self.case
        state = airflow.end_of(case, self.run_id)
        cpu = airflow.components.cpu_seconds() - self.cpu_before
        if state != "success":
            raise RuntimeError(self._failure(state))
        endpoint = airflow.endpoints[case.name]
        calls = endpoint.calls()
        run = airflow.api.run(case.name, self.run_id)
        instances = airflow.api.task_instances(case.name, self.run_id)
        tasks = {item["task_id"]: _time(item["end_date"]) for item in instances}
        jobs = {_step(job): times for job, times in job_times(endpoint).items()}
        began = _time(run["start_date"])
        starts, ends = [], []
        for index in range(len(case.durations)):
            name = workload.step_name(index)
            created, ended = jobs[name]
            starts.append(created - (tasks[workload.step_name(index - 1)] if case.chained and index else began))
            ends.append(tasks[name] - ended)
        return Run(
            case=case,
            wall=_time(run["end_date"]) - began,
            starts=starts,
            ends=ends,
            task_processes=airflow.task_processes(case.name, self.run_id),
            calls=calls,
            cpu=cpu,
        )

    def _failure(self, state: str) -> str:
        states = self.airflow.states(self.case.name, self.run_id)
        failed = [task for task, its_state in states.items() if its_state == "failed"]
        log = self.airflow.log(self.case.name, self.run_id, failed[0]) if failed else ""
        return f"The run of {self.case.name} is {state}: {states}\n{log[-5000:]}"


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _step(job: str) -> str:
    match = _STEP.search(job)
    return match.group() if match else job


@contextmanager
def bench_airflow(home: Path, cases: Sequence[Case]) -> Iterator[BenchAirflow]:
    """Start Airflow with the DAGs of some cases, and run each side's tasks once so that all is warm."""
    interrupts = Interrupts()
    dags = home / "dags"
    dags.mkdir()
    warm = [
        Case(name=f"warm_{side}", side=side, durations=(WARM_UP_SECONDS,), chained=True) for side in ("ours", "amazon")
    ]
    with (
        postgres() as database,
        Components(home / "logs") as others,
        Processes(home / "logs") as components,
    ):
        endpoints = {}
        for case in [*cases, *warm]:
            endpoint = endpoints[case.name] = start_endpoint(others, home, case.name)
            (dags / f"{case.name}.py").write_text(case.file(endpoint))
        port = free_port()
        env = airflow_environment(home, dags, port, "") | {
            "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        }
        env |= {f"AIRFLOW_CONN_AWS_{name.upper()}": json.dumps(it.connection) for name, it in endpoints.items()}
        started = start_airflow(components, interrupts, home, env, port)
        api = BenchApi(started.url)
        api.log_in()
        airflow = BenchAirflow(api, endpoints[cases[0].name], components, env, home, endpoints)
        for case in [*cases, *warm]:
            airflow.wait(f"no DAG {case.name}: {api.import_errors()}", lambda name=case.name: api.has_dag(name))
            api.unpause(case.name)
        for run in [airflow.start(case) for case in warm]:
            run.finish()
        yield airflow
