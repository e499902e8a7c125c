"""What a worker that is killed does with what it has started."""

from __future__ import annotations

import os
import signal
import threading
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowTaskTimeout, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse
from structlog.testing import capture_logs

from airflow_sagemaker_pipelines.operators import kills
from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY
from tests.operators.pipelines import dag_of, jobs
from tests.operators.worker import Server, Worker

STOP = "sagemaker.StopTrainingJob"


@pytest.fixture(autouse=True)
def long_jobs(local_sagemaker):
    local_sagemaker.rule(kind="Training", duration=3600)


@pytest.fixture(autouse=True)
def own_signal_handler():
    """Airflow's task runner leaves its handler behind; in a worker the process ends with the task."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def once_made(monkeypatch):
    """Have something happen on the worker as soon as a step's job is made and told of."""
    note = SageMakerStepOperator._note

    def let(happen):
        def note_and_go_on(task, context, state):
            note(task, context, state)
            happen()

        monkeypatch.setattr(SageMakerStepOperator, "_note", note_and_go_on)

    return let


def killed(server, state):
    """Airflow's signal to a worker, whose task's state is no longer its own matter."""
    server.states["Train"] = state
    os.kill(os.getpid(), signal.SIGTERM)


class Died(BaseException):
    """The worker's process has ended."""


def stops(local_sagemaker):
    return local_sagemaker.calls().get(STOP, 0)


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "restarting"])
def test_the_job_of_a_task_that_somebody_has_ended_or_cleared_is_stopped(local_sagemaker, server, state):
    task = Worker(dag_of(), server).start("Train").task
    server.states["Train"] = state

    task.on_kill()

    assert stops(local_sagemaker) == 1


@pytest.mark.parametrize("state", ["up_for_retry", "scheduled", "queued", "running", "deferred", None])
def test_the_job_of_a_task_that_goes_on_is_left_to_the_next_try(local_sagemaker, server, state):
    task = Worker(dag_of(), server).start("Train").task
    server.states["Train"] = state

    task.on_kill()

    assert stops(local_sagemaker) == 0
    assert list(jobs(local_sagemaker).values()) == ["InProgress"]


def test_the_next_try_of_a_worker_that_was_taken_for_dead_attaches_to_its_job(local_sagemaker, server, once_made):
    worker = Worker(dag_of(), server)

    def be_given_up():
        killed(server, "up_for_retry")
        raise Died

    once_made(be_given_up)
    worker.start("Train")
    once_made(lambda: None)
    again = worker.start("Train", try_number=2)

    assert again.state == "deferred"
    assert jobs(local_sagemaker) == {again.trigger.handle["name"]: "InProgress"}


def test_a_worker_that_is_to_shut_down_may_still_hand_its_job_over_to_a_triggerer(local_sagemaker, server, once_made):
    once_made(lambda: killed(server, "running"))

    assert Worker(dag_of(), server).start("Train").state == "deferred"

    assert stops(local_sagemaker) == 0


@pytest.mark.parametrize("state", ["failed", "restarting"])
def test_a_signal_that_comes_with_a_mark_stops_the_job(local_sagemaker, server, once_made, state):
    def be_marked():
        killed(server, state)
        raise Died

    once_made(be_marked)
    Worker(dag_of(), server).start("Train")

    assert stops(local_sagemaker) == 1


@pytest.mark.timeout(60)
def test_a_signal_in_the_middle_of_a_call_to_airflows_server_does_not_block_the_task(local_sagemaker, monkeypatch):
    class Supervisor(Server):
        """Answers one call after the other."""

        def __init__(self):
            super().__init__()
            self.turn = threading.Lock()

        def send(self, msg):
            with self.turn:
                return super().send(msg)

        def _SetXCom(self, msg):
            super()._SetXCom(msg)
            if msg.key == HANDLE_KEY:
                killed(self, "failed")

    server = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", server, raising=False)
    monkeypatch.setattr(kills, "_SECONDS", 0.1)

    ended = Worker(dag_of(), server).start("Train")

    assert "somebody has ended the task" in str(ended.error)
    assert stops(local_sagemaker) > 0


def test_when_airflow_does_not_tell_the_state_the_job_goes_on(local_sagemaker, server, monkeypatch):
    task = Worker(dag_of(), server).start("Train").task

    def refuse(msg):
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))

    monkeypatch.setattr(server, "_GetTaskStates", refuse)
    with capture_logs() as logged:
        task.on_kill()

    assert stops(local_sagemaker) == 0
    assert [entry["log_level"] for entry in logged if "may still run" in entry["event"]] == ["warning"]


def test_a_timeout_on_the_worker_stops_the_job_though_another_try_may_follow(local_sagemaker, server, once_made):
    def be_late():
        raise AirflowTaskTimeout("Timeout")

    once_made(be_late)

    late = Worker(dag_of(default_args={"execution_timeout": timedelta(hours=1)}), server).start("Train")

    assert late.state == "up_for_retry"
    assert isinstance(late.error, AirflowTaskTimeout)
    assert stops(local_sagemaker) == 1


def test_a_refusal_to_stop_does_not_hide_the_timeout(local_sagemaker, server, once_made):
    local_sagemaker.fault("denied", operation="StopTrainingJob")

    def be_late():
        raise AirflowTaskTimeout("Timeout")

    once_made(be_late)

    late = Worker(dag_of(default_args={"execution_timeout": timedelta(hours=1)}), server).start("Train")

    assert isinstance(late.error, AirflowTaskTimeout)


def test_a_clear_that_comes_before_the_task_waits_stops_its_job(local_sagemaker, server, once_made):
    once_made(lambda: server.states.update(Train="restarting"))

    Worker(dag_of(), server).start("Train")

    assert stops(local_sagemaker) == 1


def test_with_stop_on_kill_off_nobody_is_asked(local_sagemaker, server, monkeypatch):
    task = Worker(dag_of(stop_on_kill=False), server).start("Train").task
    asked = []
    monkeypatch.setattr(server, "_GetTaskStates", asked.append)
    server.states["Train"] = "failed"

    task.on_kill()

    assert asked == []
    assert stops(local_sagemaker) == 0
