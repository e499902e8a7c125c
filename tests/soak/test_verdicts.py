"""The soak sees what must not be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak.executions import Execution
from tests.soak.kills import Kill
from tests.soak.pipelines import SCENARIOS, WATCHED
from tests.soak.plan import Outcome, Run, plan
from tests.soak.verdicts import Ended, Interference, Kind, violations
from tests.soak.watched_plan import WatchedRun, watched_plan

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


def found(run, *records, **more):
    return judged(run, [job(run, "Prep"), *records], **more)


def judged(run, records, *, state=None, tasks=None, **more):
    verdict, expected = run.expected()
    states = {step: wanted for (step, _), wanted in expected.items()} | (tasks or {})
    listed = [{"task_id": step, "map_index": -1, "state": its, "try_number": 1} for step, its in states.items()]
    ended = {
        "runs": [run],
        "states": {run.run_id: state or verdict},
        "tasks": {run.run_id: listed},
        "records": records,
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
        # Told after half a minute, and gone two seconds later.
        ("deferred", 1, {"heartbeats": {1: NOON + 32}, "heard": {"r": NOON + 30}}, True),
        ("deferred", 1, {"heartbeats": {1: NOON + 60}, "heard": {"r": NOON + 30}}, False),
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
    runs, watched = plan(1, 200), watched_plan(1, 200)

    assert {outcome for run in [*runs, *watched] for outcome in run.outcomes.values()} == set(Outcome)
    assert len({run.dag_id for run in runs}) == 27
    assert len({run.dag_id for run in watched}) == 12


# --- where SageMaker walks the graph

FIRST, SECOND = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def watched(outcome, *, scenario="watched-chain"):
    (found,) = (each for each in WATCHED if each.name == scenario)
    step = "Left" if scenario == "watched-parallel" else "Train"
    jobs = dict.fromkeys(found.jobs, Outcome.COMPLETES)
    return WatchedRun(
        run_id="r",
        scenario=found,
        variant="once",
        outcomes=jobs | {step: outcome},
        is_accurate=True,
        delay=0.0,
        durations=dict.fromkeys(jobs, 1.0),
    )


def walk(status="Succeeded", *, retries=0, id=FIRST):  # noqa: A002
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/{id}"
    return Execution(arn=arn, name="r", status=status, started=NOON, ended=NOON, selected=[], retries=retries, steps={})


def its_job(step, status="Completed", *, execution=FIRST, token=TOKEN):
    name = f"pipelines-{execution}-{step}-{token}"
    times = {"created": NOON, "ended": None}
    return {"kind": "Training", "name": name, "status": status, "parent": None, "token": None, **times}


def seen(run, executions, *records, **more):
    return judged(run, records, executions=executions, **more)


PREP, TRAIN = its_job("Prep"), its_job("Train")
FAILED = its_job("Train", "Failed", token=OTHER_LIFE)
AGAIN = its_job("Train", execution=SECOND)


@pytest.mark.parametrize(
    ("outcome", "executions", "records"),
    [
        (Outcome.COMPLETES, [walk()], [PREP, TRAIN]),
        (Outcome.FAILS_ONCE, [walk(retries=1)], [PREP, FAILED, TRAIN]),
        (Outcome.IS_RETRIED, [walk()], [PREP, FAILED, TRAIN]),
        (Outcome.IS_RESUMED, [walk(retries=1)], [PREP, FAILED, TRAIN]),
        (Outcome.FAILS, [walk("Failed")], [PREP, FAILED]),
        (Outcome.IS_KILLED, [walk("Failed")], [PREP, its_job("Train", "Stopped")]),
        (Outcome.IS_CLEARED, [walk()], [PREP, TRAIN]),
        (Outcome.IS_REDONE, [walk(), walk(id=SECOND)], [PREP, TRAIN, AGAIN]),
        (Outcome.RUN_IS_FAILED, [walk("Stopped")], [PREP, its_job("Train", "Stopped")]),
        (
            Outcome.IS_RESTARTED,
            [walk("Stopped"), walk(id=SECOND)],
            [PREP, its_job("Train", "Stopped"), its_job("Prep", execution=SECOND), AGAIN],
        ),
    ],
)
def test_what_was_planned_of_an_execution_is_right(outcome, executions, records):
    assert seen(watched(outcome), executions, *records) == ([], [])


@pytest.mark.parametrize(
    ("outcome", "executions", "records", "kinds"),
    [
        (Outcome.COMPLETES, [walk(), walk(id=SECOND)], [PREP, TRAIN], [Kind.DUPLICATE]),
        (Outcome.COMPLETES, [walk()], [PREP, TRAIN, its_job("Train", token=OTHER_LIFE)], [Kind.DUPLICATE]),
        (Outcome.COMPLETES, [], [], [Kind.WRONG, Kind.WRONG, Kind.WRONG]),
        (Outcome.COMPLETES, [walk("Executing")], [PREP, TRAIN], [Kind.ORPHAN]),
        (Outcome.FAILS_ONCE, [walk(retries=2)], [PREP, FAILED, TRAIN], [Kind.DUPLICATE]),
        (Outcome.FAILS_ONCE, [walk("Failed")], [PREP, FAILED], [Kind.WRONG, Kind.WRONG, Kind.WRONG]),
        (Outcome.FAILS, [walk("Failed", retries=1)], [PREP, FAILED, FAILED], [Kind.DUPLICATE, Kind.DUPLICATE]),
        (Outcome.IS_KILLED, [walk()], [PREP, TRAIN], [Kind.DUPLICATE, Kind.WRONG]),
        (Outcome.IS_CLEARED, [walk(), walk(id=SECOND)], [PREP, TRAIN, AGAIN], [Kind.DUPLICATE, Kind.DUPLICATE]),
        (
            Outcome.RUN_IS_FAILED,
            [walk("Executing")],
            [PREP, its_job("Train", "InProgress")],
            [Kind.ORPHAN, Kind.ORPHAN],
        ),
        (Outcome.IS_REDONE, [walk()], [PREP, TRAIN], [Kind.WRONG, Kind.WRONG]),
    ],
)
def test_what_must_not_be_of_an_execution_is_seen(outcome, executions, records, kinds):
    assert seen(watched(outcome), executions, *records) == (kinds, [])


@pytest.mark.parametrize(("triggerer", "is_excused"), [(None, True), (1, False)])
def test_a_job_that_only_the_soak_has_stopped_is_an_orphan_unless_nobody_could_have(triggerer, is_excused):
    run = watched(Outcome.IS_KILLED)
    marked = interference(run, state="deferred", triggerer=triggerer)
    more = {"interferences": [marked], "forgotten": [marked], "heartbeats": {1: NOON + 60}}

    kinds, left = seen(run, [walk("Failed")], PREP, its_job("Train", "Stopped"), **more)

    assert (kinds, len(left)) == (([], 1) if is_excused else ([Kind.ORPHAN], 0))


def test_a_pipeline_that_was_deployed_twice_is_seen():
    assert seen(watched(Outcome.COMPLETES), [walk()], PREP, TRAIN, versions={"p": 2})[0] == [Kind.DUPLICATE]


def test_an_execution_of_no_run_has_jobs_of_no_step():
    strange = walk(id=SECOND)
    unknown = replace(strange, name="another")

    assert seen(watched(Outcome.COMPLETES), [walk(), unknown], PREP, TRAIN, AGAIN)[0] == [Kind.ORPHAN]
