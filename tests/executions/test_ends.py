"""How a step has ended for who watches it: pure."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.executions.ends import EndState, StepKey, end_of, items_of
from airflow_sagemaker_pipelines.executions.snapshot import Snapshot, StepRecord
from airflow_sagemaker_pipelines.steps.status import verdict

STEP = StepKey(step="Train")


def record(name="Train", status="Succeeded", **entry):
    return StepRecord({"StepName": name, "StepStatus": status, **entry})


def child(index, *, name=None, loop="Loop", status="Succeeded", item=None):
    context = {"ParentStepName": loop, "Index": index} | ({} if item is None else {"Item": item})
    return record(name or f"Body-{index}", status, IterationContext=context)


def seen(*records, status="Executing"):
    steps = {f"Loop/{number}" if step.iteration else step.name: step for number, step in enumerate(records)}
    return Snapshot(steps=steps, verdict=verdict("PipelineExecutionStatus", status), status=status)


@pytest.mark.parametrize(
    ("status", "state"),
    [("Succeeded", EndState.SUCCEEDED), ("Failed", EndState.FAILED), ("Stopped", EndState.STOPPED)],
)
@pytest.mark.parametrize("execution", ["Executing", "Stopping", "Failed", "CompletedWithFailures"])
def test_a_step_that_has_ended_has_done_so_while_the_execution_goes_on(status, state, execution):
    step = record(status=status, EndTime="2026-01-01", FailureReason="AlgorithmError: no data")

    end = end_of(STEP, seen(step, status=execution))

    assert (end.state, end.reason, end.record, end.ended) == (state, "AlgorithmError: no data", step, "2026-01-01")


@pytest.mark.parametrize("status", ["Starting", "Executing", "Stopping", "Dreaming", None])
def test_a_step_that_runs_has_no_end(status):
    assert end_of(STEP, seen(record(status=status))) is None


def test_a_step_that_has_yet_to_start_has_no_end():
    assert end_of(STEP, seen(record("Other"))) is None


@pytest.mark.parametrize("status", ["Succeeded", "CompletedWithFailures"])
def test_a_step_that_was_not_to_run_is_skipped(status):
    end = end_of(STEP, seen(record("Other"), status=status))

    assert (end.state, end.record, end.ended) == (EndState.SKIPPED, None, None)


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_step_that_could_not_start_says_what_became_of_the_execution(status):
    end = end_of(STEP, seen(record("Other"), status=status))

    assert end.state is EndState.NOT_STARTED
    assert end.reason == f"the execution is {status}, and the step has not started"


def test_the_end_before_a_retry_does_not_count_until_the_execution_is_over():
    earlier = record(status="Failed", EndTime="1")

    assert end_of(STEP, seen(earlier), stale_end="1") is None
    # Nothing has run it since, so its end stands.
    assert end_of(STEP, seen(earlier, status="Failed"), stale_end="1").state is EndState.FAILED


def test_the_end_after_a_retry_counts():
    assert end_of(STEP, seen(record(EndTime="2")), stale_end="1").state is EndState.SUCCEEDED


def test_a_step_that_runs_again_has_no_end():
    assert end_of(STEP, seen(record(status="Executing", EndTime="1")), stale_end="1") is None


@pytest.mark.parametrize("name", ["Body-1", "Body"])
def test_an_iteration_is_found_by_its_loop_and_index(name):
    records = [child(0), child(1, name=name), child(1, loop="Other"), record("Body-1"), record("Body")]

    found = StepKey(step="Body", loop="Loop", index=1).find(seen(*records))

    assert found is records[1]


def test_an_iteration_is_not_taken_for_another_steps():
    # The body has the steps "Body" and "Body-1".
    records = [child(1, name="Body-1-1"), child(1, name="Body-1")]

    assert StepKey(step="Body", loop="Loop", index=1).find(seen(*records)) is records[1]


def test_an_iteration_is_no_step_of_the_pipeline():
    assert StepKey(step="Body-0").find(seen(child(0))) is None


def test_an_iteration_that_has_not_started_has_none():
    assert StepKey(step="Body", loop="Loop", index=2).find(seen(child(0), child(1))) is None


def loop_of(count):
    return record("Loop", Metadata={"ForEach": {"InputItemCount": count}})


def test_the_items_of_a_loop_are_in_order_whatever_the_list_is():
    records = [child(2, item="c"), child(0, item="a"), child(1, item="b"), child(0, name="More-0", item="a")]

    assert items_of("Loop", seen(*records, loop_of(3))) == ["a", "b", "c"]


def test_an_iteration_that_never_started_leaves_its_place():
    assert items_of("Loop", seen(child(2, item="c"), child(0, item="a"), loop_of(4))) == ["a", None, "c", None]


def test_a_loop_without_items_has_none():
    assert items_of("Loop", seen(loop_of(0))) == []
    assert items_of("Loop", seen(record("Loop"))) == []


def test_iterations_count_where_the_loop_does_not_say_how_many():
    # Its metadata comes only with its end.
    assert items_of("Loop", seen(child(1, item="b"), record("Loop"))) == [None, "b"]
