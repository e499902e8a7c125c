"""Whoever walks the graph, Airflow or SageMaker: the tasks of a definition's steps end in the same states."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_sagemaker_pipelines.local.pipelines import execution_api
from airflow_sagemaker_pipelines.steps.names import execution_id
from tests.airflow_dags import states
from tests.corpus_oracle import FILES, corpus_of
from tests.integration.corpus_world import job_pattern
from tests.integration.test_corpus_runs import run_corpus, scenarios

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

ORCHESTRATORS = ("airflow", "sagemaker")
#: What exists with one orchestrator only.
OWN_TASKS = {"start-pipeline-execution", "pipeline-execution"}
#: Types of steps whose jobs a test can have fail.
JOBS = {"Processing", "Training", "Tuning", "Transform"}


@pytest.fixture(autouse=True)
def clients_of_the_process(monkeypatch):
    """Let all tasks use the same clients: a new one takes longer than all else that most steps do."""
    from airflow_sagemaker_pipelines.hooks.aws import shared_clients

    for module in ("base", "executions", "pipeline_run"):
        monkeypatch.setattr(f"airflow_sagemaker_pipelines.operators.{module}.AwsClients", shared_clients)


@pytest.fixture(autouse=True)
def refusals_at_the_steps(local_sagemaker):
    """Have what AWS refuses about a step's arguments fail the step, as it does when Airflow makes the call."""
    local_sagemaker.choose(check_arguments=False)


def both(endpoint, monkeypatch, corpus, values, prepare=lambda: None, **arguments):
    """Run a definition under both orchestrators; return the states of its steps' tasks, and the runs' states."""
    found = {}
    for orchestrator in ORCHESTRATORS:
        endpoint.reset()
        endpoint.choose(check_arguments=False)
        prepare()
        run = run_corpus(
            endpoint, corpus, values, {}, orchestrator=orchestrator, expect=expect(monkeypatch), **arguments
        )
        steps = {task: state for task, state in states(run).items() if task not in OWN_TASKS}
        found[orchestrator] = (steps, run.state)
    return found["airflow"], found["sagemaker"]


def expect(monkeypatch):
    """Give the run's execution the id below which the results of its function steps lie."""

    def note(dag_id, run_id):
        monkeypatch.setattr(execution_api, "new_id", lambda length: execution_id(dag_id, run_id, ""))

    return note


@pytest.mark.parametrize(("file", "number", "values"), scenarios(FILES))
def test_every_outcome_of_every_condition_ends_in_the_same_states(local_sagemaker, monkeypatch, file, number, values):
    airflow, sagemaker = both(local_sagemaker, monkeypatch, corpus_of(file), values)

    assert sagemaker == airflow


def first_job(corpus):
    """Return the name of the first step that runs a job in any scenario, if there is one."""
    for name, step in corpus.steps.items():
        if step["Type"] in JOBS and corpus.holders[name] is None:
            return name
    return None


def with_jobs():
    for file in FILES:
        corpus = corpus_of(file)
        if (name := first_job(corpus)) is not None:
            values = next(iter(corpus.scenarios()))
            yield pytest.param((corpus, name, values), id=file.stem)


def rule_for(endpoint, corpus, name, **members):
    endpoint.rule(kind=corpus.steps[name]["Type"], name=job_pattern(corpus, name), **members)


@pytest.mark.parametrize("outcome", ["Failed", "Stopped"])
@pytest.mark.parametrize("case", with_jobs())
def test_a_step_that_does_not_succeed_leaves_the_same_states(local_sagemaker, monkeypatch, case, outcome):
    corpus, name, values = case

    def prepare():
        rule_for(local_sagemaker, corpus, name, outcome=outcome, reason="AlgorithmError: by a rule")

    airflow, sagemaker = both(local_sagemaker, monkeypatch, corpus, values, prepare)

    assert airflow[0][name] == "failed"
    assert sagemaker == airflow


@pytest.mark.parametrize("case", with_jobs())
def test_a_retry_ends_in_the_same_states(local_sagemaker, monkeypatch, case):
    corpus, name, values = case

    def prepare():
        rule_for(local_sagemaker, corpus, name, outcome="Failed", reason="AlgorithmError: once", times=1)

    again = {"retries": 1, "retry_delay": timedelta()}
    airflow, sagemaker = both(local_sagemaker, monkeypatch, corpus, values, prepare, default_args=again)

    assert sagemaker == airflow
