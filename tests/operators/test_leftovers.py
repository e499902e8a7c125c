"""What a cleared task has left running on AWS."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.operators.pipelines import created, dag_of, ended, jobs
from tests.operators.worker import Worker

STOPPED = {"Stopping", "Stopped"}


@pytest.fixture
def long_jobs(local_sagemaker):
    local_sagemaker.rule(kind="Training", duration=3600)


def cleared(worker, *, tries=1):
    """The tries of a task's next life: a clear makes room for as many more as the task has retries."""
    return {"try_number": tries + 1, "max_tries": tries + worker.dag.get_task("Train").retries}


def test_a_cleared_task_stops_the_job_that_nobody_waits_for_and_makes_another(local_sagemaker, server, long_jobs):
    worker = Worker(dag_of(), server)
    worker.start("Train")

    assert worker.start("Train", **cleared(worker)).state == "deferred"

    first, second = jobs(local_sagemaker).values()
    assert first in STOPPED
    assert second == "InProgress"


def test_each_clear_stops_the_job_of_the_life_before_it(local_sagemaker, server, long_jobs):
    worker = Worker(dag_of(), server)
    worker.start("Train")
    worker.start("Train", **cleared(worker))

    worker.start("Train", **cleared(worker, tries=2))

    *others, last = jobs(local_sagemaker).values()
    assert len(others) == 2
    assert set(others) <= STOPPED
    assert last == "InProgress"


def test_a_job_is_stopped_even_if_the_task_failed_before_it_was_cleared(local_sagemaker, server, long_jobs):
    worker = Worker(dag_of(), server)
    worker.start("Train")
    # The worker of the next try dies before it can attach.
    worker.start("Train", **cleared(worker, tries=2))

    assert next(iter(jobs(local_sagemaker).values())) in STOPPED


def test_a_retry_never_stops_the_job_that_it_attaches_to(local_sagemaker, server, long_jobs):
    worker = Worker(dag_of(), server)
    worker.start("Train")
    after_clear = cleared(worker)

    worker.start("Train", try_number=2)
    assert list(jobs(local_sagemaker).values()) == ["InProgress"]

    # Nor does one in a later life.
    worker.start("Train", try_number=3, max_tries=after_clear["max_tries"])
    worker.start("Train", try_number=4, max_tries=after_clear["max_tries"])
    assert list(jobs(local_sagemaker).values())[1:] == ["InProgress"]
    assert local_sagemaker.calls()["sagemaker.StopTrainingJob"] == 1


def test_a_job_that_has_ended_is_left_alone(local_sagemaker, server):
    worker = Worker(dag_of(), server)
    worker.start("Train")
    ended(local_sagemaker)

    worker.start("Train", **cleared(worker))

    assert "sagemaker.StopTrainingJob" not in local_sagemaker.calls()
    assert created(local_sagemaker) == 2


def test_only_a_task_that_was_cleared_looks_for_what_it_has_left(server, long_jobs, monkeypatch):
    asked, answer = [], server._GetTaskStateStore
    monkeypatch.setattr(server, "_GetTaskStateStore", lambda msg: asked.append(msg.key) or answer(msg))
    worker = Worker(dag_of(), server)

    worker.start("Train")
    assert "sagemaker_running" not in asked

    worker.start("Train", **cleared(worker))
    assert "sagemaker_running" in asked


def test_other_runs_are_left_alone(local_sagemaker, server, long_jobs):
    Worker(dag_of(), server, run_id="run-1").start("Train")
    later = Worker(dag_of(), server, run_id="run-2")

    later.start("Train", **cleared(later))

    assert list(jobs(local_sagemaker).values()) == ["InProgress", "InProgress"]


def test_without_a_store_the_job_of_an_earlier_life_goes_on(local_sagemaker, server, long_jobs):
    worker = Worker(dag_of(), server, has_store=False)
    worker.start("Train")

    assert worker.start("Train", **cleared(worker)).state == "deferred"

    assert list(jobs(local_sagemaker).values()) == ["InProgress", "InProgress"]


@pytest.mark.usefixtures("long_jobs")
@pytest.mark.parametrize("operation", ["DescribeTrainingJob", "StopTrainingJob"])
def test_a_job_that_cannot_be_stopped_is_no_reason_not_to_go_on(local_sagemaker, server, operation):
    worker = Worker(dag_of(), server)
    first = worker.start("Train").trigger.handle["name"]
    local_sagemaker.fault("denied", operation=operation)

    with capture_logs() as logged:
        again = worker.start("Train", **cleared(worker))

    assert again.state == "deferred"
    assert list(jobs(local_sagemaker).values()) == ["InProgress", "InProgress"]
    (warning,) = [entry for entry in logged if "may still run" in entry["event"]]
    assert warning["log_level"] == "warning"
    assert first in str(warning)
    assert "AccessDenied" in str(warning)


def test_with_stop_on_kill_off_a_clear_leaves_the_job(local_sagemaker, server, long_jobs):
    worker = Worker(dag_of(stop_on_kill=False), server)
    worker.start("Train")

    worker.start("Train", **cleared(worker))

    assert list(jobs(local_sagemaker).values()) == ["InProgress", "InProgress"]


@pytest.mark.usefixtures("long_jobs")
@pytest.mark.parametrize("operation", ["DescribeTrainingJob", "StopTrainingJob"])
def test_when_aws_does_not_answer_now_the_next_try_stops_the_job(local_sagemaker, server, operation):
    worker = Worker(dag_of(), server)
    worker.start("Train")
    # As often as botocore calls by itself.
    local_sagemaker.fault("internal", operation=operation, times=5)

    first = worker.start("Train", **cleared(worker))
    second = worker.start("Train", **cleared(worker) | {"try_number": 3})

    assert [first.state, second.state] == ["up_for_retry", "deferred"]
    stopped, runs = jobs(local_sagemaker).values()
    assert stopped in STOPPED
    assert runs == "InProgress"


def test_a_worker_that_dies_while_it_stops_a_job_leaves_that_to_the_next_try(
    local_sagemaker, server, long_jobs, monkeypatch
):
    worker = Worker(dag_of(), server)
    worker.start("Train")

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as killing:
        killing.setattr("airflow_sagemaker_pipelines.steps.types.training.Training.stop", die)
        worker.start("Train", **cleared(worker))
    assert list(jobs(local_sagemaker).values()) == ["InProgress"]

    worker.start("Train", **cleared(worker) | {"try_number": 3})

    assert next(iter(jobs(local_sagemaker).values())) in STOPPED
