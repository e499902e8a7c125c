"""Sensors in whole runs of Airflow, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from airflow.sdk import DAG, task

from airflow_sagemaker_pipelines.sensors.job import SageMakerJobSensor
from airflow_sagemaker_pipelines.sensors.model_package import SageMakerModelPackageApprovalSensor
from tests.airflow_dags import run_dag, serialized, states
from tests.local.endpoint_support import package_request, training_request


def watching(**arguments):
    """Wait for a job that another task starts, and use its result."""
    with DAG("watching", schedule=None) as dag:

        @task
        def start():
            import boto3

            boto3.client("sagemaker").create_training_job(**training_request("nightly"))
            return "nightly"

        sensor = SageMakerJobSensor(
            task_id="wait", job_type="Training", job_name=start(), poll_interval=0.1, **arguments
        )

        @task
        def use(description):
            return description["ModelArtifacts"]["S3ModelArtifacts"]

        use(sensor.output)
    return dag


@pytest.mark.usefixtures("airflow_database")
def test_a_dag_waits_for_a_job_and_uses_its_result(local_sagemaker):
    local_sagemaker.rule(kind="Training", duration=1.0)

    run = run_dag(watching())

    assert states(run) == {"start": "success", "wait": "success", "use": "success"}
    (model,) = [ti.xcom_pull(task_ids="use") for ti in run.get_task_instances() if ti.task_id == "use"]
    assert model.endswith("/nightly/output/model.tar.gz")


@pytest.mark.usefixtures("airflow_database")
@pytest.mark.parametrize(
    ("soft_fail", "state", "after"), [(True, "skipped", "skipped"), (False, "failed", "upstream_failed")]
)
def test_a_dag_ends_or_goes_on_by_what_becomes_of_the_job(local_sagemaker, soft_fail, state, after):
    local_sagemaker.rule(kind="Training", duration=1.0, outcome="Failed", reason="AlgorithmError: no data")

    run = run_dag(watching(soft_fail=soft_fail))

    assert states(run) == {"start": "success", "wait": state, "use": after}


@pytest.mark.usefixtures("airflow_database")
def test_one_sensor_per_job_waits_for_many(local_sagemaker):
    client = local_sagemaker.client("sagemaker")
    for name in ("a", "b"):
        client.create_training_job(**training_request(name))
    with DAG("many", schedule=None) as dag:
        SageMakerJobSensor.partial(task_id="wait", job_type="Training", poll_interval=0.1).expand(job_name=["a", "b"])

    run = run_dag(dag)

    found = [(ti.map_index, str(getattr(ti.state, "value", ti.state))) for ti in run.get_task_instances()]
    assert sorted(found) == [(0, "success"), (1, "success")]


@pytest.mark.usefixtures("airflow_database")
def test_a_dag_waits_for_a_decision(local_sagemaker):
    client = local_sagemaker.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="abalone")
    with DAG("deploying", schedule=None) as dag:

        @task
        def register():
            import boto3

            return boto3.client("sagemaker").create_model_package(**package_request("abalone"))["ModelPackageArn"]

        @task
        def approve(arn):
            import boto3

            boto3.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")

        arn = register()
        sensor = SageMakerModelPackageApprovalSensor(task_id="wait", model_package_arn=arn, poll_interval=0.1)
        approve(arn) >> sensor

    run = run_dag(dag)

    assert states(run) == {"register": "success", "approve": "success", "wait": "success"}


def test_sensors_survive_serialization():
    tasks = serialized(watching())["dag"]["tasks"]

    (sensor,) = (each["__var"] for each in tasks if each["__var"]["task_id"] == "wait")
    assert sensor["_is_sensor"]
    assert set(sensor["template_fields"]) == {"job_name"}


def test_building_a_dag_with_sensors_imports_no_boto3():
    code = """
import sys
from airflow.sdk import DAG
from airflow_sagemaker_pipelines.sensors.job import SageMakerJobSensor
from airflow_sagemaker_pipelines.sensors.model_package import SageMakerModelPackageApprovalSensor
with DAG("d", schedule=None):
    SageMakerJobSensor(task_id="a", job_type="Training", job_name="x")
    SageMakerModelPackageApprovalSensor(task_id="b", model_package_group_name="g")
print(sorted(name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore", "moto")))
"""

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == "[]"
