"""Looking at executions of the local endpoint: what is listed, and which calls it takes."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.executions import snapshot
from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineRequestError
from airflow_sagemaker_pipelines.executions.snapshot import StepRecord, read, read_steps
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.executions.deployed import NAME, callback, condition, ended, loop, run, running, start
from tests.integration.documents import processing, training

LIST, DESCRIBE = "sagemaker.ListPipelineExecutionSteps", "sagemaker.DescribePipelineExecution"


def calls(local_sagemaker):
    found = local_sagemaker.calls()
    return found.get(LIST, 0), found.get(DESCRIBE, 0)


def look(local_sagemaker, clients, arn):
    """Look, and count the calls: listings, and those for the execution itself."""
    local_sagemaker.clear_calls()
    return read(clients, arn), calls(local_sagemaker)


# --- calls


def test_while_a_step_runs_one_listing_tells_all(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = running(local_sagemaker, start(local_sagemaker, processing("Prepare"), training("Train")), "Train")

    seen, made = look(local_sagemaker, clients, arn)

    assert made == (1, 0)
    assert (seen.verdict, seen.status, seen.is_over, seen.pages) == (Verdict.RUNNING, "Executing", False, 1)
    assert seen.steps["Train"].verdict is Verdict.RUNNING


def test_the_end_is_looked_at_twice(local_sagemaker, clients):
    arn = run(local_sagemaker, processing("Prepare"), processing("After", DependsOn=["Prepare"]))

    seen, made = look(local_sagemaker, clients, arn)

    assert made == (2, 1)
    assert (seen.verdict, seen.status, seen.is_over) == (Verdict.SUCCEEDED, "Succeeded", True)
    assert {name: step.verdict for name, step in seen.steps.items()} == dict.fromkeys(
        ("Prepare", "After"), Verdict.SUCCEEDED
    )


def test_a_step_that_begins_and_ends_between_two_calls_is_seen(local_sagemaker, clients, monkeypatch):
    arn = start(local_sagemaker, condition(yes=[processing("Last")]))
    listed = snapshot._list

    def late(*arguments):
        """The first listing is that of a moment at which only the condition has ended."""
        steps, pages = listed(*arguments)
        if not looks:
            steps = {name: step for name, step in steps.items() if name != "Last"}
            ended(local_sagemaker, arn)
        looks.append(set(steps))
        return steps, pages

    looks = []
    monkeypatch.setattr(snapshot, "_list", late)

    seen = read(clients, arn)

    assert looks == [{"Check"}, {"Check", "Last"}]
    assert seen.is_over
    assert seen.steps["Last"].verdict is Verdict.SUCCEEDED


def test_between_two_steps_the_execution_is_asked(local_sagemaker, clients, monkeypatch):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = start(local_sagemaker, processing("Prepare"), training("Train", DependsOn=["Prepare"]))
    running(local_sagemaker, arn, "Train")
    listed = snapshot._list

    def without_the_next(*arguments):
        steps, pages = listed(*arguments)
        return {name: step for name, step in steps.items() if name != "Train"}, pages

    monkeypatch.setattr(snapshot, "_list", without_the_next)

    seen, made = look(local_sagemaker, clients, arn)

    assert made == (1, 1)
    assert (seen.verdict, seen.status) == (Verdict.RUNNING, "Executing")


def test_an_execution_without_a_step_yet_is_asked(local_sagemaker, clients, monkeypatch):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = running(local_sagemaker, start(local_sagemaker, training("Train")), "Train")
    monkeypatch.setattr(snapshot, "_list", lambda clients, arn: ({}, 1))

    assert not read(clients, arn).is_over


def test_a_list_of_many_steps_is_read_in_pages_of_a_hundred(local_sagemaker, clients):
    arn = run(local_sagemaker, *(condition(f"C{number}") for number in range(230)))

    seen, made = look(local_sagemaker, clients, arn)

    assert len(seen.steps) == 230
    assert seen.pages == 3
    assert made == (6, 1)


def test_a_stopping_execution_goes_on(local_sagemaker, clients):
    arn = running(local_sagemaker, start(local_sagemaker, callback(local_sagemaker)), "Ask")
    clients("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)

    seen = read(clients, arn)

    assert not seen.is_over
    assert seen.steps["Ask"].verdict is Verdict.STOPPING


# --- answers that do not come


@pytest.mark.parametrize("operation", ["ListPipelineExecutionSteps", "DescribePipelineExecution"])
def test_an_answer_that_is_cut_off_is_none(local_sagemaker, once, operation):
    arn = run(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault("truncate", operation=operation, keep=0, content_length="cut", times=1)

    with pytest.raises(PipelineCallError, match=f"{operation} answered without"):
        read(once, arn)
    assert read(once, arn).is_over


def test_a_later_page_that_is_cut_off_makes_the_whole_list_void(local_sagemaker, once):
    arn = run(local_sagemaker, *(condition(f"C{number}") for number in range(150)))
    local_sagemaker.fault(
        "truncate", operation="ListPipelineExecutionSteps", keep=0, content_length="cut", skip=1, times=1
    )

    with pytest.raises(PipelineCallError, match="ListPipelineExecutionSteps answered without"):
        read(once, arn)


@pytest.mark.parametrize("operation", ["ListPipelineExecutionSteps", "DescribePipelineExecution"])
@pytest.mark.parametrize("fault", ["throttle", "internal", "unavailable", "expired", "reset"])
def test_what_may_pass_is_an_error_of_the_call(local_sagemaker, once, operation, fault):
    arn = run(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault(fault, operation=operation)

    with pytest.raises(PipelineCallError, match=operation) as passing:
        read(once, arn)
    assert passing.value.resource == arn


@pytest.mark.parametrize("operation", ["ListPipelineExecutionSteps", "DescribePipelineExecution"])
def test_a_refusal_is_one(local_sagemaker, clients, operation):
    arn = run(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault("denied", operation=operation)

    with pytest.raises(PipelineRequestError, match=operation):
        read(clients, arn)


def test_an_execution_that_aws_does_not_know_is_refused(clients):
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{NAME}/execution/abcdefghijkl"

    with pytest.raises(PipelineRequestError, match="ResourceNotFound"):
        read(clients, arn)


# --- what is listed


def test_an_execution_that_has_failed_says_why(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")

    seen = read(clients, run(local_sagemaker, training("Train"), processing("After", DependsOn=["Train"])))

    assert (seen.verdict, seen.status) == (Verdict.FAILED, "Failed")
    assert "steps failed" in seen.reason
    assert seen.steps["Train"].reason == "AlgorithmError: no data"
    assert set(seen.steps) == {"Train"}


def test_an_execution_whose_failures_were_handled_has_succeeded_with_another_status(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    handler = processing("OnFailure", DependsOn=[{"Step": "Train", "Trigger": "Failed"}])

    seen = read(clients, run(local_sagemaker, training("Train"), handler))

    assert (seen.verdict, seen.status) == (Verdict.SUCCEEDED, "CompletedWithFailures")


@pytest.mark.parametrize("holds", [True, False])
def test_a_condition_tells_its_outcome(local_sagemaker, clients, holds):
    arn = run(local_sagemaker, condition(holds=holds, yes=[processing("Yes")], no=[processing("No")]))

    steps = read_steps(clients, arn)

    assert steps["Check"].outcome is holds
    assert set(steps) == {"Check", "Yes" if holds else "No"}
    assert next(step for name, step in steps.items() if name != "Check").outcome is None


def test_steps_of_loops_are_told_apart_by_iteration(local_sagemaker, clients):
    arn = run(
        local_sagemaker,
        loop(processing("Body"), items=["a", "b"], name="First"),
        loop(processing("Other"), items=["c"], name="Second"),
        processing("Beside"),
    )

    seen = read(clients, arn)

    assert set(seen.steps) == {"First", "Second", "Beside", "First/0/Body-0", "First/1/Body-1", "Second/0/Other-0"}
    assert sorted(step.iteration for step in seen.children("First")) == [("First", 0), ("First", 1)]
    assert seen.steps["Beside"].iteration is None


def test_a_callback_tells_its_token(local_sagemaker, clients):
    arn = running(local_sagemaker, start(local_sagemaker, callback(local_sagemaker)), "Ask")

    token = read_steps(clients, arn)["Ask"].callback_token

    clients("sagemaker").send_pipeline_execution_step_success(CallbackToken=token)
    assert read(clients, ended(local_sagemaker, arn)).status == "Succeeded"


def test_a_result_from_the_cache_tells_where_it_comes_from(local_sagemaker, clients):
    cached = training("Train", CacheConfig={"Enabled": True, "ExpireAfter": "P1D"})
    first = run(local_sagemaker, cached)
    second = run(local_sagemaker, cached)

    # AWS marks a miss with an empty ARN.
    assert read_steps(clients, first)["Train"].cache_source is None
    assert read_steps(clients, second)["Train"].cache_source == first
    assert read_steps(clients, second)["Train"].reused_from is None


def test_a_reused_step_tells_where_it_comes_from(local_sagemaker, clients):
    source = run(local_sagemaker, processing("A"), processing("B", DependsOn=["A"]))
    config = {"SourcePipelineExecutionArn": source, "SelectedSteps": [{"StepName": "B"}]}

    steps = read_steps(clients, ended(local_sagemaker, start(local_sagemaker, SelectiveExecutionConfig=config)))

    assert steps["A"].reused_from == source
    assert steps["B"].reused_from is None


def test_entries_are_json(local_sagemaker, clients):
    step = read_steps(clients, run(local_sagemaker, processing("Prepare")))["Prepare"]

    assert isinstance(step.ended, str)
    assert step.ended == step.entry["EndTime"]


def test_of_several_attempts_that_are_listed_the_last_counts():
    # AWS does not say whether a retry leaves the earlier one in the list.
    entries = [
        {"StepName": "Train", "StepStatus": "Failed", "EndTime": "1"},
        {"StepName": "Other", "StepStatus": "Succeeded"},
        {"StepName": "Train", "StepStatus": "Executing"},
    ]

    assert snapshot._newest(entries)["Train"].verdict is Verdict.RUNNING


@pytest.mark.parametrize("entry", [{"StepName": "Train"}, {"StepName": "Train", "StepStatus": "Dreaming"}])
def test_a_status_that_nobody_knows_is_no_end(entry):
    assert not StepRecord(entry).verdict.is_final
