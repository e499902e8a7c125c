"""What the task of a step has, also when somebody else runs the step."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.definition import load_definition
from airflow_sagemaker_pipelines.operators.base import PipelineStepOperator
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.steps.errors import StepFailedError, StepStoppedError
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.operators.pipelines import CONSOLE, document_of, training


@pytest.fixture
def task_of(local_sagemaker):
    """The task of a step that somebody else runs."""

    def make(step=None, **arguments):
        definition = load_definition(document_of(*([step] if step else [])))
        (step,) = definition.steps
        pipeline = Pipeline(definition=definition, name="abalone")
        task = PipelineStepOperator(task_id=step.name, **arguments)
        # As the constructors of its subclasses do.
        task.step, task.pipeline = step, pipeline
        return task

    return make


def test_its_retries_are_the_authors_alone(task_of):
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "MaxAttempts": 9}

    assert task_of(training(policies=[policy]), retries=1).retries == 1


def test_it_shows_the_steps_type_and_json(task_of):
    task = task_of()

    assert task.custom_operator_name == "Training"
    assert "{Name:'Train'" in task.doc_md
    assert task_of(doc_md="mine").doc_md == "mine"


def test_links_come_with_what_the_step_has_made(task_of):
    task = task_of()
    assert (task.console_url, task.log_url) == (None, None)

    task._handle = {"name": "job"}

    assert task.console_url == f"{CONSOLE}/sagemaker/home?region=us-east-1#/jobs/job"
    assert task.log_url.endswith("TrainingJobs$3FlogStreamNameFilter$3Djob$252F")


@pytest.mark.parametrize(
    ("verdict", "error", "outcome"),
    [(Verdict.FAILED, StepFailedError, "failed"), (Verdict.STOPPED, StepStoppedError, "was stopped")],
)
def test_its_error_says_what_became_of_which_attempt_of_which_job(task_of, verdict, error, outcome):
    task = task_of()
    task._handle = {"name": "job"}

    raised = task.step_error(verdict, None, attempt=3)

    assert type(raised) is error
    assert str(raised) == (
        f"Step 'Train' {outcome}: AWS gives no reason (training job job, attempt 3, log: {task.log_url})"
    )
