"""What another try of a watching task does about an end that an earlier one has seen."""

from __future__ import annotations

import pytest

from tests.integration.documents import dag_of, job_names, training
from tests.operators.worker import Worker

REASON = "AlgorithmError: no data"


@pytest.fixture
def start(server, local_sagemaker):
    """Make a worker of a run whose execution has started."""

    def make(*more, retries=0):
        steps = (training("Train"), *more)
        worker = Worker(dag_of(*steps, orchestrator="sagemaker", default_args={"retries": retries}), server)
        assert worker.run("start-pipeline-execution").state == "success"
        server.states |= {"Train": "running"}
        return worker

    return make


@pytest.fixture
def fails_once(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason=REASON, times=1, duration=0.1)


def made(local_sagemaker):
    """How many jobs, executions and retries of executions there are."""
    sagemaker = local_sagemaker.client("sagemaker")
    executions = sagemaker.list_pipeline_executions(PipelineName="abalone")["PipelineExecutionSummaries"]
    retries = local_sagemaker.calls().get("sagemaker.RetryPipelineExecution", 0)
    return len(job_names(local_sagemaker, "training")), len(executions), retries


def cleared(worker):
    """What a task's first try after a clear is given."""
    return {"try_number": 2, "max_tries": 1 + worker.dag.get_task("Train").retries}


@pytest.mark.usefixtures("fails_once")
def test_a_failure_that_a_dying_worker_was_to_tell_is_told_by_the_next_try(local_sagemaker, start):
    worker = start()

    # Airflow repeats a try when the worker dies.
    tries = [worker.run("Train"), worker.run("Train", try_number=2)]

    assert REASON in str(tries[1].error)
    assert made(local_sagemaker) == (1, 1, 0)


@pytest.mark.usefixtures("fails_once")
def test_a_retry_after_a_failure_resumes_the_execution(local_sagemaker, start):
    worker = start(retries=1)

    tries = [worker.run("Train"), worker.run("Train", try_number=2)]

    assert [each.state for each in tries] == ["up_for_retry", "success"]
    assert made(local_sagemaker) == (2, 1, 1)


@pytest.mark.usefixtures("fails_once")
def test_a_clear_after_a_failure_resumes_the_execution(local_sagemaker, start):
    worker = start()
    worker.run("Train")

    assert worker.run("Train", **cleared(worker)).state == "success"
    assert made(local_sagemaker) == (2, 1, 1)


def test_a_success_that_a_dying_worker_was_to_tell_is_told_by_the_next_try(local_sagemaker, start):
    worker = start()

    tries = [worker.run("Train"), worker.run("Train", try_number=2)]

    assert [each.state for each in tries] == ["success", "success"]
    assert made(local_sagemaker) == (1, 1, 0)


def test_a_clear_after_a_success_runs_the_step_again(local_sagemaker, start):
    worker = start()
    worker.run("Train")

    assert worker.run("Train", **cleared(worker)).state == "success"
    assert made(local_sagemaker) == (2, 2, 0)


def test_a_step_between_those_that_run_again_does_so_too(local_sagemaker, start, server):
    worker = start(training("Tune", DependsOn=["Train"]), training("Score", DependsOn=["Tune"]))
    worker.run("Score")
    worker.run("Train")
    # Airflow does not clear a task that it begins at that moment.
    server.states |= {"Tune": "success", "Score": None}

    assert worker.run("Train", **cleared(worker)).state == "success"
    _, again = local_sagemaker.client("sagemaker").list_pipeline_executions(
        PipelineName="abalone", SortOrder="Ascending"
    )["PipelineExecutionSummaries"]
    described = local_sagemaker.client("sagemaker").describe_pipeline_execution(
        PipelineExecutionArn=again["PipelineExecutionArn"]
    )
    selected = described["SelectiveExecutionConfig"]["SelectedSteps"]
    assert [step["StepName"] for step in selected] == ["Train", "Tune", "Score"]


@pytest.mark.parametrize(("state", "is_stopped"), [("failed", True), ("restarting", True), ("up_for_retry", False)])
def test_a_killed_start_stops_its_execution_unless_another_try_goes_on_with_it(
    local_sagemaker, start, server, state, is_stopped
):
    worker = start()
    task = worker.start("start-pipeline-execution").task
    server.states |= {"start-pipeline-execution": state}

    task.on_kill()

    assert (local_sagemaker.calls().get("sagemaker.StopPipelineExecution", 0) > 0) is is_stopped
