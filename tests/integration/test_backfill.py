"""A pipeline over many days, under either orchestrator: by a schedule that catches up, and by ``airflow backfill``.

Airflow is a real one on Postgres. All days are run at once, then some again; each test looks at what has become of a
DAG's, in Airflow and among the jobs that the endpoint has on record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from tests.integration.real_airflow import ENDED, RealAirflow, real_airflow
from tests.postgres import postgres

pytestmark = pytest.mark.timeout(900)

SCHEDULED = ["scheduled_airflow", "scheduled_sagemaker"]
BACKFILLED = ["backfilled_airflow", "backfilled_sagemaker"]
DAYS = [f"2025-01-{day:02}" for day in range(1, 11)]
STEPS = ("Prepare", "Score")
#: How many runs may be active at once: as the DAG says, and as the command says.
LIMITS = dict.fromkeys(SCHEDULED, 3) | dict.fromkeys(BACKFILLED, 4)

#: The day whose scheduled run fails, at the second step.
BROKEN_DAY = DAYS[4]
#: The day whose run of the backfill is deleted before the second backfill.
DELETED_DAY = DAYS[6]

RULES = [
    {
        "kind": "Processing",
        "name": "-Score-",
        "image": f"/{dag_id}:{BROKEN_DAY}$",
        "outcome": "Failed",
        "reason": "AlgorithmError: no data",
        "times": 1,
    }
    for dag_id in SCHEDULED
]


@dataclass(frozen=True)
class Run:
    """A DAG run."""

    run_id: str
    day: str
    state: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Job:
    """A job of the endpoint, with what its definition makes it tell."""

    name: str
    status: str
    dag_id: str
    run_id: str
    day: str

    @property
    def execution(self) -> str:
        """The id of the execution that it belongs to."""
        return self.name.split("-")[1]

    @property
    def step(self) -> str:
        """The step whose job it is."""
        return self.name.split("-")[2]


@dataclass(frozen=True)
class Seen:
    """What there is of a DAG.

    :param executions: their ids, as SageMaker lists them; none if it is not the orchestrator.
    """

    runs: list[Run]
    jobs: list[Job]
    executions: list[str]

    def run(self, day: str) -> Run:
        """The run of a day."""
        (run,) = (run for run in self.runs if run.day == day)
        return run

    def runs_but(self, day: str) -> list[Run]:
        """The runs of all days but one."""
        return [run for run in self.runs if run.day != day]


@dataclass(frozen=True)
class Days:
    """What there is after all days have run for the first time, and after some have run again."""

    first: dict[str, Seen]
    again: dict[str, Seen]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory) -> Iterator[RealAirflow]:
    home = tmp_path_factory.mktemp("backfill")
    with postgres() as database:
        settings = {"DATABASE__SQL_ALCHEMY_CONN": database, "CORE__PARALLELISM": "8"}
        with real_airflow(home, rules=RULES, settings=settings) as airflow:
            yield airflow


@pytest.fixture(scope="module")
def days(airflow) -> Days:
    api = airflow.api
    for dag_id in [*SCHEDULED, *BACKFILLED]:
        airflow.wait(f"no DAG {dag_id}: {api.import_errors()}", lambda dag_id=dag_id: api.has_dag(dag_id))
        api.unpause(dag_id)
    for dag_id in BACKFILLED:
        backfill(airflow, dag_id)
    first = {dag_id: seen(airflow, dag_id) for dag_id in [*SCHEDULED, *BACKFILLED]}

    for dag_id in SCHEDULED:
        backfill(airflow, dag_id, "--reprocess-behavior", "failed")
    for dag_id in BACKFILLED:
        api.delete_run(dag_id, first[dag_id].run(DELETED_DAY).run_id)
        # Airflow has one backfill of a DAG at a time, and looks for those that are complete every 30 seconds.
        airflow.wait(f"the backfill of {dag_id} is not complete", lambda dag_id=dag_id: is_complete(airflow, dag_id))
        backfill(airflow, dag_id)
    return Days(first, {dag_id: seen(airflow, dag_id) for dag_id in first})


def backfill(airflow, dag_id, *options):
    period = ("--from-date", DAYS[0], "--to-date", DAYS[-1])
    limit = ("--max-active-runs", str(LIMITS[dag_id]))
    airflow.cli("backfill", "create", "--dag-id", dag_id, *period, *limit, *options)


def is_complete(airflow, dag_id):
    return all(backfill["completed_at"] for backfill in airflow.api.backfills(dag_id))


def seen(airflow, dag_id):
    """Wait until all days have run, and return what there is."""

    def all_ended():
        runs = airflow.api.runs(dag_id)
        return len(runs) >= len(DAYS) and all(run["state"] in ENDED for run in runs)

    airflow.wait(f"the runs of {dag_id} have not ended", all_ended, timeout=400)
    runs = [
        Run(
            run_id=run["dag_run_id"],
            day=run["logical_date"][:10],
            state=run["state"],
            start=datetime.fromisoformat(run["start_date"]),
            end=datetime.fromisoformat(run["end_date"]),
        )
        for run in airflow.api.runs(dag_id)
    ]
    return Seen(sorted(runs, key=lambda run: run.day), jobs(airflow, dag_id), executions(airflow, dag_id))


def jobs(airflow, dag_id):
    sagemaker = airflow.endpoint.sagemaker()
    pages = sagemaker.get_paginator("list_processing_jobs").paginate()
    names = [job["ProcessingJobName"] for page in pages for job in page["ProcessingJobSummaries"]]
    found = []
    for name in names:
        job = sagemaker.describe_processing_job(ProcessingJobName=name)
        # <registry>/<DAG>:<day>
        repository, day = job["AppSpecification"]["ImageUri"].split(":")
        assert job["Environment"]["DAY"] == day
        found.append(
            Job(
                name=name,
                status=job["ProcessingJobStatus"],
                dag_id=repository.split("/")[1],
                run_id=job["Environment"]["RUN"],
                day=day,
            )
        )
    return sorted((job for job in found if job.dag_id == dag_id), key=lambda job: (job.day, job.name))


def executions(airflow, dag_id):
    if not dag_id.endswith("sagemaker"):
        return []
    sagemaker = airflow.endpoint.sagemaker()
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(PipelineName=dag_id.replace("_", "-"))
    arns = [item["PipelineExecutionArn"] for page in pages for item in page["PipelineExecutionSummaries"]]
    return sorted(arn.split("/")[-1] for arn in arns)


scheduled = pytest.mark.parametrize("dag_id", SCHEDULED)
backfilled = pytest.mark.parametrize("dag_id", BACKFILLED)
both = pytest.mark.parametrize("dag_id", SCHEDULED + BACKFILLED)


@scheduled
def test_the_schedule_makes_a_run_for_each_day(days, dag_id):
    states = {run.day: run.state for run in days.first[dag_id].runs}

    assert states == dict.fromkeys(DAYS, "success") | {BROKEN_DAY: "failed"}


@backfilled
def test_a_backfill_makes_a_run_for_each_day(days, dag_id):
    states = {run.day: run.state for run in days.first[dag_id].runs}

    assert states == dict.fromkeys(DAYS, "success")


@both
def test_each_run_is_an_execution_of_its_own_for_its_day(days, dag_id):
    runs, jobs = days.first[dag_id].runs, days.first[dag_id].jobs

    # The day and the run that a job tells are what the templates of the parameters have become.
    told = sorted((job.run_id, job.day, job.step) for job in jobs)
    assert told == sorted((run.run_id, run.day, step) for run in runs for step in STEPS)
    of_runs = {(job.run_id, job.execution) for job in jobs}
    assert len({execution for _, execution in of_runs}) == len(of_runs) == len(DAYS)


@both
def test_as_many_runs_are_active_at_once_as_may_be(days, dag_id):
    runs = days.first[dag_id].runs

    most = max(sum(other.start <= run.start < other.end for other in runs) for run in runs)

    assert most == LIMITS[dag_id]


@backfilled
def test_a_second_backfill_makes_no_jobs(days, dag_id):
    first, again = days.first[dag_id], days.again[dag_id]

    assert again.jobs == first.jobs
    assert again.executions == first.executions
    # Nor does it touch the runs that are there.
    assert again.runs_but(DELETED_DAY) == first.runs_but(DELETED_DAY)


@backfilled
def test_a_run_that_was_deleted_is_made_anew_and_finds_its_jobs(days, dag_id):
    first, again = days.first[dag_id].run(DELETED_DAY), days.again[dag_id].run(DELETED_DAY)

    assert (again.run_id, again.state) == (first.run_id, "success")
    assert again.start > first.end


@scheduled
def test_a_backfill_of_failed_runs_makes_the_jobs_of_the_failed_day_again(days, dag_id):
    first, again = days.first[dag_id], days.again[dag_id]

    assert again.run(BROKEN_DAY).state == "success"
    assert again.runs_but(BROKEN_DAY) == first.runs_but(BROKEN_DAY)
    # Airflow clears the whole run, so the step that has succeeded is among them.
    made = [job for job in again.jobs if job not in first.jobs]
    assert sorted((job.run_id, job.step, job.status) for job in made) == [
        (first.run(BROKEN_DAY).run_id, step, "Completed") for step in STEPS
    ]


@pytest.mark.parametrize("dag_id", ["scheduled_sagemaker", "backfilled_sagemaker"])
def test_sagemaker_has_no_other_executions(days, dag_id):
    for seen_then in (days.first[dag_id], days.again[dag_id]):
        assert seen_then.executions == sorted({job.execution for job in seen_then.jobs})
