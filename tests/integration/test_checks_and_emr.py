"""Check and EMR steps as tasks: what they make is waited for, and what they tell reaches the steps after them."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines import pipeline_dag
from tests.airflow_dags import run_dag, states
from tests.steps.types.check_steps import clarify_check, put_json, quality_check, report
from tests.steps.types.step_runs import BUCKET, ROLE

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

BASELINE = {"Get": "Steps.Data_Quality.BaselineUsedForDriftCheckConstraints"}
CLUSTER = {
    "ReleaseLabel": "emr-6.6.0",
    "Instances": {"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}]},
}


@pytest.fixture(autouse=True)
def files(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    put_json(local_sagemaker, "cfg/analysis_config.json", {"predictor": {}})


def definition():
    jar = {"Jar": "command-runner.jar", "Args": ["x", BASELINE]}
    serverless = {
        "JobConfig": {
            "jobDriver": {
                "sparkSubmit": {
                    "entryPoint": "s3://b/a.py",
                    "entryPointArguments": [
                        {"Get": "Steps.Cluster.Config.Args[1]"},
                        {"Get": "Steps.Cluster.ClusterId"},
                    ],
                }
            }
        },
        "ApplicationConfig": {"name": "app", "releaseLabel": "emr-6.15.0", "type": "SPARK"},
    }
    return {
        "Version": "2020-12-01",
        "Steps": [
            quality_check(SkipCheck=False, SuppliedBaselineConstraints=f"s3://{BUCKET}/mine/c.json"),
            clarify_check(ModelName="mm", DependsOn=["Data_Quality"]),
            {
                "Name": "Cluster",
                "Type": "EMR",
                "Arguments": {"StepConfig": {"HadoopJarStep": jar}, "ClusterConfig": CLUSTER},
            },
            {"Name": "Serverless", "Type": "EMRServerless", "Arguments": serverless},
        ],
    }


def dag_of(document):
    return pipeline_dag("checks", document, role_arn=ROLE, poll_interval=0.2)


def test_what_a_check_and_an_emr_step_tell_reaches_the_steps_after_them(local_sagemaker):
    run = run_dag(dag_of(definition()))

    assert set(states(run).values()) == {"success"}
    emr, serverless = local_sagemaker.client("emr"), local_sagemaker.client("emr-serverless")
    (cluster,) = emr.list_clusters()["Clusters"]
    (application,) = serverless.list_applications()["applications"]
    (job,) = serverless.list_job_runs(applicationId=application["id"])["jobRuns"]
    found = serverless.get_job_run(applicationId=application["id"], jobRunId=job["id"])["jobRun"]
    assert found["jobDriver"]["sparkSubmit"]["entryPointArguments"] == [f"s3://{BUCKET}/mine/c.json", cluster["Id"]]


def test_violations_fail_the_task_and_keep_what_follows_from_running(local_sagemaker):
    local_sagemaker.rule(**report("quality_check_output", [{"feature_name": "age"}]))

    run = run_dag(dag_of(definition()))

    assert states(run) == {
        "Data_Quality": "failed",
        "Bias": "upstream_failed",
        "Cluster": "upstream_failed",
        "Serverless": "upstream_failed",
    }
