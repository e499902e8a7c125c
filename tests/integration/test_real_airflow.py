"""DAGs of pipelines on a real Airflow: api server, scheduler, dag processor and triggerer, over HTTP.

All runs are started at once, and each test looks at what has become of one of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from airflow.triggers.base import BaseTrigger

from tests.integration.real_airflow import DagsTest, RealAirflow, real_airflow

pytestmark = pytest.mark.timeout(300)

RULES = [
    {"kind": "Training", "name": "TrainForHours", "duration": 7200},
    {"kind": "Processing", "name": "-Broken-", "outcome": "Failed", "reason": "AlgorithmError: broken"},
    {"kind": "Processing", "name": "-Retried-", "outcome": "Failed", "reason": "CapacityError: full", "times": 1},
    {"kind": "Processing", "outputs": {"out": {"evaluation.json": {"metrics": {"rmse": 0.4}}}}},
]

#: Since Airflow 3.3 the triggerer tells a trigger that its task was killed.
TRIGGERS_LEARN_OF_KILLS = hasattr(BaseTrigger, "on_kill")


@dataclass(frozen=True)
class Runs:
    """The runs of the module."""

    airflow: RealAirflow
    strict: str
    long: str
    rules: str
    dags_test: DagsTest

    @property
    def scheduled(self) -> str:
        """The run that the scheduler has made by itself."""

        def made():
            return [run for run in self.airflow.api.runs("abalone") if run["run_type"] == "scheduled"]

        self.airflow.wait("the scheduler has made no run", lambda: bool(made()))
        (run,) = made()
        return run["dag_run_id"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("real-airflow")
    with real_airflow(home, rules=RULES) as airflow:
        api = airflow.api
        for dag_id in ("long", "rules", "abalone"):
            airflow.wait(f"no DAG {dag_id}: {api.import_errors()}", lambda dag_id=dag_id: api.has_dag(dag_id))
            api.unpause(dag_id)
        long = api.trigger("long", {})
        rules = api.trigger("rules", {})
        strict = api.trigger("abalone", {"Threshold": 0.1})
        dags_test = airflow.start_dags_test("abalone")
        with dags_test.processes:
            yield Runs(airflow, strict, long, rules, dags_test)


def job_of(runs, dag_run, task_id):
    return runs.airflow.api.xcom("abalone", dag_run, task_id)["TrainingJobName"]


def test_killing_a_waiting_task_stops_its_job(runs):
    airflow, api = runs.airflow, runs.airflow.api
    sagemaker = airflow.endpoint.sagemaker()
    airflow.wait("the task does not wait", lambda: airflow.states("long", runs.long).get("TrainForHours") == "deferred")
    name = api.xcom("long", runs.long, "TrainForHours", "sagemaker_resource")["name"]
    # The UI leads to the job while it runs.
    console = api.links("long", runs.long, "TrainForHours")["SageMaker console"]
    assert console == f"https://us-east-1.console.aws.amazon.com/sagemaker/home?region=us-east-1#/jobs/{name}"
    # Killed before a triggerer has taken it up, a task has nobody who could stop its job.
    airflow.wait("no triggerer waits", lambda: "starting" in airflow.log("long", runs.long, "TrainForHours"))
    assert sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "InProgress"

    api.mark_failed("long", runs.long, "TrainForHours")

    assert airflow.ended("long", runs.long) == "failed"

    def stops():
        return sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in ("Stopping", "Stopped")

    if TRIGGERS_LEARN_OF_KILLS:
        airflow.wait("the job goes on", stops, timeout=30)
        assert airflow.calls()["sagemaker.StopTrainingJob"] == 1
    else:
        # As documented: before Airflow 3.3, a job whose task is killed while it waits goes on.
        assert not stops()


def test_a_scheduled_run_finishes(runs):
    assert runs.airflow.ended("abalone", runs.scheduled) == "success"
    assert runs.airflow.states("abalone", runs.scheduled) == {
        "Train": "success",
        "Evaluate": "success",
        "GoodEnough": "success",
        "Create": "success",
        "TooBad": "skipped",
    }


def test_loops_retries_and_handlers_work_under_a_scheduler(runs):
    assert runs.airflow.ended("rules", runs.rules) == "success"
    instances = runs.airflow.api.task_instances("rules", runs.rules)

    assert sorted((item["task_id"], item["state"]) for item in instances) == [
        ("Broken", "failed"),
        ("Each", "success"),
        ("Each", "success"),
        ("Handler", "success"),
        ("Loop", "success"),
        ("Loop.items", "success"),
        ("Retried", "success"),
        ("Unreached", "skipped"),
    ]
    (retried,) = (item for item in instances if item["task_id"] == "Retried")
    assert retried["try_number"] == 2
    loop = runs.airflow.api.xcom("rules", runs.rules, "Loop")
    assert (loop["Status"], loop["SucceededStepCount"]) == ("Succeeded", 2)


def test_another_threshold_takes_the_other_branch(runs):
    assert runs.airflow.ended("abalone", runs.strict) == "failed"
    assert runs.airflow.states("abalone", runs.strict) == {
        "Train": "success",
        "Evaluate": "success",
        "GoodEnough": "success",
        "Create": "skipped",
        "TooBad": "failed",
    }
    assert "rmse above 0.1" in runs.airflow.log("abalone", runs.strict, "TooBad")


def test_a_jobs_result_is_aws_description(runs):
    runs.airflow.ended("abalone", runs.scheduled)

    described = runs.airflow.api.xcom("abalone", runs.scheduled, "Train")

    assert described["TrainingJobStatus"] == "Completed"
    data = f"s3://lake/models/{described['TrainingJobName']}/output/model.tar.gz"
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == data
    # Times are text, so that the result is JSON.
    assert described["TrainingEndTime"].endswith("Z")


def test_the_rendered_template_shows_the_resolved_request(runs):
    runs.airflow.ended("abalone", runs.scheduled)
    job = job_of(runs, runs.scheduled, "Train")

    fields = {
        task_id: runs.airflow.api.task_instance("abalone", runs.scheduled, task_id)["rendered_fields"]
        for task_id in ("Train", "Evaluate")
    }

    train = request_of(fields["Train"])
    assert train["TrainingJobName"] == job
    day = runs.airflow.api.task_instance("abalone", runs.scheduled, "Train")["run_after"][:10]
    assert train["HyperParameters"] == {"url": f"s3://lake/abalone/{day}"}
    assert train["RoleArn"] == "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
    (model,) = request_of(fields["Evaluate"])["ProcessingInputs"]
    assert model["S3Input"]["S3Uri"] == f"s3://lake/models/{job}/output/model.tar.gz"


def request_of(rendered_fields):
    request = rendered_fields["request"]
    return json.loads(request) if isinstance(request, str) else request


def test_the_ui_links_to_the_job_and_its_logs(runs):
    runs.airflow.ended("abalone", runs.scheduled)
    job = job_of(runs, runs.scheduled, "Train")

    links = runs.airflow.api.links("abalone", runs.scheduled, "Train")

    assert links["SageMaker console"].endswith(f"/sagemaker/home?region=us-east-1#/jobs/{job}")
    assert "log-groups/log-group/$252Faws$252Fsagemaker$252FTrainingJobs" in links["CloudWatch logs"]


def test_each_job_is_created_once(runs):
    runs.airflow.ended("abalone", runs.scheduled)
    runs.airflow.ended("abalone", runs.strict)
    names = [
        job["TrainingJobName"]
        for job in runs.airflow.endpoint.sagemaker().list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    ]

    assert len({job_of(runs, run, "Train") for run in (runs.scheduled, runs.strict)}) == 2
    assert runs.airflow.calls()["sagemaker.CreateTrainingJob"] == len(names)


def test_dags_test_runs_the_dag(runs):
    assert runs.dags_test.exit_code(timeout=120) == 0, runs.dags_test.output
