"""CacheConfig, experiments and MLflow in whole runs, against the local endpoint over HTTP."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from airflow_sagemaker_pipelines import pipeline_dag
from airflow_sagemaker_pipelines.steps import cache
from tests.airflow_dags import run_dag, states
from tests.integration.documents import BUCKET, ROLE, dag_of, job_names, processing, steps_run, training

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

DAY = [{"Name": "Day", "Type": "String", "DefaultValue": "1"}]
CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "30d"}}
PREPARE = processing("Prepare", arguments={"Environment": {"day": {"Get": "Parameters.Day"}}}, **CACHED)
#: Reads an output of the step before it, and is never cached.
USE = processing("Use", arguments={"Environment": {"source": {"Get": "Steps.Prepare.ProcessingJobName"}}})


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


@pytest.fixture(autouse=True)
def cache_log(caplog):
    caplog.set_level(logging.INFO, logger=cache.__name__)
    return caplog


def xcom(run, task_id, key):
    ti = next(ti for ti in run.get_task_instances() if ti.task_id == task_id)
    return ti.xcom_pull(task_ids=task_id, key=key)


def used_sources(local_sagemaker):
    """Return which job each Use step has read, oldest first."""
    client = local_sagemaker.client("sagemaker")
    jobs = (client.describe_processing_job(ProcessingJobName=n) for n in job_names(local_sagemaker) if "-Use-" in n)
    return [job["Environment"]["source"] for job in jobs]


def test_a_second_run_makes_no_job_and_hands_on_the_outputs_of_the_first(local_sagemaker):
    dag = dag_of(PREPARE, USE, declared=DAY)
    first = run_dag(dag)
    (source, _) = job_names(local_sagemaker)

    second = run_dag(dag)

    assert states(second) == {"Prepare": "success", "Use": "success"}
    assert steps_run(local_sagemaker) == ["Prepare", "Use", "Use"]
    assert used_sources(local_sagemaker) == [source, source]
    assert xcom(second, "Prepare", "return_value") == xcom(first, "Prepare", "return_value")
    arn = xcom(first, "Prepare", "return_value")["ProcessingJobArn"]
    assert xcom(second, "Prepare", "sagemaker_cache_hit") == {"source_job": source, "source_arn": arn}
    assert xcom(second, "Prepare", "sagemaker_resource") == {"name": source}
    assert xcom(first, "Prepare", "sagemaker_cache_hit") is None


def test_a_changed_parameter_is_a_miss_that_names_the_attribute(local_sagemaker, cache_log):
    dag = dag_of(PREPARE, USE, declared=DAY)
    run_dag(dag)

    second = run_dag(dag, conf={"Day": "2"})

    assert xcom(second, "Prepare", "sagemaker_cache_hit") is None
    assert steps_run(local_sagemaker).count("Prepare") == 2
    assert 'Environment.day is "1", not "2"' in cache_log.text
    assert xcom(run_dag(dag, conf={"Day": "1"}), "Prepare", "sagemaker_cache_hit")


def test_an_expired_result_is_not_used(local_sagemaker, monkeypatch):
    dag = dag_of(PREPARE, declared=DAY)
    run_dag(dag)

    class AMonthLater(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz or UTC) + timedelta(days=31)

    monkeypatch.setattr(cache, "datetime", AMonthLater)
    run_dag(dag)

    assert steps_run(local_sagemaker) == ["Prepare", "Prepare"]


def test_a_failed_job_is_not_used(local_sagemaker):
    dag = dag_of(PREPARE, declared=DAY)
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="AlgorithmError: x", times=1)
    assert run_dag(dag).state == "failed"

    assert run_dag(dag).state == "success"

    assert steps_run(local_sagemaker) == ["Prepare", "Prepare"]


def test_another_pipeline_shares_nothing(local_sagemaker):
    run_dag(dag_of(PREPARE, declared=DAY))

    run_dag(dag_of(PREPARE, declared=DAY, pipeline_name="another"))

    assert steps_run(local_sagemaker) == ["Prepare", "Prepare"]


def test_a_step_after_a_cached_one_is_found_too(local_sagemaker):
    """Its input lies where the source run has put it."""
    place = {"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": place}},
    }
    own_place = f"s3://{BUCKET}/prepared"
    target = {"S3Uri": {"Std:Join": {"On": "/", "Values": [own_place, {"Get": "Execution.ProcessingJobName"}]}}}
    target |= {"LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    outputs = {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": target}]}}
    dag = dag_of(
        processing("Prepare", arguments=outputs, **CACHED),
        training("Train", arguments={"InputDataConfig": [channel]}, **CACHED),
    )
    run_dag(dag)

    second = run_dag(dag)

    assert len(job_names(local_sagemaker)) == len(job_names(local_sagemaker, "training")) == 1
    assert xcom(second, "Train", "sagemaker_cache_hit")["source_job"] == job_names(local_sagemaker, "training")[0]


def test_children_of_a_loop_are_found_by_their_index(local_sagemaker):
    each = processing("Each", arguments={"Environment": {"n": {"Get": "ForEach.CurrentItem"}}}, **CACHED)
    loop = {
        "Name": "Loop",
        "Type": "ForEach",
        "Arguments": {"IterableItems": ["same", "same", "x"], "MaxConcurrency": 2, "ForEachBody": [each]},
    }
    dag = dag_of(loop)
    assert run_dag(dag).state == "success"

    assert run_dag(dag).state == "success"

    assert len(job_names(local_sagemaker)) == 3


def recorded(**arguments):
    document = {
        "Version": "2020-12-01",
        "PipelineExperimentConfig": {
            "ExperimentName": {"Get": "Execution.PipelineName"},
            "TrialName": {"Std:Join": {"On": "-", "Values": ["run", {"Get": "Execution.PipelineExecutionId"}]}},
        },
        "MlflowConfig": {
            "MlflowResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABC",
            "MlflowExperimentName": "exp",
        },
        "Steps": [
            processing("Prepare"),
            training("Train", arguments={"ExperimentConfig": {"TrialComponentDisplayName": "best"}}),
        ],
    }
    return pipeline_dag("recorded", document, role_arn=ROLE, poll_interval=0.2, **arguments)


def test_the_jobs_of_a_run_are_recorded_together(local_sagemaker):
    first, second = run_dag(recorded()), run_dag(recorded())

    assert first.state == second.state == "success"
    sagemaker = local_sagemaker.client("sagemaker")
    trials = [trial["TrialName"] for trial in sagemaker.list_trials(ExperimentName="recorded")["TrialSummaries"]]
    assert len(trials) == 2
    assert {name[:4] for name in trials} == {"run-"}
    for run in (first, second):
        prepare, train = xcom(run, "Prepare", "return_value"), xcom(run, "Train", "return_value")
        trial = prepare["ExperimentConfig"]["TrialName"]
        assert trial in trials
        names = {"ExperimentName": "recorded", "TrialName": trial}
        assert prepare["ExperimentConfig"] == names
        assert train["ExperimentConfig"] == {**names, "TrialComponentDisplayName": "best"}
        assert train["MlflowConfig"]["MlflowExperimentName"] == "exp"


def test_experiments_can_be_switched_off(local_sagemaker):
    run = run_dag(recorded(experiments=False))

    assert run.state == "success"
    assert "ExperimentConfig" not in xcom(run, "Train", "return_value")
    assert not {"sagemaker.CreateExperiment", "sagemaker.CreateTrial"} & local_sagemaker.calls().keys()


def test_a_step_that_cannot_be_cached_runs_and_says_so(cache_log):
    now = {"now": {"Get": "Execution.CurrentDateTime"}}
    dag = dag_of(processing("Prepare", arguments={"Environment": now}, **CACHED))

    assert run_dag(dag).state == "success"

    assert "Step 'Prepare' runs without its CacheConfig: its key attributes hold the time" in cache_log.text
