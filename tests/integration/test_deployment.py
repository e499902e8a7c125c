"""Pipelines that deploy, note their lineage and clean up, from a definition to a finished run."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines import pipeline_dag
from tests.airflow_dags import run_dag, states
from tests.integration.test_journey import BUCKET, IMAGE, ROLE, training

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    client = local_sagemaker.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def dag_of(*steps):
    document = {"Version": "2020-12-01", "Parameters": [{"Name": "Url", "Type": "String"}], "Steps": list(steps)}
    return pipeline_dag("deploy", document, role_arn=ROLE, poll_interval=0.2, parameters={"Url": "s3://b/in"})


def a_model():
    return {"Name": "Create", "Type": "Model", "Arguments": {"PrimaryContainer": {"Image": IMAGE}}}


def config():
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": {"Get": "Steps.Create.ModelName"},
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    return {"Name": "Config", "Type": "EndpointConfig", "Arguments": {"ProductionVariants": [variant]}}


def endpoint():
    return {
        "Name": "Deploy",
        "Type": "Endpoint",
        "Arguments": {"EndpointName": "live", "EndpointConfigName": {"Get": "Steps.Config.EndpointConfigName"}},
    }


def test_each_run_brings_its_model_to_the_same_endpoint(local_sagemaker):
    dag = dag_of(a_model(), config(), endpoint())

    served = []
    for _ in range(2):
        assert run_dag(dag).state == "success"
        described = local_sagemaker.client("sagemaker").describe_endpoint(EndpointName="live")
        served.append((described["EndpointStatus"], described["EndpointConfigName"]))

    assert [status for status, _ in served] == ["InService", "InService"]
    assert served[0] != served[1]
    calls = local_sagemaker.calls()
    assert (calls["sagemaker.CreateEndpoint"], calls["sagemaker.UpdateEndpoint"]) == (1, 1)


def test_lineage_of_a_model_is_noted_and_its_artifact_cleaned_up(local_sagemaker, bucket):
    artifact = {
        "ArtifactName": "model",
        "ArtifactType": "Model",
        "Source": {"SourceUri": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}},
    }
    note = {"Name": "Note", "Type": "Lineage", "Arguments": {"Artifacts": [artifact]}}
    clean = {"StepName": "Train"}
    cleanup = {
        "Name": "Clean",
        "Type": "Cleanup",
        "DependsOn": ["Note"],
        "Arguments": {"Resources": {"S3": [clean]}},
    }

    run = run_dag(dag_of(training("Train"), note, cleanup))

    assert states(run) == {"Train": "success", "Note": "success", "Clean": "success"}
    assert "Contents" not in bucket.list_objects_v2(Bucket=BUCKET)
    (entry,) = local_sagemaker.client("sagemaker").list_artifacts()["ArtifactSummaries"]
    assert entry["Source"]["SourceUri"].startswith(f"s3://{BUCKET}/model/pipelines-")
    assert local_sagemaker.calls()["s3.DeleteObjects"] == 1


def test_what_a_stopped_job_left_is_cleaned_up(local_sagemaker, bucket):
    local_sagemaker.rule(kind="Training", outcome="Stopped")
    cleanup = {
        "Name": "Clean",
        "Type": "Cleanup",
        "DependsOn": [{"Step": "Train", "Trigger": "Stopped"}],
        "Arguments": {"Resources": {"S3": [{"StepName": "Train"}]}},
    }

    run = run_dag(dag_of(training("Train"), cleanup))

    (task,) = (ti for ti in run.get_task_instances() if ti.task_id == "Clean")
    assert task.xcom_pull(task_ids="Clean")["CleanedSteps"] == ["Train"]


def test_a_failed_endpoint_fails_its_task(local_sagemaker):
    local_sagemaker.rule(kind="Endpoint", outcome="Failed", reason="no capacity")

    run = run_dag(dag_of(a_model(), config(), endpoint()))

    assert states(run) == {"Create": "success", "Config": "success", "Deploy": "failed"}
