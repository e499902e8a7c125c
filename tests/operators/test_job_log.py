"""The text of a failure: what happened, to which job, where its log is, and how that ends."""

from __future__ import annotations

import logging
import pickle
import re

import pytest
from structlog.testing import capture_logs

from airflow_sagemaker_pipelines.operators.job_log import last_lines
from tests.operators.pipelines import CONSOLE, dag_of, jobs, training
from tests.operators.worker import Worker, event_of

REASON = "AlgorithmError: no data, exit code: 1"
LINE = r"\[algo-1 \d\d:\d\d:\d\dZ\]"


@pytest.fixture
def failing(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason=REASON)


def place(name, attempt=1):
    """What the text says of a job, and of its log."""
    group = "$252Faws$252Fsagemaker$252FTrainingJobs"
    log = f"{CONSOLE}/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/{group}$3FlogStreamNameFilter$3D"
    return f"(training job {name}, attempt {attempt}, log: {log}{name}$252F)"


@pytest.mark.usefixtures("failing")
def test_a_failure_names_step_reason_job_attempt_and_log_and_ends_with_the_jobs_last_lines(local_sagemaker, server):
    failed = Worker(dag_of(retries=0), server).run("Train")

    assert failed.state == "failed"
    (name,) = jobs(local_sagemaker)
    first, *lines = str(failed.error).splitlines()
    assert first == f"Step 'Train' failed: {REASON} {place(name)}"
    assert re.fullmatch(f"{LINE} .* was not run", lines[0])
    assert re.fullmatch(f"{LINE} {re.escape(REASON)}", lines[1])
    assert len(lines) == 2


@pytest.mark.usefixtures("failing")
def test_the_last_lines_are_in_the_tasks_log_too(server, caplog):
    waiting = Worker(dag_of(retries=0), server).start("Train")
    event_of(waiting.trigger)
    log = logging.getLogger("the task's log")

    with caplog.at_level("INFO", logger=log.name):
        task = waiting.task
        text = last_lines(task.runner, task.clients, waiting.trigger.handle, reason=REASON, log=log)

    assert [record.getMessage() for record in caplog.records if record.name == log.name] == text.splitlines()
    assert len(text.splitlines()) == 2


@pytest.mark.usefixtures("failing")
def test_the_attempt_is_that_of_the_task(local_sagemaker, server):
    worker = Worker(dag_of(retries=1), server)
    worker.run("Train")

    failed = worker.run("Train", try_number=2)

    _, second = jobs(local_sagemaker)
    assert str(failed.error).splitlines()[0] == f"Step 'Train' failed: {REASON} {place(second, attempt=2)}"


@pytest.mark.usefixtures("failing")
def test_an_error_is_the_same_in_another_process(server):
    error = Worker(dag_of(retries=0), server).run("Train").error

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.details == error.details
    assert (again.message, again.step) == (REASON, "Train")


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("operation", ["DescribeLogStreams", "GetLogEvents"])
def test_without_the_permission_to_read_logs_a_failure_still_says_why(local_sagemaker, server, operation):
    local_sagemaker.fault("denied", operation=operation)

    with capture_logs() as logged:
        failed = Worker(dag_of(retries=0), server).run("Train")

    (name,) = jobs(local_sagemaker)
    assert str(failed.error) == f"Step 'Train' failed: {REASON} {place(name)}"
    (note,) = [entry for entry in logged if "cannot be read" in entry["event"]]
    assert note["log_level"] == "warning"
    assert "(the connection's role needs logs:DescribeLogStreams, logs:GetLogEvents)" in note["event"]


def test_a_stopped_job_has_its_last_lines_shown_too(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", outcome="Stopped", reason="by hand")

    stopped = Worker(dag_of(retries=0), server).run("Train")

    (name,) = jobs(local_sagemaker)
    assert str(stopped.error).splitlines()[0].endswith(place(name))
    assert re.match(LINE, str(stopped.error).splitlines()[1])


def test_retry_policies_match_the_reason_although_lines_are_added(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="CapacityError: no machines", times=1)
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "MaxAttempts": 1, "IntervalSeconds": 7}
    worker = Worker(dag_of(training(policies=[policy]), retries=0), server)

    failed = worker.run("Train")

    assert failed.error.details
    assert failed.state == "up_for_retry"
    assert failed.message.retry_delay_seconds == 7
    assert worker.run("Train", try_number=2).state == "success"


def test_what_a_job_writes_is_no_reason_to_retry(local_sagemaker, server):
    # The code of a job decides what is in its log.
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: x\nCapacityError: no machines")
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "MaxAttempts": 1}
    worker = Worker(dag_of(training(policies=[policy]), retries=0), server)

    failed = worker.run("Train")

    assert "CapacityError: no machines" in failed.error.details
    assert failed.state == "failed"


def test_what_has_no_log_gets_no_link_and_no_lines(server):
    worker = Worker(dag_of({"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "too bad"}}), server)

    assert str(worker.run("No").error) == "Step 'No' failed: too bad"
