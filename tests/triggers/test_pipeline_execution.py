"""The trigger of ``pipeline-execution`` against the local endpoint: what it says, and what a kill stops."""

from __future__ import annotations

import asyncio
import time

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.triggers.pipeline_execution import PipelineExecutionTrigger, failures_of
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
from tests.executions.deployed import NAME, callback, described, ended, run, running, start, states, status, wait
from tests.integration.documents import processing, training
from tests.triggers.executions import START_TASK, again, event, killed, of_run

pytestmark = pytest.mark.usefixtures("hasty_triggers")

UNKNOWN = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{NAME}/execution/abcdefghijkl"
#: The task of the trigger.
END = {"task_id": "pipeline-execution"}


def trigger_of(arn=None, **arguments):
    once = {"retries": {"total_max_attempts": 1}, "user_agent_extra": f"t/{time.time_ns()}"}
    return PipelineExecutionTrigger(
        **{
            "connection": AwsConnection(botocore_config=once).serialize(),
            "poll_interval": 0.05,
            "start_task_id": START_TASK,
            "execution": None if arn is None else {"arn": arn, "digest": "d"},
            **arguments,
        }
    )


def sensed(arn):
    """The trigger of a sensor: there is no run that could be in another execution."""
    return trigger_of(arn, start_task_id="")


@pytest.fixture
def long_execution(local_sagemaker):
    local_sagemaker.rule(duration=3600)
    return running(local_sagemaker, start(local_sagemaker, training("Train")), "Train")


def test_a_triggerer_makes_the_same_trigger_again():
    trigger = trigger_of(UNKNOWN, step_task_ids=["Train", "Ask"], callback_tasks={"Ask": "Ask"}, deadline=1e9)

    made = again(trigger)

    assert type(made) is PipelineExecutionTrigger
    assert made.serialize() == trigger.serialize()
    assert made.callback_tasks == {"Ask": "Ask"}


# --- what it says


def test_an_execution_that_goes_on_leaves_the_other_tasks_of_dag_test_their_turn(local_sagemaker, long_execution):
    said = event(trigger_of(long_execution, step_task_ids=["Train"])).payload

    assert (said["execution_arn"], said["verdict"]) == (long_execution, "running")


def test_where_there_are_no_other_tasks_dag_test_waits(local_sagemaker):
    local_sagemaker.rule(kind="Training", duration=1.0)
    arn = start(local_sagemaker, training("Train"))
    local_sagemaker.clear_calls()

    assert event(sensed(arn)).payload["verdict"] == "succeeded"


def test_an_execution_that_succeeds(local_sagemaker):
    arn = run(local_sagemaker, training("Train"))

    said = event(sensed(arn)).payload

    assert (said["execution_arn"], said["verdict"], said["status"]) == (arn, "succeeded", "Succeeded")
    assert (said["reason"], said["failed"], said["failed_tasks"]) == (None, {}, [])


def test_an_execution_that_fails_names_the_steps_with_their_reasons(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    local_sagemaker.rule(kind="Processing", outcome="Stopped")

    said = event(sensed(run(local_sagemaker, training("Train"), processing("Prepare")))).payload

    assert (said["verdict"], said["status"]) == ("failed", "Failed")
    assert said["failed"]["Train"] == "AlgorithmError: no data"
    assert set(said["failed"]) == {"Train", "Prepare"}
    assert "Step 'Train': AlgorithmError: no data" in failures_of(said["failed"])


def test_an_execution_that_is_stopped(local_sagemaker, long_execution):
    local_sagemaker.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=long_execution)

    said = event(sensed(ended(local_sagemaker, long_execution))).payload

    assert (said["verdict"], said["status"]) == ("stopped", "Stopped")


def test_an_execution_whose_failures_were_handled_says_both(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    handler = processing("OnFailure", DependsOn=[{"Step": "Train", "Trigger": "Failed"}])

    said = event(sensed(run(local_sagemaker, training("Train"), handler))).payload

    assert (said["verdict"], said["status"]) == ("succeeded", "CompletedWithFailures")
    assert said["failed"] == {"Train": "AlgorithmError: no data"}


def test_the_deadline_ends_the_waiting(long_execution, run_server):
    run_server.enter(long_execution)

    said = event(of_run(trigger_of(deadline=time.time() + 1.0), **END)).payload

    assert (said["execution_arn"], said["verdict"]) == (long_execution, TIMED_OUT)


def test_an_execution_that_aws_does_not_know_is_refused(local_sagemaker):
    assert event(sensed(UNKNOWN)).payload["verdict"] == REFUSED


# --- in a triggerer


def test_a_success_ends_the_task_from_here(local_sagemaker, run_server):
    arn = start(local_sagemaker, training("Train"))
    run_server.enter(arn)

    said = event(of_run(trigger_of(), **END))

    assert isinstance(said, TaskSuccessEvent)
    assert run_server.xcom("pipeline-execution") == {
        "PipelineExecutionArn": arn,
        "PipelineExecutionStatus": "Succeeded",
    }


@pytest.mark.parametrize("outcome", ["Failed", "Stopped"])
def test_anything_else_is_a_workers_matter(local_sagemaker, run_server, outcome):
    local_sagemaker.rule(kind="Training", outcome=outcome)
    run_server.enter(start(local_sagemaker, training("Train")))

    assert type(event(of_run(trigger_of(), **END))) is TriggerEvent


def test_a_success_of_which_tasks_know_nothing_is_a_workers_matter(local_sagemaker, run_server):
    run_server.enter(run(local_sagemaker, training("Train")))
    run_server.states["Train"] = "failed"

    said = event(of_run(trigger_of(step_task_ids=["Train"]), **END))

    assert type(said) is TriggerEvent
    assert said.payload["failed_tasks"] == ["Train"]


def test_handled_failures_are_a_workers_matter(local_sagemaker, run_server):
    local_sagemaker.rule(kind="Training", outcome="Failed")
    handler = processing("OnFailure", DependsOn=[{"Step": "Train", "Trigger": "Failed"}])
    run_server.enter(run(local_sagemaker, training("Train"), handler))

    assert type(event(of_run(trigger_of(), **END))) is TriggerEvent


def wait_while(trigger, change, *, seconds=0.7):
    """Run a trigger; it must still wait when something changes. Return its event."""

    async def run_on():
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(seconds)
        assert not waiting.done()
        await asyncio.to_thread(change)
        return await asyncio.wait_for(waiting, 30)

    return asyncio.run(run_on())


@pytest.mark.parametrize("state", ["running", "up_for_retry", "deferred", "scheduled", None])
def test_the_end_is_not_told_while_a_task_may_have_it_retried(local_sagemaker, run_server, state):
    local_sagemaker.rule(kind="Training", outcome="Failed")
    run_server.enter(run(local_sagemaker, training("Train")))
    run_server.states["Train"] = state
    trigger = of_run(trigger_of(step_task_ids=["Train"]), **END)

    said = wait_while(trigger, lambda: run_server.states.update(Train="failed"))

    assert (said.payload["verdict"], said.payload["failed_tasks"]) == ("failed", ["Train"])


def test_an_execution_that_was_retried_is_waited_for_to_its_next_end(local_sagemaker, run_server):
    local_sagemaker.rule(kind="Training", outcome="Failed", times=1)
    arn = run(local_sagemaker, training("Train"))
    run_server.enter(arn)
    run_server.states["Train"] = "running"
    trigger = of_run(trigger_of(step_task_ids=["Train"]), **END)

    def retry():
        local_sagemaker.client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn)
        run_server.states["Train"] = "success"

    assert isinstance(wait_while(trigger, retry), TaskSuccessEvent)
    assert status(local_sagemaker, arn) == "Succeeded"


def test_the_execution_that_a_cleared_task_has_started_counts(local_sagemaker, run_server):
    first = run(local_sagemaker, training("Train"))
    run_server.enter(first)
    run_server.states["Train"] = "running"
    trigger = of_run(trigger_of(step_task_ids=["Train"]), **END)

    def start_again():
        run_server.enter(start(local_sagemaker))
        run_server.states["Train"] = "success"

    wait_while(trigger, start_again)

    assert run_server.xcom("pipeline-execution")["PipelineExecutionArn"] != first


def test_a_callback_whose_task_has_failed_is_answered(local_sagemaker, run_server):
    arn = running(local_sagemaker, start(local_sagemaker, callback(local_sagemaker)), "Ask")
    run_server.enter(arn)
    run_server.states |= {"Ask": "running"}
    trigger = of_run(trigger_of(step_task_ids=["Ask"], callback_tasks={"Ask": "Ask"}), **END)

    said = wait_while(trigger, lambda: run_server.states.update(Ask="upstream_failed"))

    assert said.payload["failed"] == {"Ask": "The task that was to fulfil it did not succeed"}


@pytest.mark.parametrize("operation", ["SendPipelineExecutionStepFailure", "ListPipelineExecutionSteps"])
@pytest.mark.parametrize("fault", ["throttle", "internal", "reset"])
def test_an_answer_that_aws_does_not_take_now_is_given_at_a_later_look(local_sagemaker, run_server, operation, fault):
    arn = running(local_sagemaker, start(local_sagemaker, callback(local_sagemaker)), "Ask")
    run_server.enter(arn)
    run_server.states |= {"Ask": "failed"}
    local_sagemaker.fault(fault, operation=operation, skip=1 if operation.startswith("List") else 0, times=2)

    said = event(of_run(trigger_of(step_task_ids=["Ask"], callback_tasks={"Ask": "Ask"}), **END))

    assert (said.payload["verdict"], said.payload["status"]) == ("failed", "Failed")


# --- what a kill stops


def end_of_kill(local_sagemaker, arn):
    wait(lambda: status(local_sagemaker, arn) in {"Stopping", "Stopped"})


@pytest.mark.parametrize("state", ["failed", "skipped", "removed"])
def test_marking_the_task_as_failed_stops_the_execution(local_sagemaker, long_execution, run_server, state):
    run_server.states["pipeline-execution"] = state

    killed(of_run(trigger_of(long_execution), **END))

    end_of_kill(local_sagemaker, long_execution)


def test_marking_the_run_as_failed_stops_the_execution(local_sagemaker, long_execution, run_server):
    # Airflow marks the tasks that wait as failed, too, but a teardown or a leaf may be marked otherwise.
    run_server.states["pipeline-execution"] = "success"
    run_server.run_state = "failed"

    killed(of_run(trigger_of(long_execution), **END))

    end_of_kill(local_sagemaker, long_execution)


@pytest.mark.parametrize("state", [None, "deferred", "scheduled", "queued", "running"])
def test_a_task_that_was_cleared_or_goes_on_elsewhere_leaves_the_execution(
    local_sagemaker, long_execution, run_server, state
):
    run_server.states["pipeline-execution"] = state

    killed(of_run(trigger_of(long_execution), **END))

    assert states(local_sagemaker, long_execution) == {"Train": "Executing"}


def test_marking_the_task_as_success_leaves_the_execution(local_sagemaker, long_execution, run_server):
    run_server.states["pipeline-execution"] = "success"

    killed(of_run(trigger_of(long_execution), **END))

    assert states(local_sagemaker, long_execution) == {"Train": "Executing"}


def test_a_stop_answers_the_callbacks_that_run(local_sagemaker, run_server):
    arn = running(local_sagemaker, start(local_sagemaker, callback(local_sagemaker)), "Ask")
    run_server.states["pipeline-execution"] = "failed"

    killed(of_run(trigger_of(arn), **END))

    assert described(local_sagemaker, ended(local_sagemaker, arn))["PipelineExecutionStatus"] == "Stopped"


def test_a_kill_before_the_task_has_looked_for_its_execution_stops_it(local_sagemaker, long_execution, run_server):
    run_server.enter(long_execution)
    run_server.states["pipeline-execution"] = "failed"

    asyncio.run(of_run(trigger_of(), **END).on_kill())

    end_of_kill(local_sagemaker, long_execution)


def test_a_kill_stops_the_execution_that_a_cleared_task_has_started(local_sagemaker, long_execution, run_server):
    other = running(local_sagemaker, start(local_sagemaker), "Train")
    run_server.enter(other)
    run_server.states |= {"pipeline-execution": "failed", "Train": "running"}

    killed(of_run(trigger_of(step_task_ids=["Train"]), **END))

    end_of_kill(local_sagemaker, other)
    assert status(local_sagemaker, long_execution) == "Executing"


def test_a_kill_stops_nothing_if_the_pipeline_says_so(local_sagemaker, long_execution, run_server):
    run_server.states["pipeline-execution"] = "failed"

    killed(of_run(trigger_of(long_execution, stop_on_kill=False), **END))

    assert status(local_sagemaker, long_execution) == "Executing"


@pytest.mark.parametrize("fault", [{"fault": "internal"}, {"fault": "error", "code": "ConflictException"}])
def test_a_stop_that_aws_does_not_take_now_is_repeated(local_sagemaker, long_execution, run_server, fault):
    run_server.states["pipeline-execution"] = "failed"
    local_sagemaker.fault(**fault, operation="StopPipelineExecution", times=2)

    asyncio.run(of_run(trigger_of(long_execution), **END).on_kill())

    end_of_kill(local_sagemaker, long_execution)
    assert local_sagemaker.calls()["sagemaker.StopPipelineExecution"] == 3
