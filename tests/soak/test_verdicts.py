"""The soak sees what must not be."""

from __future__ import annotations

import pytest

from tests.soak.kills import Kill
from tests.soak.pipelines import SCENARIOS
from tests.soak.plan import Outcome, Run, plan
from tests.soak.verdicts import Ended, Interference, Kind, violations

TOKEN, OTHER_LIFE = "0123456789", "abcdefghij"
NOON = 1_000_000.0


def run_of(outcome):
    (scenario,) = (each for each in SCENARIOS if each.name == "train")
    outcomes = {"Prep": Outcome.COMPLETES, "Train": outcome}
    return Run(run_id="r", scenario=scenario, variant="once", outcomes=outcomes, is_accurate=True, delay=0.0)


def job(run, step, status="Completed", *, end=TOKEN):
    name = f"pipelines-{run.execution}-{step}-{end}"
    times = {"created": NOON, "ended": None}
    return {"kind": "Training", "name": name, "status": status, "parent": None, "token": None, **times}


def found(run, *records, state=None, tasks=None, **more):
    verdict, expected = run.expected()
    states = {step: wanted for (step, _), wanted in expected.items()} | (tasks or {})
    listed = [{"task_id": step, "map_index": -1, "state": its, "try_number": 1} for step, its in states.items()]
    ended = {
        "runs": [run],
        "states": {run.run_id: state or verdict},
        "tasks": {run.run_id: listed},
        "records": [job(run, "Prep"), *records],
        "interferences": [],
        "kills": [],
        "heartbeats": {},
        "scheduler_kills": [],
    }
    wrong, left = violations(Ended(**ended | more))
    return [each.kind for each in wrong], left


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.COMPLETES, {TOKEN: "Completed"}),
        (Outcome.FAILS, {TOKEN: "Failed"}),
        (Outcome.FAILS_ONCE, {TOKEN: "Failed", f"{TOKEN}-1": "Completed"}),
        (Outcome.IS_KILLED, {TOKEN: "Stopped"}),
        (Outcome.IS_CLEARED, {TOKEN: "Stopped", OTHER_LIFE: "Completed"}),
    ],
)
def test_what_was_planned_is_right(outcome, statuses):
    run = run_of(outcome)

    assert found(run, *(job(run, "Train", status, end=end) for end, status in statuses.items())) == ([], [])


@pytest.mark.parametrize(
    ("outcome", "statuses", "kinds"),
    [
        (Outcome.COMPLETES, {TOKEN: "Completed", f"{TOKEN}-1": "Completed"}, [Kind.DUPLICATE]),
        (Outcome.COMPLETES, {TOKEN: "Completed", OTHER_LIFE: "Completed"}, [Kind.DUPLICATE]),
        (Outcome.COMPLETES, {TOKEN: "Completed", f"{TOKEN}-1": "InProgress"}, [Kind.ORPHAN, Kind.DUPLICATE]),
        (Outcome.COMPLETES, {TOKEN: "Stopped", f"{TOKEN}-1": "Completed"}, [Kind.WRONG]),
        (Outcome.COMPLETES, {}, [Kind.WRONG]),
        (Outcome.FAILS, {TOKEN: "Failed", f"{TOKEN}-1": "Failed"}, [Kind.DUPLICATE]),
        (Outcome.FAILS_ONCE, {TOKEN: "Failed"}, [Kind.WRONG]),
        (Outcome.IS_KILLED, {TOKEN: "InProgress"}, [Kind.ORPHAN]),
        (Outcome.IS_CLEARED, {TOKEN: "InProgress", OTHER_LIFE: "Completed"}, [Kind.ORPHAN]),
    ],
)
def test_jobs_that_must_not_be_are_seen(outcome, statuses, kinds):
    run = run_of(outcome)

    assert found(run, *(job(run, "Train", status, end=end) for end, status in statuses.items())) == (kinds, [])


def test_a_record_of_no_run_is_an_orphan():
    run = run_of(Outcome.COMPLETES)

    assert found(run, job(run, "Train"), job(run, "Train") | {"name": "another"})[0] == [Kind.ORPHAN]


@pytest.mark.parametrize(
    ("ends", "kinds"),
    [
        ({"state": "failed", "tasks": {"Train": "failed"}}, [Kind.WRONG, Kind.WRONG]),
        ({"tasks": {"Train": "skipped"}}, [Kind.WRONG]),
        ({"state": "running", "tasks": {"Train": "deferred"}}, [Kind.STUCK]),
        ({"tasks": {"Train": "deferred"}}, [Kind.STUCK]),
    ],
)
def test_tasks_that_end_otherwise_or_not_at_all_are_seen(ends, kinds):
    run = run_of(Outcome.COMPLETES)

    assert found(run, job(run, "Train"), **ends)[0] == kinds


def interference(run, **more):
    return Interference(run=run, step="Train", outcome=Outcome.IS_KILLED, time=NOON, **more)


@pytest.mark.parametrize(
    ("state", "triggerer", "more", "is_excused"),
    [
        ("deferred", None, {}, True),
        ("deferred", 1, {"heartbeats": {1: NOON - 5}}, True),
        ("deferred", 1, {"heartbeats": {1: NOON + 60}}, False),
        ("running", None, {"scheduler_kills": [NOON - 5]}, True),
        ("running", None, {}, True),
    ],
)
def test_a_job_that_nobody_could_stop_is_counted_apart_and_no_other(state, triggerer, more, is_excused):
    run = run_of(Outcome.IS_KILLED)
    marked = interference(run, state=state, triggerer=triggerer)

    kinds, left = found(run, job(run, "Train", "InProgress"), interferences=[marked], **more)

    assert kinds == ([] if is_excused else [Kind.ORPHAN])
    assert len(left) == is_excused


def test_the_report_tells_of_the_death_of_its_own_worker_only():
    run = run_of(Outcome.IS_KILLED)
    marked = interference(run, state="running", triggerer=None)
    its = {"operation": "sagemaker.CreateTrainingJob", "phase": "after", "role": "worker", "victim": "task"}

    def reason(resource):
        kill = Kill(time=NOON - 1, resource=resource, **its)
        return found(run, job(run, "Train", "InProgress"), interferences=[marked], kills=[kill])[1][0]

    assert "kill -9 of the task" in reason(job(run, "Train")["name"])
    assert "kill -9" not in reason("pipelines-another-Train")


def test_a_seed_makes_the_same_plan_and_another_seed_another():
    first, again, other = ([(it.outcomes, it.delay) for it in plan(seed, 60)] for seed in (1, 1, 2))

    assert first == again != other


def test_every_outcome_and_every_dag_is_planned():
    runs = plan(1, 200)

    assert {outcome for run in runs for outcome in run.outcomes.values()} == set(Outcome)
    assert len({run.dag_id for run in runs}) == 27
