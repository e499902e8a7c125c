"""One run, one definition: a file that is edited while a run is under way."""

from __future__ import annotations

import copy
import json

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_sagemaker_pipelines import pipeline_dag, pipeline_task_group
from airflow_sagemaker_pipelines.xcom_keys import DEFINITION_KEY
from tests.operators.pipelines import ROLE, URL, created, dag_of, document_of, jobs, training
from tests.operators.worker import Worker

ARGUMENTS = {"role_arn": ROLE, "poll_interval": 0.1}
CHAIN = (training("Prepare"), training("Train", after=["Prepare"]), training("Tell", after=["Train"]))


class Author(BaseOperator):
    """A task of the DAG's author."""

    def execute(self, context):
        return {"answer": 42}


def changed(step, **arguments):
    """The same step with other arguments."""
    return step | {"Arguments": step["Arguments"] | arguments}


def other(step):
    """The same step with other hyperparameters."""
    return changed(step, HyperParameters={"epochs": "7"})


def edited(worker, dag):
    """The same run, after its DAG file was edited."""
    return Worker(dag, worker.server, conf=worker.conf, ids=worker.ids)


def mark(server, task_id):
    return server.xcom(task_id, DEFINITION_KEY)


def succeed(worker, *task_ids):
    for task_id in task_ids:
        outcome = worker.run(task_id)
        assert outcome.state == "success", outcome.error


def assert_refused(outcome, *texts):
    assert outcome.state == "failed"
    assert type(outcome.error).__name__ == "AirflowFailException"
    for text in ("definition was changed while this run was under way", *texts):
        assert text in str(outcome.error)


# What passes


def test_a_run_whose_definition_stays_the_same_goes_through(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)

    succeed(worker, "Prepare", "Train", "Tell")

    assert mark(server, "Tell")["digest"] == mark(server, "Prepare")["digest"]


def test_another_layout_is_the_same_definition(local_sagemaker, server, tmp_path):
    document = document_of(*CHAIN)
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(document))
    worker = Worker(pipeline_dag("abalone", path, **ARGUMENTS), server)
    succeed(worker, "Prepare")

    path.write_text(json.dumps(dict(reversed(document.items())), indent=4))

    succeed(edited(worker, pipeline_dag("abalone", path, **ARGUMENTS)), "Train")


def test_what_is_no_part_of_the_definition_may_change(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare")

    dag = dag_of(*CHAIN, retries=5, parameters={"Url": "s3://lake/new"}, overrides={"Train": {"pool": "small"}})

    succeed(edited(worker, dag), "Train")


# What does not


@pytest.mark.parametrize(
    ("steps", "change"),
    [
        ((CHAIN[0], other(CHAIN[1]), CHAIN[2]), "(changed: Train)"),
        ((other(CHAIN[0]), other(CHAIN[1]), CHAIN[2]), "(changed: Prepare, Train)"),
        ((*CHAIN, training("Extra")), "(added: Extra)"),
        (CHAIN[:2], "(removed: Tell)"),
        ((CHAIN[0], other(CHAIN[1]), training("Say")), "(changed: Train; added: Say; removed: Tell)"),
    ],
    ids=["changed", "two changed", "added", "removed", "all"],
)
def test_a_step_after_the_change_calls_nobody_and_names_the_change(local_sagemaker, server, steps, change):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare")
    local_sagemaker.clear_calls()

    refused = edited(worker, dag_of(*steps)).start("Train")

    ways_out = ("Clear all tasks of the run", f"reuse_from_run = '{worker.run_id}'")
    assert_refused(refused, "Step 'Train': ", change, *ways_out)
    assert local_sagemaker.calls() == {}
    # Nobody after it may take its mark for one of a step that has run.
    assert mark(server, "Train") is None


def test_a_change_of_parameters_is_told_apart_from_one_of_steps(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare")
    document = document_of(*CHAIN, declared=[URL | {"DefaultValue": "s3://lake/new"}])

    refused = edited(worker, pipeline_dag("abalone", document, **ARGUMENTS)).start("Train")

    assert_refused(refused, "(no step, but its parameters or settings)")


def test_the_order_of_members_does_not_make_a_step_a_changed_one(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare")
    turned = dict(reversed(CHAIN[0].items()))

    refused = edited(worker, dag_of(turned, other(CHAIN[1]), CHAIN[2])).start("Train")

    assert_refused(refused, "(changed: Train)")


def test_the_change_is_named_far_below_the_first_tasks_and_across_diamonds(local_sagemaker, server):
    diamond = (
        training("Top"),
        training("Left", after=["Top"]),
        training("Right", after=["Top"]),
        training("Bottom", after=["Left", "Right"]),
        training("End", after=["Bottom", "Top"]),
    )
    worker = Worker(dag_of(*diamond), server)
    succeed(worker, "Top", "Left", "Right", "Bottom")

    refused = edited(worker, dag_of(*diamond[:4], other(diamond[4]))).start("End")

    assert_refused(refused, "(changed: End)")


@pytest.mark.parametrize("late", ["A", "B"])
def test_where_only_some_first_tasks_ran_by_the_old_definition_the_change_is_still_named(local_sagemaker, server, late):
    steps = (training("A"), training("B"), training("Join", after=["A", "B"]))
    worker = Worker(dag_of(*steps), server)
    succeed(worker, "A" if late == "B" else "B")
    after = edited(worker, dag_of(*steps[:2], other(steps[2])))
    succeed(after, late)

    assert_refused(after.start("Join"), "(changed: Join)")


def test_a_run_that_is_cleared_as_a_whole_runs_by_the_new_definition(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare")
    after = edited(worker, dag_of(CHAIN[0], other(CHAIN[1]), CHAIN[2]))
    assert after.start("Train").state == "failed"

    # After one try, with two retries and the five of the implicit policy.
    max_tries = 1 + worker.dag.get_task("Prepare").retries
    for task_id in ("Prepare", "Train"):
        assert after.run(task_id, try_number=2, max_tries=max_tries).state == "success"

    assert len(jobs(local_sagemaker)) == 3


def test_a_task_that_waits_already_is_not_checked_again(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare")
    waiting = worker.start("Train")

    resumed = edited(worker, dag_of(CHAIN[0], other(CHAIN[1]), CHAIN[2]))
    event = {"handle": waiting.trigger.handle, "verdict": "succeeded", "reason": None, "outputs": {"a": 1}}

    assert resumed.resume(waiting, event, "Train").state == "success"
    assert created(local_sagemaker) == 2


def test_a_task_that_waits_for_capacity_is_checked_before_it_starts_its_job(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare")
    local_sagemaker.fault("error", operation="CreateTrainingJob", code="ResourceLimitExceeded")
    waiting = worker.start("Train")
    assert waiting.message.next_method == "start_again"
    local_sagemaker.faults.clear()

    event = {"waited_since": 0.0, "waits": 1}
    refused = edited(worker, dag_of(CHAIN[0], other(CHAIN[1]), CHAIN[2])).resume(waiting, event, "Train")

    assert_refused(refused, "(changed: Train)")
    assert len(jobs(local_sagemaker)) == 1


# What is left in XCom


def test_first_tasks_tell_the_steps_apart_and_others_do_not(local_sagemaker, server):
    worker = Worker(dag_of(*CHAIN), server)
    succeed(worker, "Prepare", "Train", "Tell")

    assert set(mark(server, "Prepare")["steps"]) == {"Prepare", "Train", "Tell"}
    assert set(mark(server, "Train")) == set(mark(server, "Tell")) == {"digest"}


def test_what_a_task_leaves_is_small(local_sagemaker, server):
    names = [f"A-step-with-a-name-of-some-length-{index}" for index in range(50)]
    steps = [training(name, after=names[index - 1 : index]) for index, name in enumerate(names)]
    worker = Worker(dag_of(*steps), server)
    worker.start(names[0])
    worker.start(names[1])

    assert len(json.dumps(mark(server, names[0]))) < 50 * 64
    assert len(json.dumps(mark(server, names[1]))) < 64


# What stands between the steps


CONDITION = {
    "Name": "Check",
    "Type": "Condition",
    "DependsOn": ["Prepare"],
    "Arguments": {
        "Conditions": [{"Type": "Equals", "LeftValue": {"Get": "Parameters.Url"}, "RightValue": "s3://lake/in"}],
        "IfSteps": [training("Yes")],
        "ElseSteps": [training("No")],
    },
}


def with_branch(step):
    node = copy.deepcopy(CONDITION)
    node["Arguments"]["IfSteps"] = [step]
    return node


def test_a_condition_passes_the_word_on_and_a_change_in_its_branch_is_named_once(local_sagemaker, server):
    worker = Worker(dag_of(CHAIN[0], CONDITION), server)
    succeed(worker, "Prepare", "Check")
    assert set(mark(server, "Check")) == {"digest"}

    refused = edited(worker, dag_of(CHAIN[0], with_branch(other(training("Yes"))))).start("Yes")

    assert_refused(refused, "(changed: Yes)")


def test_steps_that_were_skipped_are_looked_past(local_sagemaker, server):
    # All steps between Prepare and Train are left out, and leave nothing.
    between = training("Between", after=["Prepare"])
    steps = (CHAIN[0], between, training("Train", after=["Between"]))
    worker = Worker(dag_of(*steps), server)
    succeed(worker, "Prepare")
    server.states["Between"] = "skipped"

    refused = edited(worker, dag_of(CHAIN[0], between, other(steps[2]))).start("Train")

    assert_refused(refused, "(changed: Train)")


def test_reused_steps_leave_word_like_those_that_run(local_sagemaker, server):
    earlier = Worker(dag_of(*CHAIN), server, run_id="earlier")
    succeed(earlier, "Prepare", "Train")
    conf = {"selected_steps": ["Train"], "reuse_from_run": "earlier"}
    changed_dag = dag_of(CHAIN[0], other(CHAIN[1]), CHAIN[2])

    # The way out that the message names: the earlier run's results, another definition.
    worker = Worker(changed_dag, server, conf=conf, run_id="later")
    succeed(worker, "Prepare", "Train")

    again = Worker(dag_of(*CHAIN), server, conf=conf, run_id="later")
    assert_refused(again.start("Train", try_number=2), "(changed: Train)")


CALLBACK = {
    "Name": "Ask",
    "Type": "Callback",
    "DependsOn": ["Prepare"],
    "SqsQueueUrl": "https://sqs/none",
    "OutputParameters": [{"OutputName": "answer", "OutputType": "Integer"}],
}


@pytest.mark.parametrize("task_id", ["Ask", "Use"])
def test_a_change_while_somebody_fulfils_a_callback_is_noticed(local_sagemaker, server, task_id):
    def answer(arguments):
        return {"answer": 42}

    use = training("Use", after=["Ask"])
    worker = Worker(dag_of(CHAIN[0], CALLBACK, use, callbacks={"Ask": answer}), server)
    succeed(worker, "Prepare", "Ask.arguments", "Ask.answer")
    if task_id == "Use":
        succeed(worker, "Ask")

    refused = edited(worker, dag_of(CHAIN[0], CALLBACK, other(use), callbacks={"Ask": answer})).start(task_id)

    assert_refused(refused, "(changed: Use)")


def test_a_change_is_noticed_behind_a_task_that_an_override_has_made(local_sagemaker, server):
    overrides = {"Train": lambda step, **arguments: Author(**arguments)}
    worker = Worker(dag_of(*CHAIN, overrides=overrides), server)
    succeed(worker, "Prepare", "Train")

    refused = edited(worker, dag_of(*CHAIN[:2], other(CHAIN[2]), overrides=overrides)).start("Tell")

    assert_refused(refused, "(changed: Tell)")


LOOP = {
    "Name": "Each",
    "Type": "ForEach",
    "DependsOn": ["Prepare"],
    "Arguments": {"IterableItems": [1, 2], "MaxConcurrency": 2, "ForEachBody": [training("Body")]},
}


def test_the_items_of_a_loop_and_the_task_that_gathers_them_belong_to_the_same_definition(local_sagemaker, server):
    worker = Worker(dag_of(CHAIN[0], LOOP), server)
    succeed(worker, "Prepare", "Each.items")
    assert set(mark(server, "Each.items")) == {"digest"}
    body = copy.deepcopy(LOOP)
    body["Arguments"]["ForEachBody"] = [other(training("Body"))]

    for task_id in ("Each.items", "Each"):
        assert_refused(edited(worker, dag_of(CHAIN[0], body)).start(task_id), "(changed: Body)")


# Groups in a DAG of the author's own


def group_dag(*steps, group_id="abalone", **arguments):
    with DAG("mine") as dag:
        before, after = Author(task_id="before"), Author(task_id="after")
        group = pipeline_task_group(group_id, document_of(*steps), **ARGUMENTS, **arguments)
        before >> group >> after
    return dag


def test_the_authors_own_tasks_before_a_group_are_no_steps(local_sagemaker, server):
    worker = Worker(group_dag(*CHAIN), server)

    succeed(worker, "before", "abalone.Prepare", "abalone.Train")

    assert "steps" in mark(server, "abalone.Prepare")


def test_in_a_group_too_a_change_is_noticed_and_the_message_names_no_settings_that_it_lacks(local_sagemaker, server):
    worker = Worker(group_dag(*CHAIN), server)
    succeed(worker, "before", "abalone.Prepare")

    refused = edited(worker, group_dag(CHAIN[0], other(CHAIN[1]), CHAIN[2])).start("abalone.Train")

    assert_refused(refused, "Step 'Train': ", "(changed: Train)")
    assert "selected_steps" not in str(refused.error)


def test_two_pipelines_one_after_the_other_have_a_definition_each(local_sagemaker, server):
    with DAG("mine") as dag:
        first = pipeline_task_group("first", document_of(training("A")), **ARGUMENTS)
        second = pipeline_task_group("second", document_of(training("B")), **ARGUMENTS)
        first >> second
    worker = Worker(dag, server)

    succeed(worker, "first.A", "second.B")

    assert set(mark(server, "second.B")["steps"]) == {"B"}


def test_nothing_is_asked_of_the_authors_tasks(local_sagemaker, server):
    asked = []

    class Listening(type(server)):
        def send(self, msg):
            asked.append(msg)
            return super().send(msg)

    server.__class__ = Listening
    worker = Worker(group_dag(*CHAIN), server)
    succeed(worker, "before")
    asked.clear()

    worker.start("abalone.Prepare")

    keys = {(msg.task_id, msg.key) for msg in asked if msg.type.startswith("GetXCom")}
    assert ("before", DEFINITION_KEY) not in keys
