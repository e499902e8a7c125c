"""What a task hands to its trigger, where a success ends, and what follows when the trigger crashes."""

from __future__ import annotations

import pytest
from airflow.listeners import hookimpl
from airflow.sdk import Asset, BaseOperator, XComArg
from airflow.sdk.listener import get_listener_manager

from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator
from airflow_sagemaker_pipelines.operators.translator import StepTranslator
from airflow_sagemaker_pipelines.xcom_keys import DEFINITION_KEY, HANDLE_KEY
from tests.operators.pipelines import created, dag_of, ended, jobs, training
from tests.operators.worker import Worker, event_of

STOPPED = {"Stopping", "Stopped"}


class Author(BaseOperator):
    """A task of the DAG's author."""

    def __init__(self, *, item=None, **kwargs):
        super().__init__(**kwargs)
        self.item = item

    def execute(self, context):
        return self.item


class Audited(SageMakerStepOperator):
    """An operator of the DAG's author that has something to do after each step."""

    def post_execute(self, context, result=None):
        self.log.info("done")


class AuditedSteps(StepTranslator):
    """Uses it."""

    def operator_class(self, step):
        return Audited


class Listener:
    """A plugin that wants to hear of tasks."""

    @hookimpl
    def on_task_instance_success(self, previous_state, task_instance):
        """Hear of a success."""


class FailureListener:
    """A plugin that wants to hear of failures only."""

    @hookimpl
    def on_task_instance_failed(self, previous_state, task_instance, error):
        """Hear of a failure."""


@pytest.fixture
def listen():
    """Register listeners for the time of the test."""
    manager = get_listener_manager()
    registered = []

    def register(listener):
        manager.add_listener(listener)
        registered.append(listener)

    yield register
    for listener in registered:
        manager.pm.unregister(listener)


def trigger_of(dag, server, task_id="Train"):
    return Worker(dag, server).start(task_id).trigger


# What the trigger is told


def test_the_pipelines_settings_reach_the_trigger(local_sagemaker, server):
    settings = {"waiting": "events", "event_queue_url": "https://sqs/events", "stream_logs": True}

    trigger = trigger_of(dag_of(poll_interval=30, stop_on_kill=False, **settings), server)

    assert trigger.poll_interval == 30
    assert trigger.event_queue_url == "https://sqs/events"
    assert trigger.streams_log is True
    assert trigger.stop_on_kill is False
    assert trigger.try_number == 1


def test_by_default_jobs_are_polled_and_their_logs_not_streamed_and_a_kill_stops_them(local_sagemaker, server):
    trigger = trigger_of(dag_of(), server)

    assert trigger.event_queue_url is None
    assert trigger.streams_log is False
    assert trigger.stop_on_kill is True


# Where a success ends


def test_a_success_needs_no_worker(local_sagemaker, server):
    assert trigger_of(dag_of(), server).ends_task is True


@pytest.mark.parametrize(
    "argument",
    [
        {"outlets": [Asset("s3://lake/models")]},
        {"on_success_callback": print},
        {"post_execute": print},
        {"map_index_template": "{{ task.task_id }}"},
        {"do_xcom_push": False},
        {"multiple_outputs": True},
    ],
    ids=lambda argument: next(iter(argument)),
)
def test_a_success_needs_a_worker_where_that_has_something_to_do(local_sagemaker, server, argument):
    assert trigger_of(dag_of(overrides={"Train": argument}), server).ends_task is False


def test_a_success_needs_a_worker_for_the_post_execute_of_an_authors_operator(local_sagemaker, server):
    assert trigger_of(dag_of(translator=AuditedSteps()), server).ends_task is False


def test_a_success_needs_a_worker_where_a_plugin_listens(local_sagemaker, server, listen):
    listen(Listener())

    assert trigger_of(dag_of(), server).ends_task is False


def test_a_plugin_that_listens_for_failures_hears_them_from_workers_anyway(local_sagemaker, server, listen):
    listen(FailureListener())

    assert trigger_of(dag_of(), server).ends_task is True


def test_a_success_needs_a_worker_where_tasks_are_mapped_over_the_result(local_sagemaker, server):
    dag = dag_of(training(), training("Other"))
    with dag:
        Author.partial(task_id="each").expand(item=XComArg(dag.get_task("Train")))

    assert trigger_of(dag, server).ends_task is False
    assert trigger_of(dag, server, "Other").ends_task is True


def test_a_success_needs_a_worker_where_it_is_the_result_of_the_run(local_sagemaker, server):
    dag = dag_of()
    dag.get_task("Train").returns_dag_result = True

    assert trigger_of(dag, server).ends_task is False


# A trigger that crashes


def test_a_crashed_trigger_with_a_retry_left_leaves_the_job_to_the_next_try(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=1.0)
    worker = Worker(dag_of(), server)
    worker.start("Train")

    crashed = worker.resume_crashed("Train")

    assert crashed.state == "up_for_retry"
    assert "sagemaker.StopTrainingJob" not in local_sagemaker.calls()
    assert worker.run("Train", try_number=2).state == "success"
    assert list(jobs(local_sagemaker).values()) == ["Completed"]


def test_a_crashed_trigger_is_retried_as_a_fault_of_the_service_even_if_the_author_wants_no_retries(
    local_sagemaker, server
):
    local_sagemaker.rule(kind="Training", duration=3600)
    worker = Worker(dag_of(retries=0), server)
    worker.start("Train")

    assert worker.resume_crashed("Train").state == "up_for_retry"
    assert list(jobs(local_sagemaker).values()) == ["InProgress"]


def test_a_crashed_trigger_without_a_retry_left_ends_the_job(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    worker = Worker(dag_of(retries=0), server)
    last = worker.dag.get_task("Train").retries + 1
    worker.start("Train", try_number=last)

    crashed = worker.resume_crashed("Train", try_number=last)

    assert crashed.state == "failed"
    assert type(crashed.error).__name__ == "TaskDeferralError"
    assert set(jobs(local_sagemaker).values()) <= STOPPED


def test_a_crashed_trigger_ends_the_job_where_the_definition_forbids_retries(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    never = {"ExceptionType": ["Step.SERVICE_FAULT"], "MaxAttempts": 0}
    worker = Worker(dag_of(training(policies=[never]), retries=0), server)
    worker.start("Train")

    assert worker.resume_crashed("Train").state == "failed"

    assert set(jobs(local_sagemaker).values()) <= STOPPED


def test_with_stop_on_kill_off_a_crashed_trigger_leaves_the_job(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    worker = Worker(dag_of(retries=0, stop_on_kill=False), server)
    last = worker.dag.get_task("Train").retries + 1
    worker.start("Train", try_number=last)

    assert worker.resume_crashed("Train", try_number=last).state == "failed"

    assert list(jobs(local_sagemaker).values()) == ["InProgress"]


def test_a_job_that_cannot_be_stopped_does_not_hide_that_the_trigger_has_crashed(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    local_sagemaker.fault("denied", operation="StopTrainingJob")
    worker = Worker(dag_of(retries=0), server)
    last = worker.dag.get_task("Train").retries + 1
    worker.start("Train", try_number=last)

    crashed = worker.resume_crashed("Train", try_number=last)

    assert crashed.state == "failed"
    assert type(crashed.error).__name__ == "TaskDeferralError"


def test_after_a_crash_the_request_is_not_rendered_anew(local_sagemaker, server):
    # The author's template has no value any more when the trigger crashes.
    template = "{{ ti.xcom_pull(task_ids='Other', key='url') or 1 / 0 }}"
    worker = Worker(dag_of(parameters={"Url": template}), server)
    server.xcoms["abalone", worker.run_id, "Other"] = {"url": "s3://lake/once"}
    worker.start("Train")
    shown = dict(server.rendered)
    server.xcoms.pop(("abalone", worker.run_id, "Other"))

    crashed = worker.resume_crashed("Train")

    assert type(crashed.error).__name__ == "TaskDeferralError"
    assert server.rendered == shown
    assert created(local_sagemaker) == 1


def test_what_the_task_has_left_in_xcom_survives_the_wait(local_sagemaker, server):
    worker = Worker(dag_of(), server)
    waiting = worker.start("Train")
    ended(local_sagemaker)

    worker.resume(waiting, event_of(waiting.trigger), "Train")

    assert server.xcom("Train", HANDLE_KEY) == waiting.trigger.handle
    assert server.xcom("Train", DEFINITION_KEY)
