"""What a retry does about a job that has failed: Airflow was told of it, or the worker died that was to tell it."""

from __future__ import annotations

import pytest

from tests.integration.documents import dag_of, job_names, training
from tests.operators.worker import Worker, event_of

REASON = "AlgorithmError: no data"


@pytest.fixture
def start(server, local_sagemaker):
    """Make a worker whose task's first job fails."""

    def make(*, retries=3, **keys):
        local_sagemaker.rule(kind="Training", outcome="Failed", reason=REASON, times=1, duration=0.1)
        return Worker(dag_of(training("Train"), default_args={"retries": retries}), server, **keys)

    return make


@pytest.fixture
def die(local_sagemaker):
    """Let a try start the job and wait for its failure, which then nobody tells."""

    def run(worker):
        event_of(worker.start("Train").trigger)

    return run


def jobs(local_sagemaker):
    return len(job_names(local_sagemaker, "training"))


def test_a_failure_that_airflow_was_told_of_is_followed_by_a_new_job(local_sagemaker, start):
    worker = start()

    tries = [worker.run("Train"), worker.run("Train", try_number=2)]

    assert [each.state for each in tries] == ["up_for_retry", "success"]
    assert jobs(local_sagemaker) == 2


def test_a_failure_that_a_dying_worker_was_to_tell_is_told_by_the_next_try(local_sagemaker, start, die):
    worker = start(retries=0)
    die(worker)

    second = worker.start("Train", try_number=2)

    assert second.state == "failed"
    assert REASON in str(second.error)
    assert jobs(local_sagemaker) == 1


def test_after_it_was_told_another_try_makes_a_new_job(local_sagemaker, start, die):
    worker = start()
    die(worker)

    tries = [worker.start("Train", try_number=2), worker.run("Train", try_number=3)]

    assert [each.state for each in tries] == ["up_for_retry", "success"]
    assert jobs(local_sagemaker) == 2


def test_a_try_after_the_last_one_makes_no_job(local_sagemaker, start):
    worker = start(retries=0)

    # Airflow repeats a try when the worker dies between the telling and its end.
    tries = [worker.run("Train"), worker.run("Train", try_number=2)]

    assert REASON in str(tries[1].error)
    assert jobs(local_sagemaker) == 1


def test_without_notes_every_retry_makes_a_new_job(local_sagemaker, start, die):
    worker = start(has_store=False)
    die(worker)

    assert worker.run("Train", try_number=2).state == "success"
    assert jobs(local_sagemaker) == 2


def test_a_cleared_task_does_not_take_over_the_failure_of_its_earlier_life(local_sagemaker, start, die):
    worker = start()
    die(worker)

    cleared = worker.run("Train", try_number=2, max_tries=1 + worker.dag.get_task("Train").retries)

    assert cleared.state == "success"
    assert jobs(local_sagemaker) == 2
