"""One run, one definition, in whole runs: the file is edited while the run is under way.

Airflow reads the DAG file anew for every task. ``dag.test()`` has one DAG for the run, whose definition is exchanged.
"""

from __future__ import annotations

import json

import pytest
from airflow.sdk import DAG, task_group
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_sagemaker_pipelines import pipeline_task_group
from airflow_sagemaker_pipelines.xcom_keys import DEFINITION_KEY
from tests.airflow_dags import run_dag, states
from tests.integration.documents import BUCKET, ROLE, dag_of, processing, steps_run

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

EDITED = {"Environment": {"edited": "yes"}}


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


class Editor:
    """Edits the definition of a DAG when it is called, once; what it is called with does not matter."""

    def __init__(self):
        self.dag = None
        self.edited = None

    def __call__(self, _):
        if self.edited is not None:
            exchange(self.dag, self.edited)
            self.edited = None
        return {}


def exchange(dag, edited):
    """Give the steps of one DAG to another one."""
    for task, other in ((dag.get_task(task_id), edited.get_task(task_id)) for task_id in dag.task_ids):
        own, new = (vars_of(one) for one in (task, other))
        if "step" in own:
            own["step"] = new["step"]
            object.__setattr__(own["pipeline"], "definition", new["pipeline"].definition)


def vars_of(task):
    return task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)


def xcoms(run, task_id):
    """What a task has left, per index of a mapped one."""
    found = [ti for ti in run.get_task_instances() if ti.task_id == task_id]
    return [ti.xcom_pull(task_ids=task_id, key=DEFINITION_KEY, map_indexes=ti.map_index) for ti in found]


# An approval that takes days is when a definition is edited.
ASK = {"Name": "Ask", "Type": "Callback", "DependsOn": ["First"], "SqsQueueUrl": "https://sqs/none"}
STEPS = (processing("First"), ASK, processing("Last", DependsOn=["Ask"]))


def run_with_edit(*edited, failures=None):
    """Run the steps, and edit them while the callback is fulfilled."""
    editor, failures = Editor(), [] if failures is None else failures
    arguments = {
        "callbacks": {"Ask": editor},
        "default_args": {"retries": 3, "on_failure_callback": lambda context: failures.append(context["exception"])},
    }
    editor.dag = dag_of(*STEPS, **arguments)
    editor.edited = dag_of(*edited, **arguments)
    return run_dag(editor.dag)


def test_an_edit_that_changes_the_layout_alone_lets_the_run_go_on(local_sagemaker):
    run = run_with_edit(*(json.loads(json.dumps(dict(reversed(step.items())))) for step in STEPS))

    assert set(states(run).values()) == {"success"}
    assert steps_run(local_sagemaker) == ["First", "Last"]


def test_an_edit_in_mid_run_fails_the_next_step_for_good_before_it_calls_aws(local_sagemaker):
    failures = []
    run = run_with_edit(*STEPS[:2], processing("Last", arguments=EDITED, DependsOn=["Ask"]), failures=failures)

    assert run.state == "failed"
    assert states(run) == {
        "First": "success",
        "Ask.arguments": "success",
        "Ask.answer": "success",
        "Ask": "failed",
        "Last": "upstream_failed",
    }
    assert steps_run(local_sagemaker) == ["First"]
    assert {ti.try_number for ti in run.get_task_instances() if ti.task_id == "Ask"} == {1}
    (error,) = failures
    assert "Step 'Ask': the pipeline's definition was changed" in str(error)
    assert "(changed: Last)" in str(error)


def loop(**arguments):
    each = processing("Each", arguments={"Environment": {"n": {"Get": "ForEach.CurrentItem"}}, **arguments})
    return {
        "Name": "Loop",
        "Type": "ForEach",
        "Arguments": {"IterableItems": ["a", "b"], "MaxConcurrency": 2, "ForEachBody": [each]},
    }


def test_the_iterations_of_a_loop_leave_word_each(local_sagemaker):
    run = run_dag(dag_of(loop()))

    assert run.state == "success"
    (first,) = xcoms(run, "Loop.items")
    assert set(first["steps"]) == {"Loop", "Each"}
    assert xcoms(run, "Each") == [{"digest": first["digest"]}] * 2
    assert xcoms(run, "Loop") == [{"digest": first["digest"]}]


def test_an_edit_between_the_items_of_a_loop_and_its_iterations_fails_these(local_sagemaker):
    editor, failures = Editor(), []
    arguments = {
        "overrides": {"Loop": {"on_success_callback": editor}},
        "default_args": {"retries": 3, "on_failure_callback": lambda context: failures.append(context["exception"])},
    }
    editor.dag, editor.edited = dag_of(loop(), **arguments), dag_of(loop(**EDITED), **arguments)

    run = run_dag(editor.dag)

    assert run.state == "failed"
    assert {ti.state for ti in run.get_task_instances() if ti.task_id == "Each"} == {"failed"}
    assert states(run)["Loop"] == "failed"
    assert steps_run(local_sagemaker) == []
    assert {"(changed: Each)" in str(error) for error in failures} == {True}


def test_a_group_of_steps_may_be_mapped(local_sagemaker):
    with DAG("mapped") as dag:

        @task_group
        def of_one_item(item):
            document = {"Version": "2020-12-01", "Steps": [processing("A"), processing("B", DependsOn=["A"])]}
            pipeline_task_group("abalone", document, role_arn=ROLE, poll_interval=0.2)

        of_one_item.expand(item=[1, 2])

    run = run_dag(dag)

    assert run.state == "success"
    assert sorted(steps_run(local_sagemaker)) == ["A", "A", "B", "B"]
    assert [set(mark) for mark in xcoms(run, "of_one_item.abalone.B")] == [{"digest"}] * 2
