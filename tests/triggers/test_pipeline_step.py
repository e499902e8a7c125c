"""The trigger of a watching task against the local endpoint: what it says, and what a kill stops."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_sagemaker_pipelines.executions.snapshot import StepRecord
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.triggers import kills, pipeline
from airflow_sagemaker_pipelines.triggers.pipeline import AGAIN
from airflow_sagemaker_pipelines.triggers.pipeline_step import CHANGED, PipelineStepTrigger
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
from airflow_sagemaker_pipelines.xcom_keys import SEEN_KEY
from tests.executions.deployed import (
    NAME,
    callback,
    condition,
    described,
    ended,
    loop,
    run,
    running,
    start,
    states,
    status,
    wait,
)
from tests.integration.documents import processing, training
from tests.triggers.executions import START_TASK, again, event, killed, of_run

pytestmark = pytest.mark.usefixtures("hasty_triggers")

UNKNOWN = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{NAME}/execution/abcdefghijkl"


def trigger_of(arn=None, step="Train", *, selection=None, **arguments):
    """A trigger for which a worker has decided, unless there is no execution yet."""
    once = {"retries": {"total_max_attempts": 1}, "user_agent_extra": f"t/{time.time_ns()}"}
    execution = None if arn is None else {"arn": arn, "digest": "d", **(selection or {})}
    return PipelineStepTrigger(
        **{
            "connection": AwsConnection(botocore_config=once).serialize(),
            "poll_interval": 0.05,
            "start_task_id": START_TASK,
            "step": step,
            "execution": execution,
            **arguments,
        }
    )


@pytest.fixture
def long_execution(local_sagemaker):
    """An execution in which two steps run for hours."""
    local_sagemaker.rule(duration=3600)
    arn = start(local_sagemaker, training("Train"), processing("Beside"))
    return running(local_sagemaker, arn, "Train", "Beside")


def test_a_triggerer_makes_the_same_trigger_again():
    trigger = trigger_of(
        UNKNOWN,
        selection={"selected": ["Train"], "reused": ["Prepare"]},
        digest="d",
        deadline=1e9,
        event_queue_url="https://sqs/queue",
        stop_on_kill=False,
        ends_task=False,
        loop="Loop",
        index=3,
        stale_end="2026-01-01T00:00:00+00:00",
        until_over=True,
        gives_items=True,
        describes=True,
    )

    made = again(trigger)

    assert type(made) is PipelineStepTrigger
    assert made.serialize() == trigger.serialize()
    assert (made.key, made.execution) == (trigger.key, trigger.execution)


# --- what it says


def test_a_step_that_succeeds_is_told_with_its_entry(local_sagemaker):
    arn = start(local_sagemaker, training("Train"))

    said = event(trigger_of(arn)).payload

    assert (said["verdict"], said["execution_arn"]) == ("succeeded", arn)
    assert said["entry"]["StepStatus"] == "Succeeded"
    assert said["result"] == said["entry"]
    assert "training-job/" in said["entry"]["Metadata"]["TrainingJob"]["Arn"]


def test_a_step_that_fails_is_told_while_the_others_go_on(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    local_sagemaker.rule(kind="Processing", duration=3600)
    arn = start(local_sagemaker, training("Train"), processing("Beside"))

    said = event(trigger_of(arn)).payload

    assert (said["verdict"], said["reason"], said["result"]) == ("failed", "AlgorithmError: no data", None)
    assert status(local_sagemaker, arn) == "Executing"


def test_a_step_whose_job_somebody_stops_is_told_as_stopped(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Stopped")

    assert event(trigger_of(start(local_sagemaker, training("Train")))).payload["verdict"] == "stopped"


def test_a_step_that_is_not_to_run_is_skipped(local_sagemaker):
    arn = run(local_sagemaker, condition(yes=[processing("Yes")], no=[training("Train")]))

    said = event(trigger_of(arn)).payload

    assert (said["verdict"], said["entry"], said["result"]) == ("skipped", None, None)


def test_a_step_that_never_starts_says_why(local_sagemaker):
    local_sagemaker.rule(kind="Processing", outcome="Failed")
    arn = run(local_sagemaker, processing("Prepare"), training("Train", DependsOn=["Prepare"]))

    said = event(trigger_of(arn)).payload

    assert said["verdict"] == "not started"
    assert said["reason"] == "the execution is Failed, and the step has not started"


def test_the_deadline_ends_the_waiting(long_execution):
    said = event(trigger_of(long_execution, deadline=time.time() + 0.5)).payload

    assert (said["execution_arn"], said["verdict"]) == (long_execution, TIMED_OUT)


def test_a_deadline_that_has_passed_ends_it_at_once(local_sagemaker, long_execution):
    local_sagemaker.clear_calls()

    assert event(trigger_of(long_execution, deadline=time.time() - 60)).payload["verdict"] == TIMED_OUT
    assert not local_sagemaker.calls()


def test_an_execution_that_aws_does_not_know_is_refused(local_sagemaker):
    said = event(trigger_of(UNKNOWN)).payload

    assert said["verdict"] == REFUSED
    assert "ResourceNotFound" in said["reason"]


def test_an_execution_of_another_definition_is_not_waited_for(local_sagemaker):
    said = event(trigger_of(UNKNOWN, digest="other")).payload

    assert (said["execution_arn"], said["verdict"]) == (UNKNOWN, CHANGED)
    assert not local_sagemaker.calls()


def test_a_step_that_is_not_selected_is_skipped_at_once(local_sagemaker):
    said = event(trigger_of(UNKNOWN, selection={"selected": ["Other"]})).payload

    assert said["verdict"] == "skipped"
    assert not local_sagemaker.calls()


def test_a_reused_step_that_aws_does_not_list_has_succeeded(local_sagemaker):
    # B is what the selected step waits for; A is above it.
    source = run(local_sagemaker, processing("A"), processing("B", DependsOn=["A"]), processing("C", DependsOn=["B"]))
    config = {"SourcePipelineExecutionArn": source, "SelectedSteps": [{"StepName": "C"}]}
    arn = start(local_sagemaker, SelectiveExecutionConfig=config)
    selection = {"selected": ["C"], "reused": ["A", "B"]}

    above, before = (event(trigger_of(arn, step, selection=selection)).payload for step in ("A", "B"))

    assert (above["verdict"], above["entry"]) == ("succeeded", None)
    assert above["result"] == {"StepName": "A", "StepStatus": "Succeeded"}
    assert before["entry"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": source}


def test_the_end_before_a_retry_is_waited_past(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", times=1)
    arn = run(local_sagemaker, training("Train"))
    listed = local_sagemaker.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn)
    (step,) = listed["PipelineExecutionSteps"]
    stale = step["EndTime"].isoformat()
    local_sagemaker.client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn)

    assert event(trigger_of(arn, stale_end=stale)).payload["verdict"] == "succeeded"


def test_who_waits_for_the_whole_execution_is_told_to_decide_again(local_sagemaker):
    arn = start(local_sagemaker, training("Train"), processing("After", DependsOn=["Train"]))

    said = event(trigger_of(arn, until_over=True)).payload

    assert said[AGAIN]
    assert described(local_sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"


@pytest.mark.parametrize("outcome", ["Completed", "Failed"])
def test_the_items_of_a_loop_are_told_whatever_has_become_of_them(local_sagemaker, outcome):
    local_sagemaker.rule(kind="Training", outcome=outcome)
    arn = start(local_sagemaker, loop(training("Body"), items=["a", "b"]))

    assert event(trigger_of(arn, "Loop", gives_items=True)).payload["result"] == ["a", "b"]


def test_an_iteration_is_waited_for_by_its_index(local_sagemaker):
    local_sagemaker.rule(name="-Body-1-", outcome="Failed", reason="AlgorithmError: b")
    arn = start(local_sagemaker, loop(training("Body"), items=["a", "b"]))

    said = [event(trigger_of(arn, "Body", loop="Loop", index=index)).payload for index in (0, 1)]

    assert [(one["verdict"], one["reason"]) for one in said] == [("succeeded", None), ("failed", "AlgorithmError: b")]


def test_the_result_is_the_description_on_demand(local_sagemaker):
    arn = start(local_sagemaker, training("Train"))

    said = event(trigger_of(arn, describes=True)).payload

    assert said["result"]["TrainingJobStatus"] == "Completed"
    assert said["entry"]["StepName"] == "Train"


def test_a_step_without_a_description_gives_its_entry(local_sagemaker):
    said = event(trigger_of(start(local_sagemaker, condition()), "Check", describes=True)).payload

    assert said["result"]["Metadata"] == {"Condition": {"Outcome": "True"}}


@pytest.mark.parametrize("fault", ["throttle", "internal", "reset"])
def test_a_description_that_aws_cannot_give_now_is_asked_for_again(local_sagemaker, fault):
    arn = run(local_sagemaker, training("Train"))
    local_sagemaker.fault(fault, operation="DescribeTrainingJob", times=2)

    said = event(trigger_of(arn, describes=True)).payload

    assert said["verdict"] == "succeeded"
    assert said["result"]["TrainingJobStatus"] == "Completed"


def test_a_description_that_is_denied_is_told(local_sagemaker):
    arn = run(local_sagemaker, training("Train"))
    local_sagemaker.fault("denied", operation="DescribeTrainingJob")

    said = event(trigger_of(arn, describes=True)).payload

    assert said["verdict"] == REFUSED
    assert "The call for its description was refused" in said["reason"]


# --- in a triggerer


def test_a_success_ends_the_task_from_here(local_sagemaker, run_server):
    arn = start(local_sagemaker, training("Train"))
    run_server.enter(arn)

    said = event(of_run(trigger_of()))

    assert isinstance(said, TaskSuccessEvent)
    result = run_server.xcom("Train")
    assert result["StepStatus"] == "Succeeded"
    seen = run_server.xcom(START_TASK, f"{SEEN_KEY}.Train")
    assert (seen["execution"], seen["ended"]) == (arn, result["EndTime"])


def test_a_step_that_does_not_run_skips_the_task_from_here(local_sagemaker, run_server):
    run_server.enter(run(local_sagemaker, condition(no=[training("Train")])))

    assert isinstance(event(of_run(trigger_of())), TaskSkippedEvent)


def test_a_failure_is_a_workers_matter(local_sagemaker, run_server):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    arn = start(local_sagemaker, training("Train"))
    run_server.enter(arn)

    said = event(of_run(trigger_of()))

    assert type(said) is TriggerEvent
    assert (said.payload["verdict"], said.payload["execution_arn"]) == ("failed", arn)
    assert run_server.xcom(START_TASK, f"{SEEN_KEY}.Train") is None


def test_a_success_may_be_left_to_a_worker(local_sagemaker, run_server):
    run_server.enter(start(local_sagemaker, training("Train")))

    said = event(of_run(trigger_of(ends_task=False)))

    assert type(said) is TriggerEvent
    assert said.payload["result"]["StepStatus"] == "Succeeded"
    assert run_server.xcom("Train") is None


def test_a_result_that_cannot_be_pushed_from_here_is_left_to_a_worker(local_sagemaker, run_server, monkeypatch):
    arn = run(local_sagemaker, training("Train"))
    run_server.enter(arn)

    def refuse(message):
        raise RuntimeError("the api server is away")

    monkeypatch.setattr(run_server, "_SetXCom", refuse)

    said = event(of_run(trigger_of()))

    assert type(said) is TriggerEvent
    assert said.payload["verdict"] == "succeeded"


def test_a_task_that_begins_here_waits_for_the_run_to_have_an_execution(local_sagemaker, run_server):
    trigger = of_run(trigger_of())

    async def enter_late():
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        run_server.enter(await asyncio.to_thread(start, local_sagemaker, training("Train")))
        return await asyncio.wait_for(waiting, 30)

    assert isinstance(asyncio.run(enter_late()), TaskSuccessEvent)


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "running"])
def test_a_task_that_was_cleared_is_left_to_its_next_try(local_sagemaker, run_server, state):
    run_server.states["Train"] = state
    run_server.enter(run(local_sagemaker, training("Train")))

    with pytest.raises(TimeoutError):
        event(of_run(trigger_of()), seconds=1.0)

    assert run_server.xcom(START_TASK, f"{SEEN_KEY}.Train") is None


def test_a_task_that_is_cleared_while_it_waits_is_left_to_its_next_try(local_sagemaker, run_server):
    local_sagemaker.rule(kind="Training", duration=1.0)
    arn = start(local_sagemaker, training("Train"))
    run_server.enter(arn)
    trigger = of_run(trigger_of())

    async def clear_soon():
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)
        run_server.states["Train"] = None
        await asyncio.to_thread(ended, local_sagemaker, arn)
        await asyncio.sleep(1.0)
        waiting.cancel()
        return waiting.done()

    assert not asyncio.run(clear_soon())
    assert run_server.xcom(START_TASK, f"{SEEN_KEY}.Train") is None


def test_another_try_that_begins_here_has_a_worker_decide(local_sagemaker, run_server):
    run_server.enter(UNKNOWN)

    said = event(of_run(trigger_of(), try_number=2))

    assert said.payload[AGAIN]
    assert not local_sagemaker.calls()


def test_a_worker_that_has_decided_is_not_asked_again(local_sagemaker, run_server):
    arn = start(local_sagemaker, training("Train"))

    assert isinstance(event(of_run(trigger_of(arn), try_number=2)), TaskSuccessEvent)


def test_an_event_for_who_has_deferred_just_now_waits_for_the_deferral(local_sagemaker, run_server, monkeypatch):
    monkeypatch.setattr(pipeline, "_EARLIEST_RESUMPTION_SECONDS", 1.0)
    local_sagemaker.rule(kind="Training", outcome="Failed")
    arn = run(local_sagemaker, training("Train"))
    began = time.monotonic()

    event(of_run(trigger_of(arn)))

    assert time.monotonic() - began >= 1.0


# --- what a kill stops


def test_marking_the_task_as_failed_stops_the_steps_job_only(local_sagemaker, long_execution, run_server):
    run_server.states["Train"] = "failed"

    killed(of_run(trigger_of(long_execution)))

    wait(lambda: states(local_sagemaker, long_execution)["Train"] == "Stopped")
    assert states(local_sagemaker, long_execution)["Beside"] == "Executing"
    assert "sagemaker.StopPipelineExecution" not in local_sagemaker.calls()


def test_what_runs_is_told_once_even_if_no_link_leads_to_it(run_server, caplog):
    trigger = of_run(trigger_of(UNKNOWN))
    trigger._log = logging.getLogger("trigger")
    metadata = {"EMRServerless": {"ApplicationId": "app", "JobRunId": "run", "JobRunName": "Spark"}}
    record = StepRecord({"StepName": "Train", "StepStatus": "Executing", "Metadata": metadata})

    async def look_twice():
        await trigger._show(record)
        await trigger._show(record)

    with caplog.at_level(logging.INFO):
        asyncio.run(look_twice())

    assert [line for line in caplog.messages if "runs as" in line] == [
        "Step 'Train' runs as EMR Serverless job run run on application app"
    ]


def test_failing_the_run_stops_the_execution_as_a_whole(local_sagemaker, long_execution, run_server):
    run_server.states["Train"], run_server.run_state = "failed", "failed"

    killed(of_run(trigger_of(long_execution)))

    wait(lambda: status(local_sagemaker, long_execution) == "Stopped")
    assert states(local_sagemaker, long_execution) == {"Train": "Stopped", "Beside": "Stopped"}


@pytest.mark.parametrize("state", [None, "deferred", "scheduled", "queued", "running", "restarting", "success"])
def test_a_task_that_goes_on_or_was_marked_as_success_leaves_the_job(
    local_sagemaker, long_execution, run_server, state
):
    run_server.states["Train"] = state

    killed(of_run(trigger_of(long_execution)))

    assert states(local_sagemaker, long_execution) == {"Train": "Executing", "Beside": "Executing"}
    assert "sagemaker.StopTrainingJob" not in local_sagemaker.calls()


def test_a_kill_before_the_task_has_looked_for_its_execution_stops_the_job(local_sagemaker, long_execution, run_server):
    run_server.enter(long_execution)
    run_server.states["Train"] = "failed"

    asyncio.run(of_run(trigger_of()).on_kill())

    wait(lambda: states(local_sagemaker, long_execution)["Train"] == "Stopped")


def test_a_kill_before_there_is_an_execution_stops_nothing(local_sagemaker, run_server):
    run_server.states["Train"] = "failed"

    killed(of_run(trigger_of()))

    assert not local_sagemaker.calls()


def test_an_iteration_is_known_by_its_index(local_sagemaker, run_server):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = running(local_sagemaker, start(local_sagemaker, loop(training("Body"), items=["a", "b"])), "Body-0", "Body-1")
    run_server.states |= {"Body_0": "deferred", "Body_1": "failed"}

    for index in (0, 1):
        killed(of_run(trigger_of(arn, "Body", loop="Loop", index=index), task_id="Body", map_index=index))

    wait(lambda: states(local_sagemaker, arn) == {"Loop": "Executing", "Body-0": "Executing", "Body-1": "Stopped"})


def test_a_callback_is_answered_as_failed(local_sagemaker, run_server):
    arn = running(local_sagemaker, start(local_sagemaker, callback(local_sagemaker)), "Ask")
    run_server.states["Ask"] = "failed"

    killed(of_run(trigger_of(arn, "Ask"), task_id="Ask"))

    assert states(local_sagemaker, ended(local_sagemaker, arn)) == {"Ask": "Failed"}


def test_a_kill_stops_nothing_if_the_pipeline_says_so(local_sagemaker, long_execution, run_server):
    run_server.states["Train"] = "failed"

    killed(of_run(trigger_of(long_execution, stop_on_kill=False)))

    assert states(local_sagemaker, long_execution)["Train"] == "Executing"


def test_a_kill_after_the_event_stops_nothing(local_sagemaker, long_execution, run_server):
    run_server.states["Train"] = "failed"
    trigger = of_run(trigger_of(long_execution, deadline=time.time()))

    async def end_and_kill():
        said = await anext(trigger.run())
        await trigger.on_kill()
        return said

    assert asyncio.run(end_and_kill()).payload["verdict"] == TIMED_OUT
    assert states(local_sagemaker, long_execution)["Train"] == "Executing"


def test_under_dag_test_a_kill_stops_nothing(local_sagemaker, long_execution):
    killed(trigger_of(long_execution))

    assert states(local_sagemaker, long_execution)["Train"] == "Executing"


@pytest.mark.parametrize("operation", ["ListPipelineExecutionSteps", "StopTrainingJob"])
def test_a_stop_that_aws_does_not_answer_is_repeated(local_sagemaker, long_execution, run_server, operation):
    run_server.states["Train"] = "failed"
    local_sagemaker.fault("internal", operation=operation, times=2)

    asyncio.run(of_run(trigger_of(long_execution)).on_kill())

    wait(lambda: states(local_sagemaker, long_execution)["Train"] == "Stopped")


def test_a_stop_is_not_asked_for_without_end(local_sagemaker, long_execution, run_server):
    run_server.states["Train"] = "failed"
    local_sagemaker.fault("internal", operation="StopTrainingJob")

    asyncio.run(of_run(trigger_of(long_execution)).on_kill())

    assert local_sagemaker.calls()["sagemaker.StopTrainingJob"] == kills._STOP_ATTEMPTS
    assert states(local_sagemaker, long_execution)["Train"] == "Executing"


def test_a_stop_outlives_airflows_patience(local_sagemaker, long_execution, run_server, monkeypatch):
    # Airflow cancels on_kill after a second; here after a tenth, while it has yet to learn the task's state.
    run_server.states["Train"] = "failed"
    answer = run_server._GetTaskStates
    monkeypatch.setattr(run_server, "_GetTaskStates", lambda message: time.sleep(0.5) or answer(message))

    async def cut_short():
        kill = asyncio.ensure_future(of_run(trigger_of(long_execution)).on_kill())
        await asyncio.sleep(0.1)
        kill.cancel()
        await asyncio.gather(kill, return_exceptions=True)
        await asyncio.gather(*kills._background)

    asyncio.run(cut_short())

    wait(lambda: states(local_sagemaker, long_execution)["Train"] == "Stopped")
