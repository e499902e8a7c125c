"""Callback steps in whole DAGs: answered by a worker over queues, or fulfilled inside the DAG."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_sagemaker_pipelines import pipeline_dag, pipeline_task_group
from airflow_sagemaker_pipelines.operators.fulfilment import CallbackError
from tests.airflow_dags import run_dag, states
from tests.integration.documents import BUCKET, ROLE, dag_of, job_names, processing

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

OUTPUTS = {"count": "Integer", "rmse": "Float", "good": "Boolean", "name": "String"}
VALUES = {"count": "7", "rmse": "0.25", "good": "true", "name": "m1"}
TYPED = {"count": 7, "rmse": 0.25, "good": True, "name": "m1"}


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


@pytest.fixture
def queues(local_sagemaker):
    """The queue that workers read, and the one that they reply to."""
    client = local_sagemaker.client("sqs")
    return tuple(client.create_queue(QueueName=f"sagemaker-{name}")["QueueUrl"] for name in ("work", "answers"))


@contextmanager
def worker(local_sagemaker, queues, answer):
    """Answer every message by a function of it, in a thread; give all messages."""
    client, (work, answers) = local_sagemaker.client("sqs"), queues
    seen, stop = [], Event()

    def run():
        while not stop.is_set():
            for message in client.receive_message(QueueUrl=work, WaitTimeSeconds=1).get("Messages", []):
                client.delete_message(QueueUrl=work, ReceiptHandle=message["ReceiptHandle"])
                seen.append(json.loads(message["Body"]))
                reply = answer(seen[-1])
                if reply is not None:
                    body = {"token": seen[-1]["token"], **reply}
                    client.send_message(QueueUrl=answers, MessageBody=json.dumps(body))

    thread = Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def succeeded(**values):
    return {"status": "Succeeded", "outputParameters": [{"Name": k, "Value": v} for k, v in values.items()]}


def callback(name="Cb", *, queue="https://sqs/none", arguments=None, outputs=OUTPUTS, **keys):
    return {
        "Name": name,
        "Type": "Callback",
        "SqsQueueUrl": queue,
        "Arguments": arguments if arguments is not None else {"url": {"Get": "Parameters.Url"}, "n": 5},
        "OutputParameters": [{"OutputName": name, "OutputType": kind} for name, kind in outputs.items()],
    } | keys


PARAMETERS = [{"Name": "Url", "Type": "String", "DefaultValue": "s3://default"}]
USE = processing("Use", arguments={"Environment": {"name": {"Get": "Steps.Cb.OutputParameters['name']"}}})
ASK = {
    "Name": "Check",
    "Type": "Condition",
    "Arguments": {
        "Conditions": [{"Type": "Equals", "LeftValue": {"Get": "Parameters.Url"}, "RightValue": "s3://ask"}],
        "IfSteps": [callback()],
        "ElseSteps": [],
    },
}


def dag_with(*steps, **arguments):
    return dag_of(*steps, declared=PARAMETERS, **arguments)


def result(run, task_id, key="return_value"):
    ti = next(ti for ti in run.get_task_instances() if ti.task_id == task_id)
    return ti.xcom_pull(task_ids=task_id, key=key)


def environment(local_sagemaker):
    (name,) = job_names(local_sagemaker)
    return local_sagemaker.client("sagemaker").describe_processing_job(ProcessingJobName=name)["Environment"]


# Answered by a worker.


def test_a_worker_answers_and_its_typed_outputs_reach_the_next_step(local_sagemaker, queues):
    dag = dag_with(callback(queue=queues[0]), USE, callback_reply_queue_url=queues[1])

    with worker(local_sagemaker, queues, lambda message: succeeded(**VALUES, extra="x")) as messages:
        run = run_dag(dag)

    assert states(run) == {"Cb": "success", "Use": "success"}
    assert result(run, "Cb") == {"OutputParameters": TYPED}
    assert result(run, "Cb", "undeclared_outputs") == {"extra": "x"}
    assert environment(local_sagemaker) == {"name": "m1"}
    (message,) = messages
    token, arn = message.pop("token"), message.pop("pipelineExecutionArn")
    assert len(token) == 10
    assert arn.startswith("arn:aws:sagemaker:us-east-1:123456789012:pipeline/abalone/execution/")
    assert message == {"arguments": {"url": "s3://default", "n": 5}, "status": "Executing"}


def test_several_callbacks_share_a_reply_queue_with_strangers(local_sagemaker, queues):
    client = local_sagemaker.client("sqs")
    client.send_message(QueueUrl=queues[1], MessageBody='{"token": "stranger", "status": "Succeeded"}')
    client.send_message(QueueUrl=queues[1], MessageBody="hello")
    steps = [callback(name, queue=queues[0], arguments={"me": name}, outputs={"me": "String"}) for name in "ABC"]

    with worker(local_sagemaker, queues, lambda message: succeeded(me=message["arguments"]["me"])):
        run = run_dag(dag_with(*steps, callback_reply_queue_url=queues[1]))

    assert [result(run, name) for name in "ABC"] == [{"OutputParameters": {"me": name}} for name in "ABC"]
    bodies = {message["Body"] for message in _all_messages(client, queues[1])}
    assert bodies == {'{"token": "stranger", "status": "Succeeded"}', "hello"}


def _all_messages(client, queue):
    return client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])


def test_a_workers_failure_fails_the_step(local_sagemaker, queues):
    dag = dag_with(callback(queue=queues[0]), USE, callback_reply_queue_url=queues[1])

    with worker(local_sagemaker, queues, lambda message: {"status": "Failed", "failureReason": "no such data"}):
        run = run_dag(dag)

    assert states(run) == {"Cb": "failed", "Use": "upstream_failed"}
    assert job_names(local_sagemaker) == []


def test_an_output_of_another_type_fails_the_step(local_sagemaker, queues):
    dag = dag_with(callback(queue=queues[0]), callback_reply_queue_url=queues[1])

    with worker(local_sagemaker, queues, lambda message: succeeded(count="seven")):
        assert states(run_dag(dag)) == {"Cb": "failed"}


def test_a_worker_that_does_not_answer_in_time_is_told_to_stop(local_sagemaker, queues):
    dag = dag_with(
        callback(queue=queues[0]),
        callback_reply_queue_url=queues[1],
        overrides={"Cb": {"execution_timeout": timedelta(seconds=2)}},
    )

    with worker(local_sagemaker, queues, lambda message: None) as messages:
        run = run_dag(dag)
        for _ in range(100):
            if len(messages) > 1:
                break
            time.sleep(0.1)

    assert states(run) == {"Cb": "failed"}
    assert [message["status"] for message in messages] == ["Executing", "Stopping"]
    assert messages[0]["token"] == messages[1]["token"]


def test_every_iteration_of_a_loop_has_a_callback_of_its_own(local_sagemaker, queues):
    body = callback(queue=queues[0], arguments={"item": {"Get": "ForEach.CurrentItem"}}, outputs={"o": "Integer"})
    arguments = {"IterableItems": [1, 2, 3], "MaxConcurrency": 2, "ForEachBody": [body]}
    output = {"Get": "Steps.Each.IterationOutputs[2].Cb.OutputParameters['o']"}
    use = processing("Use", arguments={"Environment": {"o": {"Std:Join": {"On": "", "Values": [output]}}}})

    replies = {"callback_reply_queue_url": queues[1]}

    def double(message):
        return succeeded(o=str(2 * message["arguments"]["item"]))

    with worker(local_sagemaker, queues, double) as messages:
        run = run_dag(dag_with({"Name": "Each", "Type": "ForEach", "Arguments": arguments}, use, **replies))

    assert run.state == "success"
    assert environment(local_sagemaker) == {"o": "6"}
    assert len({message["token"] for message in messages}) == 3


def test_the_reply_queue_may_be_a_template(local_sagemaker, queues, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_REPLIES", queues[1])
    dag = dag_with(callback(queue=queues[0]), callback_reply_queue_url="{{ var.value.replies }}")

    with worker(local_sagemaker, queues, lambda message: succeeded(**VALUES)):
        assert states(run_dag(dag)) == {"Cb": "success"}


def test_without_an_answer_in_sight_the_task_fails_before_it_sends_anything(local_sagemaker, queues):
    run = run_dag(dag_with(callback(queue=queues[0]), overrides={"Cb": {"retries": 3}}))

    assert states(run) == {"Cb": "failed"}
    (ti,) = run.get_task_instances()
    assert ti.try_number == 1
    assert _all_messages(local_sagemaker.client("sqs"), queues[0]) == []


# Fulfilled inside the DAG.


def test_a_function_gets_the_arguments_and_returns_the_outputs(local_sagemaker):
    calls = []

    def approve(arguments):
        calls.append(arguments)
        return {**VALUES, "extra": 1}

    dag = dag_with(callback(), USE, callbacks={"Cb": approve}, parameters={"Url": "s3://{{ run_id }}"})
    run = run_dag(dag)

    assert set(states(run).values()) == {"success"}
    assert calls == [{"url": f"s3://{run.run_id}", "n": 5}]
    assert result(run, "Cb") == {"OutputParameters": TYPED}
    assert environment(local_sagemaker) == {"name": "m1"}
    assert dag.get_task("Cb").upstream_task_ids == {"Cb.answer"}
    assert dag.get_task("Cb.answer").upstream_task_ids == {"Cb.arguments"}
    assert local_sagemaker.calls().get("sqs.SendMessage", 0) == 0


class Answer(BaseOperator):
    """Returns what it is given; its template sees the step's arguments."""

    template_fields = ("value",)

    def __init__(self, *, value, **arguments):
        super().__init__(**arguments)
        self.value = value

    def execute(self, context):
        return self.value


def test_an_operator_sees_the_arguments_in_its_templates(local_sagemaker):
    name = "{{ ti.xcom_pull(task_ids='Cb.arguments')['url'] }}"
    operator = Answer(task_id="decide", value={"name": name, "count": 7})

    run = run_dag(dag_with(callback(), callbacks={"Cb": operator}))

    assert set(states(run)) == {"Cb.arguments", "decide", "Cb"}
    assert result(run, "Cb") == {"OutputParameters": {"count": 7, "name": "s3://default"}}


def test_a_function_may_make_the_operator(local_sagemaker):
    def make(step, **arguments):
        return Answer(value={"name": f"{step.name} of {step.type}"}, **arguments)

    dag = dag_with(callback(), callbacks={"Cb": make}, default_args={"owner": "ml"})
    run = run_dag(dag)

    assert result(run, "Cb") == {"OutputParameters": {"name": "Cb of Callback"}}
    assert {task.owner for task in dag.tasks} == {"ml"}


def test_the_form_and_the_choice_of_a_human_become_outputs(local_sagemaker):
    # What HITLOperator and its kin leave in XCom.
    answer = {
        "chosen_options": ["Approve"],
        "params_input": {"rmse": 0.25, "note": "fine"},
        "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
        "responded_by_user": {"id": "1", "name": "ann"},
    }
    step = callback(outputs={"chosen_options": "String", "rmse": "Float", "responded_by_user": "String"})

    run = run_dag(dag_with(step, callbacks={"Cb": Answer(task_id="approve", value=answer)}))

    assert result(run, "Cb") == {
        "OutputParameters": {
            "chosen_options": "Approve",
            "rmse": 0.25,
            "responded_by_user": '{"id": "1", "name": "ann"}',
        }
    }
    assert result(run, "Cb", "undeclared_outputs") == {"note": "fine"}


def broken(arguments):
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("fulfilment", "state"),
    [(broken, "upstream_failed"), (lambda arguments: "done", "failed"), (lambda arguments: {"count": "x"}, "failed")],
)
def test_a_step_that_is_not_fulfilled_fails(local_sagemaker, fulfilment, state):
    run = run_dag(dag_with(callback(), USE, callbacks={"Cb": fulfilment}))

    assert (states(run)["Cb"], states(run)["Use"], run.state) == (state, "upstream_failed", "failed")


def test_a_handler_of_the_failure_runs_when_the_step_is_not_fulfilled(local_sagemaker):
    handler = processing("Handler", DependsOn=[{"Step": "Cb", "Trigger": "Failed"}])

    run = run_dag(dag_with(callback(), handler, callbacks={"Cb": broken}))

    assert (states(run)["Cb"], states(run)["Handler"]) == ("failed", "success")


@pytest.mark.parametrize(("url", "state"), [("s3://ask", "success"), ("s3://other", "skipped")])
def test_nobody_is_asked_in_a_branch_that_is_not_taken(local_sagemaker, url, state):
    run = run_dag(dag_with(ASK, USE, callbacks={"Cb": lambda arguments: VALUES}), conf={"Url": url})

    assert states(run) == {
        "Check": "success",
        **dict.fromkeys(("Cb.arguments", "Cb.answer", "Cb", "Use"), state),
    }


def test_a_step_that_is_not_selected_takes_its_outputs_from_the_earlier_run(local_sagemaker):
    calls = []
    dag = dag_with(callback(), USE, callbacks={"Cb": lambda arguments: calls.append(1) or VALUES})
    first = run_dag(dag)

    second = run_dag(dag, conf={"selected_steps": ["Use"], "reuse_from_run": first.run_id})

    assert states(second) == {"Cb.arguments": "skipped", "Cb.answer": "skipped", "Cb": "success", "Use": "success"}
    assert calls == [1]
    assert result(second, "Cb") == {"OutputParameters": TYPED}


def test_a_task_group_has_the_same_tasks_under_its_name(local_sagemaker):
    document = {"Version": "2020-12-01", "Parameters": PARAMETERS, "Steps": [callback("A"), callback("B")]}
    with DAG("outer") as dag:
        own = Answer(task_id="own", value={"name": "{{ ti.xcom_pull(task_ids='group.B.arguments')['n'] }}"})
        callbacks = {"A": lambda arguments: VALUES, "B": own}
        pipeline_task_group("group", document, role_arn=ROLE, callbacks=callbacks)

    run = run_dag(dag)

    assert set(states(run)) == {"group.A.arguments", "group.A.answer", "group.A", "group.B.arguments", "own", "group.B"}
    assert result(run, "group.A") == {"OutputParameters": TYPED}
    assert result(run, "group.B") == {"OutputParameters": {"name": "5"}}


def test_callbacks_that_fit_no_step_are_one_error():
    with pytest.raises(CallbackError) as caught:
        dag_with(
            callback(), callback("Other"), USE, callbacks={"Bc": print, "Use": print, "Cb": 7, "Other": {"a": "dict"}}
        )

    assert [problem.where for problem in caught.value.problems] == [
        "callbacks['Bc']",
        "callbacks['Use']",
        "callbacks['Cb']",
        "callbacks['Other']",
    ]
    assert "the step is of type Processing" in str(caught.value)


def test_a_step_cannot_be_both_fulfilled_and_replaced():
    with pytest.raises(CallbackError, match="overrides= replaces the step's operator, too"):
        dag_with(callback(), callbacks={"Cb": print}, overrides={"Cb": lambda step, **arguments: None})


def test_the_same_callbacks_give_the_same_serialized_dag():
    from tests.airflow_dags import serialized

    first, second = (
        serialized(
            pipeline_dag("abalone", {"Steps": [callback(arguments={})]}, callbacks={"Cb": lambda arguments: VALUES})
        )
        for _ in range(2)
    )

    assert json.dumps(first) == json.dumps(second)
