"""Every definition of the corpus runs to its end, with both outcomes of its conditions, whoever walks the graph."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from airflow.sdk import BaseOperator

from airflow_sagemaker_pipelines import pipeline_dag
from airflow_sagemaker_pipelines.hooks.aws import shared_clients
from airflow_sagemaker_pipelines.local.pipelines import execution_api
from airflow_sagemaker_pipelines.steps.names import execution_id
from tests.airflow_dags import run_dag, states
from tests.corpus_oracle import FILES, REPAIRS, SDK3, corpus_of, repaired
from tests.integration.corpus_world import outputs_of, plain, prepare, region_of
from tests.integration.documents import ROLE

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

#: Outcomes that no values bring about: literals compared with each other, or demands that contradict each other.
UNREACHABLE = {
    "conditions-all-operators-unit": {("MyConditionStep", True)},
    # A number in HyperParameters is text, so the step fails.
    "map-params": {("CustomerChurnAccuracyCond", True), ("CustomerChurnAccuracyCond", False)},
    SDK3: {("Inner", True)},
    "stored-airflow-30-nested-conditions": {("DummyCond", False), *((f"DummyCond{i}", False) for i in range(30))},
}

_TOO_MANY = "Member must have length less than or equal to 10"
_NO_FILES = "its source 'Train0' is a Lambda step"
_OTHER_ACCOUNT = "Cross-account pass role is not allowed"
_NO_LIST = {"Loop": "its items could not be read", "Notify": "'Use' has not succeeded, and nothing handles that"}
_NO_DATES_IN_NAMES = "the pipeline's TrialName is 't-2026-"

#: Steps that AWS, or the step's own rules, refuse, with the reason; by definition, or by definition and scenario.
FAILS = {
    "conditions-all-operators-unit": {"MyStep0": 'Missing required parameter in input: "OutputDataConfig"'},
    "deploy-two-components": {"Link": "failed to satisfy constraint"},
    # CreateProcessingJob takes 10 inputs and 10 outputs; this has 20.
    "forecast-fanout-62": {"SplitByRegion": _TOO_MANY},
    "map-params": {"CustomerChurnAccuracyCond": "cannot compare '500' (string) with 6.0 (number)"},
    "sdk2_checks_emr_automl": {
        "DQ": _NO_DATES_IN_NAMES,
        "CB": _NO_DATES_IN_NAMES,
        "CE": _NO_DATES_IN_NAMES,
    },
    SDK3: {"Clean": _NO_FILES, "ES": _OTHER_ACCOUNT, "ES2": _OTHER_ACCOUNT},
    # The condition that compares the parameter with "y" is its other use.
    f"{SDK3}-0": _NO_LIST,
    "stored-customer-churn-2021": {"ChurnModelProcess": "'arn:aws:iam::XXXXXXXXXX:role/"},
}

#: Steps that tasks of the DAG's author stand for, so that what comes after them runs.
REPLACED = {
    "conditions-all-operators-unit": ("MyStep0", "MyStep1", "MyStep2"),
    "forecast-fanout-62": ("SplitByRegion",),
}
STILL_FAILS = {
    "forecast-fanout-62": {"MergeForecasts": _TOO_MANY},
    SDK3: {"Clean": _NO_FILES},
    f"{SDK3}-0": _NO_LIST,
    "sdk2_checks_emr_automl": {"CE": "it needs a previous baseline: it supplies none and names no model package group"},
}


class Answer(BaseOperator):
    """Stands for a step; its result is the step's own arguments."""

    def __init__(self, *, answer, **arguments):
        super().__init__(**arguments)
        self.answer = answer

    def execute(self, context):
        return {"TrainingJobName": "job", **self.answer}


def fulfilled(step):
    outputs = outputs_of(step)
    return lambda arguments: outputs


def answered(answer):
    return lambda step, **arguments: Answer(answer=answer, **arguments)


def scenarios(files, corpus=corpus_of):
    for file in files:
        for number, values in enumerate(corpus(file).scenarios()):
            yield pytest.param(file, number, values, id=f"{file.stem}-{number}")


@pytest.fixture(autouse=True)
def clients_of_the_process(monkeypatch):
    """Let all tasks use the same clients: a new one takes longer than all else that most steps do."""
    for module in ("base", "executions", "pipeline_run"):
        monkeypatch.setattr(f"airflow_sagemaker_pipelines.operators.{module}.AwsClients", shared_clients)


#: Tasks that exist with one orchestrator only.
OWN_TASKS = {"start-pipeline-execution", "pipeline-execution"}

runs = count()


@pytest.fixture
def failures():
    """Collect what tasks fail with, by task."""
    return {}


def run_corpus(endpoint, corpus, values, failures, replaced=(), *, default_args=None, expect=None, **arguments):
    # Results of function steps lie below the execution's id, which comes from the run's.
    started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=next(runs))
    dag_id = f"{corpus.name}-{started:%d%H}"
    run_id = f"manual__{started.isoformat()}"
    prepare(endpoint, corpus, values, dag_id=dag_id, run_id=run_id)
    if expect is not None:
        expect(dag_id, run_id)

    def note(context):
        failures[context["ti"].task_id] = str(context["exception"])

    callbacks = {name: fulfilled(step) for name, step in corpus.steps.items() if step["Type"] == "Callback"}
    overrides = {name: answered(plain(corpus, corpus.steps[name]["Arguments"])) for name in replaced}
    dag = pipeline_dag(
        dag_id,
        corpus.document,
        pipeline_name=corpus.name.replace("_", "-"),
        role_arn=ROLE,
        region_name=region_of(corpus),
        poll_interval=0.1,
        callbacks=callbacks,
        overrides=overrides,
        default_args={"on_failure_callback": note, **(default_args or {})},
        parameters=corpus.given | {name: value for name, value in values.items() if name in corpus.declared},
        **arguments,
    )
    return run_dag(dag, logical_date=started, run_after=started)


def expected(table, corpus, number):
    return table.get(corpus.name, {}) | table.get(f"{corpus.name}-{number}", {})


def check_run(run, corpus, values, fails, failures):
    found = states(run)
    executed = corpus.executed(values, failed=fails)
    failing = set(fails) | {name for name in executed if corpus.steps[name]["Type"] == "Fail"}
    assert {name for name in corpus.edges if found[name] == "failed"} == failing
    assert {name for name in corpus.edges if found[name] == "success"} == executed - failing
    assert {found[name] for name in corpus.edges if name not in executed | failing} <= {"skipped", "upstream_failed"}
    for name, (container, member) in ((name, holder) for name, holder in corpus.holders.items() if holder):
        if member == "ForEachBody":
            assert (found[name] == "success") == (container in executed - failing)
    for name, reason in fails.items():
        assert reason in failures[name]
    handled = {up for ups in corpus.edges.values() for up, trigger in ups.items() if trigger != "Completed"}
    assert run.state == ("failed" if failing - handled else "success")


@pytest.fixture
def run_in_sagemaker(local_sagemaker, monkeypatch):
    """Run a definition as an execution of SageMaker's."""

    def expect(dag_id, run_id):
        # The id below which the results of its function steps lie.
        monkeypatch.setattr(execution_api, "new_id", lambda length: execution_id(dag_id, run_id, ""))

    def run(corpus, values, **arguments):
        # What AWS refuses about a step's arguments fails the step, as it does when Airflow makes the call.
        local_sagemaker.choose(check_arguments=False)
        return run_corpus(local_sagemaker, corpus, values, {}, orchestrator="sagemaker", expect=expect, **arguments)

    return run


def ends(run):
    """Return the states of the tasks of steps, and that of the run."""
    return {task: state for task, state in states(run).items() if task not in OWN_TASKS}, run.state


@pytest.mark.parametrize(("file", "number", "values"), scenarios(FILES))
def test_it_runs_to_its_end_with_the_steps_of_the_branches_taken(local_sagemaker, file, number, values, failures):
    corpus = corpus_of(file)

    run = run_corpus(local_sagemaker, corpus, values, failures)

    known_ends[file.stem, number] = ends(run)
    check_run(run, corpus, values, expected(FAILS, corpus, number), failures)


#: How the runs under Airflow have ended, by definition and scenario: no need to run them twice.
known_ends = {}


@pytest.mark.parametrize(("file", "number", "values"), scenarios(FILES))
def test_it_ends_as_under_airflow_when_sagemaker_walks_the_graph(
    local_sagemaker, run_in_sagemaker, file, number, values
):
    corpus = corpus_of(file)
    if (file.stem, number) not in known_ends:
        known_ends[file.stem, number] = ends(run_corpus(local_sagemaker, corpus, values, {}))
        local_sagemaker.reset()

    assert ends(run_in_sagemaker(corpus, values)) == known_ends[file.stem, number]


@pytest.mark.parametrize(
    ("file", "number", "values"),
    scenarios([file for file in FILES if file.stem in REPAIRS.keys() | REPLACED.keys()], repaired),
)
def test_one_that_aws_refuses_runs_when_its_author_helps(local_sagemaker, file, number, values, failures):
    corpus = repaired(file)

    run = run_corpus(local_sagemaker, corpus, values, failures, replaced=REPLACED.get(corpus.name, ()))

    check_run(run, corpus, values, expected(STILL_FAILS, corpus, number), failures)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_scenarios_bring_each_condition_to_both_outcomes(file):
    assert corpus_of(file).unreachable() == UNREACHABLE.get(file.stem, set())
