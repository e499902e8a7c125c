"""The factory: from a definition to a DAG, without running it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.exceptions import AirflowException

from airflow_sagemaker_pipelines import (
    PipelineDefinitionError,
    PipelineParameterError,
    load_definition,
    pipeline_dag,
    pipeline_task_group,
)
from airflow_sagemaker_pipelines.definition import ForEachStep
from tests.airflow_dags import serialized

CORPUS = sorted(Path(__file__).parent.glob("corpus/*.json"))
START = datetime(2026, 1, 1)


def training(name: str, **keys: object) -> dict[str, object]:
    return {"Name": name, "Type": "Training", "Arguments": {}, **keys}


def definition(*steps: dict[str, object], parameters: list[dict[str, object]] | None = None) -> dict[str, object]:
    return {"Version": "2020-12-01", "Parameters": parameters or [], "Steps": list(steps)}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_every_definition_of_the_corpus_becomes_a_dag_with_its_edges(path):
    model = load_definition(path)
    dag = pipeline_dag("corpus", path, start_date=START)

    loops = [step for step in model.all_steps.values() if isinstance(step, ForEachStep)]
    edges = {name: set(upstreams) for name, upstreams in model.graph.upstreams.items()}
    for loop in loops:
        # The items wait for what the loop waits for; the loop itself for its iterations.
        edges[f"{loop.name}.items"] = edges[loop.name]
        edges[loop.name] = {f"{loop.name}.items", *(child.name for child in loop.body)}
        edges |= {child.name: {f"{loop.name}.items"} for child in loop.body}
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == edges
    assert dag.topological_sort()


@pytest.mark.parametrize("path", CORPUS[::6], ids=lambda path: path.stem)
def test_the_same_input_gives_the_same_serialized_dag(path):
    first, second = (
        json.dumps(serialized(pipeline_dag("corpus", source, start_date=START))) for source in (path, path.read_text())
    )

    assert first == second


def test_a_task_is_called_like_its_step_and_shows_what_the_definition_says():
    step = training("Train", DisplayName="Train it", Description="Fits the model")
    task = pipeline_dag("abalone", definition(step)).get_task("Train")

    assert task.task_display_name == "Train it"
    assert task.doc_md.startswith("Fits the model")
    assert "{Name:'Train',Type:'Training',Arguments:{}," in task.doc_md
    assert task.operator_name == "Training"


def test_an_authors_documentation_replaces_the_steps():
    dag = pipeline_dag("abalone", definition(training("Train")), default_args={"doc_md": "Call us first"})

    assert dag.get_task("Train").doc_md == "Call us first"
    assert serialized(dag)["dag"]["tasks"][0]["__var"]["doc_md"] == "Call us first"


def test_text_of_the_definition_is_no_template():
    step = training("Train") | {"Arguments": {"HyperParameters": {"prompt": "{{ ds }} {% raw %}"}}}
    task = pipeline_dag("abalone", definition(step)).get_task("Train")

    assert all("{{" not in json.dumps(getattr(task, field)) for field in task.template_fields)


def test_parameters_become_typed_params():
    parameters = [
        {"Name": "Url", "Type": "String", "DefaultValue": "s3://b/in"},
        {"Name": "Count", "Type": "Integer", "DefaultValue": 1, "Description": "How many"},
        {"Name": "Rate", "Type": "Float", "DefaultValue": 1},
        {"Name": "Flag", "Type": "Boolean", "DefaultValue": False},
        {"Name": "Size", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
        {"Name": "Needed", "Type": "Float"},
    ]
    params = pipeline_dag("abalone", definition(training("Train"), parameters=parameters)).params

    schemas = {parameter["Name"]: params.get_param(parameter["Name"]).schema for parameter in parameters}
    assert {name: schema["type"] for name, schema in schemas.items()} == {
        "Url": "string",
        "Count": "integer",
        "Rate": "number",
        "Flag": "boolean",
        "Size": "string",
        "Needed": "number",
    }
    assert schemas["Size"]["enum"] == ["a", "b"]
    assert params.get_param("Count").description == "How many"
    assert (params["Url"], params["Count"], params["Rate"], params["Flag"]) == ("s3://b/in", 1, 1.0, False)
    assert not params.get_param("Needed").has_value


def test_an_authors_value_replaces_the_default_and_typed_text_is_read():
    parameters = [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]
    dag = pipeline_dag("abalone", definition(training("Train"), parameters=parameters), parameters={"Count": "7"})

    assert dag.params["Count"] == 7


def test_an_authors_template_shows_in_the_form_whatever_the_type():
    parameters = [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]
    dag = pipeline_dag(
        "abalone",
        definition(training("Train"), parameters=parameters),
        parameters={"Count": "{{ macros.random() }}"},
    )

    assert dag.params["Count"] == "{{ macros.random() }}"
    assert dag.get_task("Train").parameters == {"Count": "{{ macros.random() }}"}


def test_wrong_parameters_are_refused_together_when_the_dag_is_built():
    parameters = [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]
    with pytest.raises(PipelineParameterError) as caught:
        pipeline_dag(
            "abalone",
            definition(training("Train"), parameters=parameters),
            parameters={"Cuont": 1, "Count": "many"},
        )

    assert "Perhaps 'Count' is meant" in str(caught.value)
    assert "'many' is not a whole number" in str(caught.value)


def test_dag_arguments_pass_through():
    dag = pipeline_dag(
        "abalone",
        definition(training("Train")),
        schedule="@daily",
        start_date=START,
        catchup=True,
        tags=["ml"],
        params={"mine": 1},
        default_args={"retries": 3, "owner": "team"},
        dagrun_timeout=timedelta(hours=1),
    )

    task = dag.get_task("Train")
    assert (dag.catchup, dag.tags, dag.dagrun_timeout) == (True, {"ml"}, timedelta(hours=1))
    assert (task.author_retries, task.owner) == (3, "team")
    assert dag.params["mine"] == 1


def test_a_run_has_at_most_so_many_steps_at_work():
    document = {"Version": "2020-12-01", "Steps": []}

    assert pipeline_dag("d", document, max_parallel_steps=3).max_active_tasks == 3


def test_params_are_not_repeated_in_every_serialized_task():
    parameters = [{"Name": f"P{i}", "Type": "String", "DefaultValue": "x"} for i in range(20)]
    dag = pipeline_dag("abalone", definition(training("Train"), parameters=parameters), start_date=START)

    (task,) = serialized(dag)["dag"]["tasks"]
    assert "P1" not in json.dumps(task)


def test_an_execution_ends_after_28_days_as_on_sagemaker():
    assert pipeline_dag("abalone", definition(training("Train"))).dagrun_timeout == timedelta(days=28)


def test_a_bad_definition_is_refused_before_there_is_a_dag():
    with pytest.raises(PipelineDefinitionError, match="there is no step 'Trian'"):
        pipeline_dag("abalone", definition(training("Train"), training("B", DependsOn=["Trian"])))


def test_an_unknown_orchestrator_is_refused():
    with pytest.raises(ValueError, match="orchestrator must be 'airflow' or 'sagemaker', not 'argo'"):
        pipeline_dag("abalone", definition(training("Train")), orchestrator="argo")


def test_a_pipeline_is_a_group_of_tasks_in_a_dag_of_ones_own():
    with DAG("mine", start_date=START, params={"url": "s3://b"}) as dag:
        group = pipeline_task_group(
            "abalone",
            definition(
                training("A"),
                training("B", DependsOn=["A"]),
                parameters=[{"Name": "Url", "Type": "String"}],
            ),
            parameters={"Url": "{{ params.url }}"},
        )

    assert isinstance(group, TaskGroup)
    assert set(dag.task_ids) == {"abalone.A", "abalone.B"}
    assert dag.get_task("abalone.B").upstream_task_ids == {"abalone.A"}
    assert set(dag.params) == {"url"}


def test_one_dag_may_hold_a_pipeline_twice():
    with DAG("mine", start_date=START) as dag:
        first, second = (pipeline_task_group(name, definition(training("A"))) for name in ("one", "two"))
        first >> second

    assert dag.get_task("two.A").upstream_task_ids == {"one.A"}


def test_the_same_group_twice_is_refused_by_airflow():
    with DAG("mine", start_date=START), pytest.raises(AirflowException):
        pipeline_task_group("one", definition(training("A")))
        pipeline_task_group("one", definition(training("A")))


@pytest.mark.parametrize(
    ("dag_id", "name"), [("abalone", "abalone"), ("my_dag.v2", "my-dag-v2"), ("__", "pipeline"), ("a" * 250, "a" * 250)]
)
def test_the_pipelines_name_is_the_dags_in_characters_that_sagemaker_allows(dag_id, name):
    task = pipeline_dag(dag_id, definition(training("Train"))).get_task("Train")

    assert task.pipeline.name == name


# How tasks wait, and what a kill does


def in_a_group(**arguments):
    with DAG("mine", start_date=START) as dag:
        pipeline_task_group("group", definition(training("Train")), **arguments)
    return dag.get_task("group.Train")


def in_a_dag(**arguments):
    return pipeline_dag("abalone", definition(training("Train")), **arguments).get_task("Train")


@pytest.mark.parametrize("task_of", [in_a_dag, in_a_group])
def test_by_default_tasks_poll_stream_no_logs_and_stop_what_they_started(task_of):
    pipeline = task_of().pipeline

    assert (pipeline.event_queue_url, pipeline.stream_logs, pipeline.stop_on_kill) == (None, False, True)


@pytest.mark.parametrize("task_of", [in_a_dag, in_a_group])
def test_an_authors_way_of_waiting_reaches_the_tasks(task_of):
    pipeline = task_of(
        waiting="events", event_queue_url="https://sqs/events", stream_logs=True, stop_on_kill=False
    ).pipeline

    assert (pipeline.event_queue_url, pipeline.stream_logs, pipeline.stop_on_kill) == (
        "https://sqs/events",
        True,
        False,
    )


@pytest.mark.parametrize("task_of", [in_a_dag, in_a_group])
def test_a_queue_is_not_used_by_tasks_that_poll(task_of):
    assert task_of(event_queue_url="https://sqs/events").pipeline.event_queue_url is None


@pytest.mark.parametrize("task_of", [in_a_dag, in_a_group])
def test_an_unknown_way_of_waiting_is_refused(task_of):
    with pytest.raises(ValueError, match="waiting must be 'polling' or 'events', not 'event'"):
        task_of(waiting="event", event_queue_url="https://sqs/events")


@pytest.mark.parametrize("task_of", [in_a_dag, in_a_group])
@pytest.mark.parametrize("url", [None, ""])
def test_waiting_for_events_needs_a_queue_and_the_message_says_how_to_make_one(task_of, url):
    with pytest.raises(ValueError, match=r"needs event_queue_url.*event-queue create` makes one"):
        task_of(waiting="events", event_queue_url=url)
