"""SageMaker walks the graph, on a real Airflow: watching, killing, clearing.

The runs are started at once; the tests that change one come in the order in which a user would do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from airflow.triggers.base import BaseTrigger

from tests.integration.real_airflow import RealAirflow, real_airflow

pytestmark = pytest.mark.timeout(400)

RULES = [
    {"kind": "Processing", "name": "-RunsForHours-", "duration": 7200},
    {"kind": "Processing", "name": "-FailsOnce-", "outcome": "Failed", "reason": "AlgorithmError: once", "times": 1},
]

#: Since Airflow 3.3 the triggerer tells a trigger that its task was killed, and tasks begin in it.
#: Before, as documented, what a task waits for goes on when it is killed.
IS_NEW = hasattr(BaseTrigger, "on_kill")
#: The tasks of the run that fails for which a worker starts a process.
WITH_WORKER = {"start-pipeline-execution", "FailsOnce", "pipeline-execution"} | (
    set() if IS_NEW else {"First", "Second"}
)


@dataclass(frozen=True)
class Runs:
    """The runs of the module."""

    airflow: RealAirflow
    watched: str
    killed: str
    stopped: str

    def executions(self, dag_id):
        """The executions of a DAG's pipeline, the oldest first."""
        sagemaker = self.airflow.endpoint.sagemaker()
        listed = sagemaker.list_pipeline_executions(PipelineName=dag_id, SortOrder="Ascending")
        return listed["PipelineExecutionSummaries"]

    def steps(self, arn):
        """The statuses of an execution's steps."""
        sagemaker = self.airflow.endpoint.sagemaker()
        listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        return {step["StepName"]: step["StepStatus"] for step in listed}

    def jobs(self, dag_id):
        """How many jobs each step of a DAG has had."""
        names = [execution["PipelineExecutionArn"].rsplit("/", 1)[1] for execution in self.executions(dag_id)]
        found: dict[str, int] = {}
        for job in self.airflow.endpoint.sagemaker().list_processing_jobs(MaxResults=100)["ProcessingJobSummaries"]:
            _, execution, step, *_ = job["ProcessingJobName"].split("-")
            if execution in names:
                found[step] = found.get(step, 0) + 1
        return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("real-sagemaker")
    with real_airflow(home, rules=RULES) as airflow:
        api = airflow.api
        for dag_id in ("watched", "killed", "stopped"):
            airflow.wait(f"no DAG {dag_id}: {api.import_errors()}", lambda dag_id=dag_id: api.has_dag(dag_id))
            api.unpause(dag_id)
        yield Runs(airflow, *(api.trigger(dag_id, {}) for dag_id in ("watched", "killed", "stopped")))


def test_a_failed_step_fails_the_run(runs):
    assert runs.airflow.ended("watched", runs.watched) == "failed"

    assert runs.airflow.states("watched", runs.watched) == {
        "start-pipeline-execution": "success",
        "First": "success",
        "Second": "success",
        "FailsOnce": "failed",
        "Last": "upstream_failed",
        "pipeline-execution": "failed",
    }
    (execution,) = runs.executions("watched")
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "Step 'FailsOnce' failed: AlgorithmError: once" in runs.airflow.log("watched", runs.watched, "FailsOnce")


def test_a_step_that_succeeds_needs_no_worker_if_tasks_begin_in_the_triggerer(runs):
    runs.airflow.ended("watched", runs.watched)
    instances = runs.airflow.api.task_instances("watched", runs.watched)

    workers = {item["task_id"]: item["hostname"] for item in instances if item["hostname"]}

    assert set(workers) == WITH_WORKER


def test_clearing_the_failed_step_resumes_the_execution_in_place(runs):
    runs.airflow.api.clear("watched", runs.watched, "FailsOnce")

    assert runs.airflow.ended("watched", runs.watched) == "success"
    (execution,) = runs.executions("watched")
    assert set(runs.steps(execution["PipelineExecutionArn"]).values()) == {"Succeeded"}
    assert runs.jobs("watched") == {"First": 1, "Second": 1, "FailsOnce": 2, "Last": 1}
    assert runs.airflow.calls()["sagemaker.RetryPipelineExecution"] == 1


def test_clearing_steps_that_have_succeeded_runs_them_selectively(runs):
    runs.airflow.api.clear("watched", runs.watched, "Second", "FailsOnce")

    assert runs.airflow.ended("watched", runs.watched) == "success"
    first, second = runs.executions("watched")
    assert set(runs.steps(first["PipelineExecutionArn"]).values()) == {"Succeeded"}
    assert runs.jobs("watched") == {"First": 1, "Second": 2, "FailsOnce": 3, "Last": 2}
    described = runs.airflow.endpoint.sagemaker().describe_pipeline_execution(
        PipelineExecutionArn=second["PipelineExecutionArn"]
    )
    selective = described["SelectiveExecutionConfig"]
    assert selective["SourcePipelineExecutionArn"] == first["PipelineExecutionArn"]
    assert {step["StepName"] for step in selective["SelectedSteps"]} == {"Second", "FailsOnce", "Last"}


def test_clearing_everything_starts_afresh(runs):
    runs.airflow.api.clear("watched", runs.watched)

    assert runs.airflow.ended("watched", runs.watched) == "success"
    *_, third = runs.executions("watched")
    assert len(runs.executions("watched")) == 3
    assert set(runs.steps(third["PipelineExecutionArn"])) == {"First", "Second", "FailsOnce", "Last"}
    result = runs.airflow.api.xcom("watched", runs.watched, "pipeline-execution")
    assert result["PipelineExecutionArn"] == third["PipelineExecutionArn"]


def running(runs, dag_id, step):
    def runs_now():
        return any(
            runs.steps(execution["PipelineExecutionArn"]).get(step) == "Executing"
            for execution in runs.executions(dag_id)
        )

    return runs_now


def test_killing_a_watching_task_stops_only_its_steps_job(runs):
    airflow = runs.airflow
    airflow.wait("the step does not run", running(runs, "killed", "RunsForHours"))
    airflow.wait("no task waits", lambda: "starting" in airflow.log("killed", runs.killed, "RunsForHours"))

    airflow.api.mark_failed("killed", runs.killed, "RunsForHours")

    def others_succeed():
        states = airflow.states("killed", runs.killed)
        return (states["GoesOn"], states["After"]) == ("success", "success")

    airflow.wait("the other steps do not succeed", others_succeed)
    if IS_NEW:
        assert airflow.ended("killed", runs.killed) == "failed"
    else:
        assert airflow.api.run_state("killed", runs.killed) == "running"
    (execution,) = runs.executions("killed")
    states = runs.steps(execution["PipelineExecutionArn"])
    assert (states["GoesOn"], states["After"]) == ("Succeeded", "Succeeded")
    assert states["RunsForHours"] in ({"Stopped", "Failed"} if IS_NEW else {"Executing"})
    assert airflow.calls().get("sagemaker.StopPipelineExecution", 0) <= 1


def test_failing_the_run_stops_the_execution(runs):
    airflow = runs.airflow
    airflow.wait("the step does not run", running(runs, "stopped", "RunsForHours"))
    airflow.wait("no task waits", lambda: "starting" in airflow.log("stopped", runs.stopped, "pipeline-execution"))

    airflow.api.mark_run_failed("stopped", runs.stopped)

    def status():
        (execution,) = runs.executions("stopped")
        return execution["PipelineExecutionStatus"]

    assert airflow.ended("stopped", runs.stopped) == "failed"
    if IS_NEW:
        airflow.wait("the execution goes on", lambda: status() == "Stopped", timeout=60)
    else:
        assert status() == "Executing"
