"""Starting, retrying and stopping executions of the local endpoint."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from airflow_sagemaker_pipelines.executions import control
from airflow_sagemaker_pipelines.executions.control import Selection
from airflow_sagemaker_pipelines.executions.ends import StepKey
from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineRequestError
from tests.executions.deployed import (
    NAME,
    callback,
    deploy,
    described,
    ended,
    executions,
    fail,
    loop,
    run,
    running,
    states,
    status,
    wait,
)
from tests.executions.deployed import start as begin
from tests.integration.documents import processing, training
from tests.steps.types.step_runs import EndpointClients

TOKEN = "t" * 40


def start(clients, **arguments):
    return control.start(clients, **{"pipeline_name": NAME, "token": TOKEN, "parameters": {}, **arguments})


# --- start


def test_an_execution_is_started_once_per_token(local_sagemaker, clients):
    deploy(local_sagemaker, processing("Prepare"))

    first, again, other = start(clients), start(clients), start(clients, token="u" * 40)

    assert first == again
    assert executions(local_sagemaker) == [first, other]


def test_a_start_whose_answer_was_lost_is_found_by_its_token(local_sagemaker, clients, once):
    deploy(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault("reset", operation="StartPipelineExecution", after=True, times=1)
    with pytest.raises(PipelineCallError, match="StartPipelineExecution got no answer"):
        start(once)

    assert executions(local_sagemaker) == [start(clients)]


def test_a_start_whose_answer_was_cut_off_is_found_by_its_token(local_sagemaker, clients, once):
    deploy(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault("truncate", operation="StartPipelineExecution", keep=0, content_length="cut", times=1)
    with pytest.raises(PipelineCallError, match="without PipelineExecutionArn"):
        start(once)

    assert executions(local_sagemaker) == [start(clients)]


def test_parameters_are_given_as_text(local_sagemaker, clients):
    kinds = {
        "Flag": "Boolean",
        "Off": "Boolean",
        "Rate": "Float",
        "Whole": "Float",
        "Count": "Integer",
        "Day": "String",
    }
    deploy(
        local_sagemaker,
        processing("Prepare"),
        Parameters=[{"Name": name, "Type": kind} for name, kind in kinds.items()],
    )

    arn = start(
        clients,
        parameters={"Flag": True, "Off": False, "Rate": 0.25, "Whole": 2.0, "Count": 7, "Day": "2026-01-01"},
    )

    assert control.parameters_of(clients, arn) == {
        "Flag": "true",
        "Off": "false",
        "Rate": "0.25",
        "Whole": "2.0",
        "Count": "7",
        "Day": "2026-01-01",
    }


def test_what_is_known_of_an_execution_is_told_to_aws(local_sagemaker, clients):
    deploy(local_sagemaker, processing("Prepare"))

    arn = start(
        clients,
        display_name=control.display_name("scheduled__2026-01-01T00:00:00+00:00"),
        description="Run 1 of the Airflow DAG abalone",
        max_parallel_steps=3,
    )

    found = described(local_sagemaker, arn)
    assert found["PipelineExecutionDisplayName"] == "scheduled-2026-01-01T00-00-00-00-00"
    assert found["PipelineExecutionDescription"] == "Run 1 of the Airflow DAG abalone"
    assert found["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 3}


@pytest.mark.parametrize(
    "text",
    ["Übung #1", "__a__", "-", "", "日本", "x" * 200, f"{'x' * 81}--y", "manual__2026-01-01T00:00:00.123456+00:00"],
)
def test_any_text_makes_a_display_name_that_aws_takes(local_sagemaker, clients, text):
    deploy(local_sagemaker, processing("Prepare"))

    name = control.display_name(text)

    assert described(local_sagemaker, start(clients, display_name=name))["PipelineExecutionDisplayName"] == name


def test_an_older_version_is_started_by_its_number(local_sagemaker, clients):
    deploy(local_sagemaker, processing("First"))
    deploy(local_sagemaker, processing("Second"))

    arn = start(clients, version={"PipelineVersionId": 1})

    assert set(states(local_sagemaker, ended(local_sagemaker, arn))) == {"First"}


def test_selected_steps_run_with_the_outputs_of_another_execution(local_sagemaker, clients):
    source = run(local_sagemaker, processing("A"), processing("B", DependsOn=["A"]), processing("C", DependsOn=["B"]))

    arn = start(clients, selection=Selection(steps=["B"], source_arn=source))

    assert set(states(local_sagemaker, ended(local_sagemaker, arn))) == {"A", "B"}
    assert described(local_sagemaker, arn)["SelectiveExecutionConfig"] == {
        "SourcePipelineExecutionArn": source,
        "SelectedSteps": [{"StepName": "B"}],
    }


def test_selected_steps_that_need_nothing_have_no_source(local_sagemaker, clients):
    deploy(local_sagemaker, processing("A"), processing("B", DependsOn=["A"]))

    arn = start(clients, selection=Selection(steps=["A"]))

    assert states(local_sagemaker, ended(local_sagemaker, arn)) == {"A": "Succeeded"}


def test_fifty_steps_may_be_selected_and_no_more(local_sagemaker, clients):
    names = [f"S{number}" for number in range(51)]
    deploy(local_sagemaker, *(processing(name) for name in names))

    assert start(clients, selection=Selection(steps=names[:50]), max_parallel_steps=1)
    with pytest.raises(PipelineRequestError, match="51 steps are selected; a selective execution takes 50"):
        start(clients, token="u" * 40, selection=Selection(steps=names))
    assert len(executions(local_sagemaker)) == 1


def test_a_pipeline_that_is_not_there_is_refused(clients):
    with pytest.raises(PipelineRequestError, match="StartPipelineExecution was refused with ResourceNotFound") as no:
        start(clients)

    assert no.value.resource == NAME


def test_a_request_that_botocore_does_not_send_is_refused(local_sagemaker, clients):
    deploy(local_sagemaker, processing("Prepare"))

    with pytest.raises(PipelineRequestError, match="MaxParallelExecutionSteps"):
        start(clients, max_parallel_steps="many")


@pytest.mark.parametrize(
    "fault",
    [{"fault": "throttle"}, {"fault": "unavailable"}, {"fault": "error", "code": "ResourceLimitExceeded"}],
    ids=["throttled", "unavailable", "quota"],
)
def test_a_start_that_may_be_taken_later_is_an_error_of_the_call(local_sagemaker, once, fault):
    deploy(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault(**fault, operation="StartPipelineExecution")

    with pytest.raises(PipelineCallError):
        start(once)


# --- parameters


def test_the_parameters_of_an_execution_are_all_there(local_sagemaker, clients):
    # AWS takes 200, and lists 100 in a page.
    declared = [{"Name": f"P{number}", "Type": "String", "DefaultValue": "-"} for number in range(150)]
    deploy(local_sagemaker, processing("Prepare"), Parameters=declared)

    arn = start(clients, parameters={"P7": "seven"})

    found = control.parameters_of(clients, arn)
    assert found == {f"P{number}": "-" for number in range(150)} | {"P7": "seven"}


def test_a_list_of_parameters_that_is_cut_off_is_no_list(local_sagemaker, clients, once):
    arn = begin(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault(
        "truncate", operation="ListPipelineParametersForExecution", keep=0, content_length="cut", times=1
    )

    with pytest.raises(PipelineCallError, match="without PipelineParameters"):
        control.parameters_of(once, arn)


# --- retry


def failed_once(local_sagemaker, *steps):
    """An execution whose training step has failed, and will not do so again."""
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: once", times=1)
    return run(local_sagemaker, *(steps or (training("Train"),)))


def when_ended(local_sagemaker, arn):
    return described(local_sagemaker, arn)["LastModifiedTime"]


def test_a_failed_execution_goes_on_in_place(local_sagemaker, clients):
    arn = failed_once(local_sagemaker, processing("Prepare"), training("Train", DependsOn=["Prepare"]))

    assert control.retry(clients, arn, ended=when_ended(local_sagemaker, arn), max_parallel_steps=7)

    assert states(local_sagemaker, ended(local_sagemaker, arn)) == {"Prepare": "Succeeded", "Train": "Succeeded"}
    assert described(local_sagemaker, arn)["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 7}


def test_a_stopped_execution_goes_on_in_place(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600, times=1)
    arn = running(local_sagemaker, begin(local_sagemaker, training("Train")), "Train")
    control.stop(clients, arn)
    ended(local_sagemaker, arn)

    assert control.retry(clients, arn, ended=when_ended(local_sagemaker, arn))

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Succeeded"


def test_two_that_ask_at_once_make_one_retry(local_sagemaker, clients):
    arn = failed_once(local_sagemaker)
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: again")
    at = when_ended(local_sagemaker, arn)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(control.retry, EndpointClients(local_sagemaker), arn, ended=at) for _ in range(2)]
        assert [retried.result(20) for retried in asked] == [True, True]
    ended(local_sagemaker, arn)

    # One that comes late has seen the same end: AWS takes it for the same retry, although this one has failed, too.
    assert control.retry(clients, arn, ended=at)

    assert status(local_sagemaker, arn) == "Failed"
    jobs = local_sagemaker.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert len(jobs) == 2


def test_the_next_end_can_be_retried_again(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: twice", times=2)
    arn = run(local_sagemaker, training("Train"))

    for _ in range(2):
        assert control.retry(clients, arn, ended=when_ended(local_sagemaker, arn))
        ended(local_sagemaker, arn)

    assert status(local_sagemaker, arn) == "Succeeded"


def test_an_execution_that_runs_is_not_retried(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = running(local_sagemaker, begin(local_sagemaker, training("Train")), "Train")

    assert not control.retry(clients, arn, ended=datetime.now(UTC))

    assert states(local_sagemaker, arn) == {"Train": "Executing"}


def test_an_execution_that_has_succeeded_is_not_retried(local_sagemaker, clients):
    arn = run(local_sagemaker, processing("Prepare"))

    assert not control.retry(clients, arn, ended=when_ended(local_sagemaker, arn))


def test_an_execution_that_a_fail_step_has_ended_is_not_retried(local_sagemaker, clients):
    arn = run(local_sagemaker, fail("No"))

    assert not control.retry(clients, arn, ended=when_ended(local_sagemaker, arn))


def test_a_retry_of_what_aws_does_not_know_is_refused(clients):
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{NAME}/execution/abcdefghijkl"

    with pytest.raises(PipelineRequestError, match="RetryPipelineExecution was refused with ResourceNotFound"):
        control.retry(clients, arn, ended=datetime.now(UTC))


def test_a_failed_execution_is_resumed(local_sagemaker, clients):
    arn = failed_once(local_sagemaker)

    control.resume(clients, arn, max_parallel_steps=7)

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Succeeded"
    assert described(local_sagemaker, arn)["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 7}


def test_what_runs_needs_no_resumption(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = running(local_sagemaker, begin(local_sagemaker, training("Train")), "Train")

    control.resume(clients, arn)

    assert "sagemaker.RetryPipelineExecution" not in local_sagemaker.calls()


def test_another_task_may_be_faster(local_sagemaker, clients, monkeypatch):
    arn = failed_once(local_sagemaker)
    describe = control.describe_execution
    looks = []

    def slowly(*arguments):
        """Somebody in Studio retries the execution after the first look at it."""
        found = describe(*arguments)
        if not looks:
            clients("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn)
        looks.append(found["PipelineExecutionStatus"])
        return found

    monkeypatch.setattr(control, "describe_execution", slowly)

    control.resume(clients, arn)

    assert looks[0] == "Failed"
    assert len(looks) == 2
    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Succeeded"


@pytest.mark.parametrize(("step", "found"), [(processing("Prepare"), "Succeeded"), (fail("No"), "Failed")])
def test_what_aws_does_not_retry_cannot_be_resumed(local_sagemaker, clients, step, found):
    arn = run(local_sagemaker, step)

    with pytest.raises(PipelineRequestError, match=f"AWS does not retry the execution, which is {found}"):
        control.resume(clients, arn)


def test_what_is_about_to_stop_can_be_resumed_later(local_sagemaker, clients):
    arn = running(local_sagemaker, begin(local_sagemaker, callback(local_sagemaker)), "Ask")
    control.stop(clients, arn, answers_callbacks=False)

    with pytest.raises(PipelineCallError, match="the execution is about to stop; AWS retries it when it has"):
        control.resume(clients, arn)


# --- stop


def test_a_stop_ends_what_runs(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = begin(local_sagemaker, training("Train"), processing("After", DependsOn=["Train"]))
    running(local_sagemaker, arn, "Train")

    control.stop(clients, arn)

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Stopped"
    assert states(local_sagemaker, arn) == {"Train": "Stopped"}


def test_a_stop_of_what_is_over_is_no_error(local_sagemaker, clients):
    arn = run(local_sagemaker, processing("Prepare"))

    control.stop(clients, arn)

    assert status(local_sagemaker, arn) == "Succeeded"


def test_an_execution_that_was_retried_can_be_stopped_again(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = running(local_sagemaker, begin(local_sagemaker, training("Train")), "Train")
    control.stop(clients, arn)
    ended(local_sagemaker, arn)
    control.retry(clients, arn, ended=when_ended(local_sagemaker, arn))
    running(local_sagemaker, arn, "Train")

    control.stop(clients, arn)

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Stopped"


def test_a_callback_in_progress_is_answered_so_that_the_stop_ends(local_sagemaker, clients):
    arn = running(local_sagemaker, begin(local_sagemaker, callback(local_sagemaker)), "Ask")

    control.stop(clients, arn)

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Stopped"


def test_callbacks_may_be_left_to_their_workers(local_sagemaker, clients):
    arn = running(local_sagemaker, begin(local_sagemaker, callback(local_sagemaker)), "Ask")

    control.stop(clients, arn, answers_callbacks=False)

    assert status(local_sagemaker, arn) == "Stopping"
    assert states(local_sagemaker, arn) == {"Ask": "Stopping"}


def test_a_callback_is_answered_also_if_somebody_else_has_asked_for_the_stop(local_sagemaker, clients):
    arn = running(local_sagemaker, begin(local_sagemaker, callback(local_sagemaker)), "Ask")
    local_sagemaker.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)
    # AWS does not say whether it takes the call a second time.
    local_sagemaker.fault("error", operation="StopPipelineExecution", code="ConflictException", message="is Stopping")

    control.stop(clients, arn)

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Stopped"


@pytest.mark.parametrize("code", ["ConflictException", "ValidationException"])
def test_what_aws_says_of_an_execution_that_is_over_is_no_error(local_sagemaker, clients, code):
    arn = run(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault("error", operation="StopPipelineExecution", code=code, message="Only pipelines with ...")

    control.stop(clients, arn)


def test_a_stop_between_two_steps_is_to_be_asked_for_again(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = running(local_sagemaker, begin(local_sagemaker, training("Train")), "Train")
    local_sagemaker.fault("error", operation="StopPipelineExecution", code="ConflictException", times=1)
    with pytest.raises(PipelineCallError, match="StopPipelineExecution was refused with ConflictException"):
        control.stop(clients, arn)

    control.stop(clients, arn)

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Stopped"


@pytest.mark.parametrize("text", ["", "abalone", "arn:aws:sagemaker:us-east-1:123456789012:pipeline/abalone"])
def test_a_stop_of_what_is_no_execution_is_an_error(clients, text):
    with pytest.raises(PipelineRequestError, match="was refused with ValidationException"):
        control.stop(clients, text)


@pytest.mark.parametrize(
    "operation", ["StopPipelineExecution", "ListPipelineExecutionSteps", "SendPipelineExecutionStepFailure"]
)
@pytest.mark.parametrize("fault", ["throttle", "internal", "reset"])
def test_a_stop_that_may_be_taken_later_is_an_error_of_the_call(local_sagemaker, once, operation, fault):
    arn = running(local_sagemaker, begin(local_sagemaker, callback(local_sagemaker)), "Ask")
    local_sagemaker.fault(fault, operation=operation)

    with pytest.raises(PipelineCallError, match=operation):
        control.stop(once, arn)


# --- one step


def test_stopping_a_step_stops_its_job_and_nothing_else(local_sagemaker, clients):
    local_sagemaker.rule(duration=3600, times=2)
    arn = begin(local_sagemaker, training("Train"), processing("Beside"))
    running(local_sagemaker, arn, "Train", "Beside")

    control.stop_step(clients, arn, StepKey(step="Train"))

    wait(lambda: states(local_sagemaker, arn)["Train"] == "Stopped")
    assert states(local_sagemaker, arn)["Beside"] == "Executing"
    assert status(local_sagemaker, arn) == "Executing"
    assert "sagemaker.StopPipelineExecution" not in local_sagemaker.calls()


def test_stopping_a_step_with_its_execution_stops_the_execution_as_a_whole(local_sagemaker, clients):
    local_sagemaker.rule(duration=3600, times=2)
    arn = begin(local_sagemaker, training("Train"), processing("Beside"))
    running(local_sagemaker, arn, "Train", "Beside")

    control.stop_step(clients, arn, StepKey(step="Train"), with_execution=True)

    assert status(local_sagemaker, ended(local_sagemaker, arn)) == "Stopped"
    assert states(local_sagemaker, arn) == {"Train": "Stopped", "Beside": "Stopped"}


def test_stopping_a_callback_step_answers_it(local_sagemaker, clients):
    local_sagemaker.rule(kind="Processing", duration=3600)
    arn = begin(local_sagemaker, callback(local_sagemaker), processing("Beside"))
    running(local_sagemaker, arn, "Ask", "Beside")

    control.stop_step(clients, arn, StepKey(step="Ask"))

    wait(lambda: states(local_sagemaker, arn) == {"Ask": "Failed", "Beside": "Executing"})


def test_stopping_an_iteration_of_a_loop_stops_no_other(local_sagemaker, clients):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = begin(local_sagemaker, loop(training("Body"), items=["a", "b"]))
    running(local_sagemaker, arn, "Body-0", "Body-1")

    control.stop_step(clients, arn, StepKey(step="Body", loop="Loop", index=1))

    wait(lambda: states(local_sagemaker, arn) == {"Loop": "Executing", "Body-0": "Executing", "Body-1": "Stopped"})


@pytest.mark.parametrize("name", ["Prepare", "Later", "NoSuchStep"])
def test_stopping_a_step_that_does_not_run_does_nothing(local_sagemaker, clients, name):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = begin(local_sagemaker, processing("Prepare"), training("Train"), processing("Later", DependsOn=["Train"]))
    wait(lambda: states(local_sagemaker, arn) == {"Prepare": "Succeeded", "Train": "Executing"})
    local_sagemaker.clear_calls()

    control.stop_step(clients, arn, StepKey(step=name))

    assert set(local_sagemaker.calls()) == {"sagemaker.ListPipelineExecutionSteps"}
