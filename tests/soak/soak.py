"""The soak itself."""

from __future__ import annotations

import io
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from airflow_sagemaker_pipelines.local import LocalEndpoint
from airflow_sagemaker_pipelines.local.rules import Rule
from airflow_sagemaker_pipelines.steps.events import create_event_queue
from tests.integration.documents import BUCKET, ROLE
from tests.soak import faults
from tests.soak.airflow import SoakAirflow, soak_airflow
from tests.soak.executions import executions, owners, versions
from tests.soak.interferer import Interferer, heard
from tests.soak.kills import Killer
from tests.soak.pipelines import FUNCTION, QUEUE_NAME
from tests.soak.plan import GENERAL_RULES, Run, plan
from tests.soak.records import End, Job, jobs
from tests.soak.report import Report
from tests.soak.verdicts import Ended, violations
from tests.soak.watched_plan import watched_plan

_TURN_SECONDS = 1.0
_SETTLE_SECONDS = 30.0
_HANDLER = "def handler(event, context):\n    return {'answer': 42}\n"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How hard the soak is.

    :param minutes: after which what has not ended is stuck.
    :param active: how many runs are under way at once.
    :param fault_rate: the share of answers that are faulty.
    :param kill_rate: the share of calls at which the caller is killed, once every boundary has been struck.
    :param scheduler_kills: how often the scheduler is killed with all its workers.
    :param orchestrator: who walks the graphs: ``airflow``, ``sagemaker`` or, half of them each, ``both``.
    """

    seed: int = 1
    runs: int = 200
    minutes: float = 20.0
    active: int = 40
    fault_rate: float = 0.2
    kill_rate: float = 0.02
    scheduler_kills: int = 2
    orchestrator: str = "both"


def soak(settings: Settings, say: Callable[[str], object]) -> Report:
    """Run it.

    :param say: is told how it goes.
    :returns: what there is at the end.
    """
    runs = _plan(settings)
    killer = Killer(settings.seed, rate=settings.kill_rate)
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    say(f"Seed {settings.seed}, {settings.runs} runs; Airflow's logs are in {home}")
    with LocalEndpoint(on_call=killer, seed=settings.seed) as endpoint:
        queue_url = _prepare(endpoint, runs)
        scenarios = {run.scenario.name: run.scenario for run in runs}.values()
        with soak_airflow(home, endpoint.url, queue_url, scenarios) as airflow:
            course = _Course(settings, runs, endpoint, airflow, killer, say)
            began = time.time()
            course.go()
            report = course.report(home, time.time() - began)
    return report


def _plan(settings: Settings) -> list[Run]:
    """Return the runs in the order in which they start."""
    seed, count = settings.seed, settings.runs
    if settings.orchestrator == "airflow":
        return plan(seed, count)
    if settings.orchestrator == "sagemaker":
        return [*watched_plan(seed, count)]
    watched = watched_plan(seed, count // 2)
    return [run for pair in zip_longest(plan(seed, count - len(watched)), watched) for run in pair if run]


def _prepare(endpoint: LocalEndpoint, runs: Sequence[Run]) -> str:
    """Make what the runs need; return the queue of events."""
    endpoint.client("s3").create_bucket(Bucket=BUCKET)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("code.py", _HANDLER)
    endpoint.client("lambda").create_function(
        FunctionName=FUNCTION,
        Runtime="python3.12",
        Role=ROLE,
        Handler="code.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    for run in runs:
        for rule in run.rules():
            endpoint.rules.add(Rule.from_json(rule))
    for rule in GENERAL_RULES:
        endpoint.rules.add(Rule.from_json(rule))
    return create_event_queue(_Clients(endpoint), queue_name=QUEUE_NAME, rule_name=QUEUE_NAME).url


@dataclass
class _Clients:
    endpoint: LocalEndpoint

    @property
    def region_name(self) -> str:
        return self.endpoint.region

    def __call__(self, service: str, *, repeats: bool = True) -> Any:
        return self.endpoint.client(service)


@dataclass
class _Course:
    settings: Settings
    runs: Sequence[Run]
    endpoint: LocalEndpoint
    airflow: SoakAirflow
    killer: Killer
    say: Callable[[str], object]
    states: dict[str, str] = field(default_factory=dict)
    scheduler_kills: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.interferer = Interferer(self.airflow.api, self.endpoint)

    def go(self) -> None:
        """Start all runs, interfere, bring back the dead, until all have ended or the time is up."""
        self.endpoint.clear_calls()
        for fault in faults.faults(self.settings.fault_rate, self.settings.seed):
            self.endpoint.fault(**fault)
        self.killer.arm(self.airflow.components.role_of)
        deadline = time.monotonic() + self.settings.minutes * 60
        for turn in _turns(deadline):
            self.airflow.components.revive()
            self._start_runs()
            started = [run for run in self.runs if run.run_id in self.states]
            self.interferer.turn(started, self.states, self._jobs())
            self.states = self.airflow.api.states()
            if turn % 20 == 0:
                self.say(self._progress())
            if self._ended == len(self.runs):
                break
            self._kill_scheduler()
        self.killer.disarm()
        self._settle()

    @property
    def _ended(self) -> int:
        states = [(run, self.states[run.run_id]) for run in self.runs if run.run_id in self.states]
        return sum(state in {"success", "failed"} and not self.interferer.awaits(run, state) for run, state in states)

    def _jobs(self) -> list[Job]:
        """Return what the runs have made so far."""
        return jobs(owners(self.runs, executions()), self.endpoint.jobs())[0]

    def _progress(self) -> str:
        kills, revived = len(self.killer.kills), self.airflow.components.revived.total()
        return f"{self._ended} of {len(self.states)} runs have ended; {kills} kills, {revived} components revived"

    def _start_runs(self) -> None:
        room = self.settings.active - (len(self.states) - self._ended)
        for run in self.runs[len(self.states) :][: max(0, room)]:
            self.airflow.api.start(run.dag_id, run.run_id)
            self.states[run.run_id] = "queued"

    def _kill_scheduler(self) -> None:
        planned = self.settings.scheduler_kills
        if len(self.scheduler_kills) < planned and self._ended * (planned + 1) > len(self.runs) * (
            len(self.scheduler_kills) + 1
        ):
            self.airflow.components.kill("scheduler")
            self.scheduler_kills.append(time.time())

    def _settle(self) -> None:
        """Wait until what is being stopped has stopped."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        for _ in _turns(deadline):
            self.airflow.components.revive()
            if all(job.end is not End.RUNS for job in self._jobs()):
                return

    def report(self, home: Path, seconds: float) -> Report:
        """Gather what there is."""
        api = self.airflow.api
        ended = Ended(
            runs=self.runs,
            states=api.states(),
            tasks={run.run_id: api.tasks_of(run.dag_id, run.run_id) for run in self.runs if run.run_id in self.states},
            records=self.endpoint.jobs(),
            interferences=self.interferer.done,
            kills=self.killer.kills,
            heartbeats=api.triggerers(),
            scheduler_kills=self.scheduler_kills,
            heard=heard(self.interferer.done, home / "airflow" / "logs"),
            forgotten=self.interferer.forgotten,
            executions=executions(),
            versions=versions(),
        )
        wrong, left = violations(ended)
        return Report(
            seed=self.settings.seed,
            seconds=seconds,
            ended=ended,
            violations=wrong,
            left=left,
            calls=self.endpoint.call_details(),
            faults=self.endpoint.faults.to_json(),
            crossed=self.killer.crossed,
            revived=self.airflow.components.revived,
            logs=home,
        )


def _turns(deadline: float) -> Iterator[int]:
    """Count turns until a time of the monotonic clock."""
    turn = 0
    while time.monotonic() < deadline:
        began = time.monotonic()
        yield turn
        turn += 1
        time.sleep(max(0.0, began + _TURN_SECONDS - time.monotonic()))
