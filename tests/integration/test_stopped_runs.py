"""A run that is stopped while a step runs ends in the same states, whoever walks the graph; and nothing goes on.

Airflow is a real one on Postgres: ``dag.test()`` runs one task at a time, and cannot kill. Each definition runs once
under each orchestrator, up to a step that the endpoint does not let end. There the run is marked as failed, as by the
UI's button.

Left out are definitions in which nothing can be stopped, see ``held_steps.LEFT_OUT``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_sagemaker_pipelines.local.demo.errors import DemoError
from airflow_sagemaker_pipelines.steps.names import execution_id
from tests.corpus_oracle import Corpus
from tests.integration.corpus_world import region_of
from tests.integration.held_steps import (
    ALWAYS_HELD,
    CORPORA,
    HELD,
    LEFT_OUT,
    ORCHESTRATORS,
    dag_id,
    is_held,
    make_world,
    write_dags,
)
from tests.integration.real_airflow import ENDED, RealAirflow, import_early, real_airflow
from tests.integration.test_corpus_runs import OWN_TASKS
from tests.postgres import postgres

pytestmark = pytest.mark.timeout(600)

FINISHED = {"success", "failed", "skipped", "upstream_failed"}
#: The statuses of a job that is over.
OVER = {"Completed", "Stopped", "Failed", "COMPLETED", "CANCELLED", "SUCCESS", "FAILED"}
JOB_KINDS = {"Processing", "Training", "Transform", *ALWAYS_HELD}

#: Since Airflow 3.3 the triggerer tells a trigger that its task was killed.
TRIGGERS_LEARN_OF_KILLS = hasattr(BaseTrigger, "on_kill")

#: So many definitions' runs are under way at once.
AT_ONCE = 8
SETTINGS = {
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "CORE__PARALLELISM": "4",
    # Less haste, more left for the tasks.
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
}


# --- the runs


@dataclass(frozen=True)
class Run:
    """A definition's run under one orchestrator."""

    airflow: RealAirflow
    endpoint: Any
    corpus: Corpus
    orchestrator: str
    run_id: str

    @property
    def dag_id(self) -> str:
        return dag_id(self.corpus, self.orchestrator)

    def states(self) -> dict[str, str | None]:
        """The states of the tasks of steps."""
        found = self.airflow.states(self.dag_id, self.run_id)
        return {name: state for name, state in found.items() if name not in OWN_TASKS}

    def waiting(self) -> set[str]:
        """The tasks that are deferred."""
        found = self.airflow.states(self.dag_id, self.run_id)
        return {name for name, state in found.items() if state == "deferred"}

    def is_watched(self) -> bool:
        """Whether the triggerer has taken up all that waits: before, nobody could stop what is waited for."""
        return all("starting" in self.airflow.log(self.dag_id, self.run_id, task) for task in self.waiting())

    def rests(self) -> bool:
        """Whether nothing happens any more: held steps run, and all other open tasks wait for them."""
        states, corpus = self.states(), self.corpus
        left = {name for name in corpus.edges if states[name] not in FINISHED}
        return bool(left) and all(
            is_held(corpus, name)
            if states[name] == "deferred"
            else states[name] is None and not left.isdisjoint(corpus.edges[name])
            for name in left
        )

    def stop(self) -> set[str]:
        """Mark the run as failed, as soon as nothing happens in it any more; return the tasks that waited."""
        with suppress(DemoError):
            self.airflow.wait("it does not rest", self.rests)
        assert self.rests(), self.states()
        self.airflow.wait(f"{self.dag_id} is not watched", self.is_watched)
        waiting = self.waiting()
        self.airflow.api.mark_run_failed(self.dag_id, self.run_id)
        return waiting

    def execution(self) -> dict[str, Any]:
        """SageMaker's execution."""
        client = self.endpoint.client("sagemaker", region_name=region_of(self.corpus))
        arn = self.airflow.api.xcom(self.dag_id, self.run_id, "start-pipeline-execution")["PipelineExecutionArn"]
        return dict(client.describe_pipeline_execution(PipelineExecutionArn=arn))

    def goes_on(self) -> list[str]:
        """The run's execution and jobs that are not over."""
        if self.orchestrator == "airflow":
            mark, left = execution_id(self.dag_id, self.run_id, ""), []
        else:
            execution = self.execution()
            mark = execution["PipelineExecutionArn"].rpartition("/")[2]
            left = [] if execution["PipelineExecutionStatus"] == "Stopped" else [mark]
        return left + [name for name in unfinished_jobs(self.endpoint) if mark in name]


def at_last(airflow: RealAirflow, goes_on: Callable[[], list[str]]) -> list[str]:
    """Return what goes on although there was time to stop it."""
    with suppress(DemoError):
        airflow.wait("something goes on", lambda: not goes_on(), timeout=30)
    return goes_on()


def unfinished_jobs(endpoint: Any) -> list[str]:
    return [job["name"] for job in endpoint.jobs() if job["kind"] in JOB_KINDS and job["status"] not in OVER]


class Runs:
    """The runs of all definitions, each begun somewhat before its turn.

    :param airflow: where they run.
    :param endpoint: where their jobs are.
    """

    def __init__(self, airflow: RealAirflow, endpoint: Any) -> None:
        self.airflow = airflow
        self.endpoint = endpoint
        self._begun: dict[str, list[Run]] = {}

    @property
    def begun(self) -> list[Run]:
        """All runs so far."""
        return [run for pair in self._begun.values() for run in pair]

    def of(self, name: str) -> list[Run]:
        """Return a definition's runs; begin those of the next definitions, too."""
        names = list(HELD)
        first = names.index(name)
        for each in names[first : first + AT_ONCE]:
            if each not in self._begun:
                self._begun[each] = [self._begin(each, orchestrator) for orchestrator in ORCHESTRATORS]
        return self._begun[name]

    def _begin(self, name: str, orchestrator: str) -> Run:
        api, corpus = self.airflow.api, CORPORA[name]
        wanted = dag_id(corpus, orchestrator)
        self.airflow.wait(f"no DAG {wanted}: {api.import_errors()}", lambda: api.has_dag(wanted))
        return Run(self.airflow, self.endpoint, corpus, orchestrator, api.trigger(wanted, {}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, local_sagemaker_session) -> Iterator[Runs]:
    home = tmp_path_factory.mktemp("stopped")
    endpoint = local_sagemaker_session
    queue = make_world(endpoint)
    write_dags(home, queue)
    import_early(home)
    with postgres() as database:
        settings = {"DATABASE__SQL_ALCHEMY_CONN": database, **SETTINGS}
        with real_airflow(home, rules=[], settings=settings, dags=home / "dags", endpoint_url=endpoint.url) as airflow:
            yield Runs(airflow, endpoint)
    endpoint.reset()


# --- what becomes of them


@pytest.mark.parametrize("name", HELD)
def test_a_stopped_run_leaves_the_same_states_and_nothing_that_goes_on(runs, name):
    """Before Airflow 3.3, as documented, what deferred tasks wait for goes on."""
    airflow, pair = runs.airflow, runs.of(name)

    held = [run.stop() - OWN_TASKS for run in pair]

    under_airflow, in_sagemaker = (run.states() for run in pair)
    assert in_sagemaker == under_airflow
    assert held[0]
    assert {name for name, state in under_airflow.items() if state == "failed"} >= held[0] | held[1]
    assert [airflow.api.run_state(run.dag_id, run.run_id) for run in pair] == ["failed", "failed"]
    if TRIGGERS_LEARN_OF_KILLS:
        assert [at_last(airflow, run.goes_on) for run in pair] == [[], []]
    else:
        assert pair[1].goes_on()


def test_all_definitions_are_stopped_but_those_in_which_nothing_can_be():
    assert CORPORA.keys() - HELD.keys() == LEFT_OUT.keys()


def test_no_job_goes_on_when_all_runs_are_stopped(runs):
    """Among them are those whose names do not tell of their run."""
    for run in runs.begun:
        # Begun for a test that does not run this time.
        if runs.airflow.api.run_state(run.dag_id, run.run_id) not in ENDED:
            run.stop()

    left = at_last(runs.airflow, partial(unfinished_jobs, runs.endpoint))

    assert bool(left) != TRIGGERS_LEARN_OF_KILLS, left
