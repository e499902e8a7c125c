"""From a definition to a finished run, against the local endpoint over HTTP."""

from __future__ import annotations

import pytest

from tests.airflow_dags import run_dag, states
from tests.integration.documents import BUCKET, IMAGE, ROLE, dag_of, processing, training

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


def condition(if_steps, else_steps, threshold=0.5):
    report = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.rmse"}}
    return {
        "Name": "Check",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {"Type": "LessThanOrEqualTo", "LeftValue": report, "RightValue": {"Get": "Parameters.Threshold"}}
            ],
            "IfSteps": if_steps,
            "ElseSteps": else_steps,
        },
    }


def model(name):
    return {
        "Name": name,
        "Type": "Model",
        "Arguments": {
            "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}
        },
    }


def transform(name, model_step):
    return {
        "Name": name,
        "Type": "Transform",
        "Arguments": {
            "ModelName": {"Get": f"Steps.{model_step}.ModelName"},
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in"}}
            },
            "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/scored"},
            "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        },
    }


def register(name):
    container = {"Image": IMAGE, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}
    return {
        "Name": name,
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "abalone",
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
            "ModelApprovalStatus": "PendingManualApproval",
        },
    }


FAIL = {
    "Name": "TooBad",
    "Type": "Fail",
    "Arguments": {"ErrorMessage": {"Std:Join": {"On": " ", "Values": ["rmse above", {"Get": "Parameters.Threshold"}]}}},
}
PARAMETERS = [
    {"Name": "Url", "Type": "String", "DefaultValue": "s3://default"},
    {"Name": "Threshold", "Type": "Float", "DefaultValue": 0.5},
]


def abalone(**arguments):
    taken = [register("Register"), model("Create"), transform("Score", "Create")]
    url = {"HyperParameters": {"url": {"Get": "Parameters.Url"}}}
    return dag_of(
        condition(taken, [FAIL]),
        processing("Evaluate", DependsOn=["Train"]),
        training("Train", arguments=url),
        declared=PARAMETERS,
        **arguments,
    )


def evaluation(local_sagemaker, rmse):
    local_sagemaker.rule(kind="Processing", outputs={"out": {"evaluation.json": {"metrics": {"rmse": rmse}}}})


def hyperparameters(local_sagemaker):
    client = local_sagemaker.client("sagemaker")
    (job,) = client.list_training_jobs()["TrainingJobSummaries"]
    return client.describe_training_job(TrainingJobName=job["TrainingJobName"])["HyperParameters"]


def test_a_good_model_is_registered_and_used(local_sagemaker):
    evaluation(local_sagemaker, 0.4)

    run = run_dag(abalone())

    assert states(run) == {
        "Train": "success",
        "Evaluate": "success",
        "Check": "success",
        "Register": "success",
        "Create": "success",
        "Score": "success",
        "TooBad": "skipped",
    }
    client = local_sagemaker.client("sagemaker")
    (package,) = client.list_model_packages(ModelPackageGroupName="abalone")["ModelPackageSummaryList"]
    described = client.describe_model_package(ModelPackageName=package["ModelPackageArn"])
    assert described["MetadataProperties"]["GeneratedBy"].startswith(
        "arn:aws:sagemaker:us-east-1:123456789012:pipeline/abalone/execution/"
    )
    (job,) = client.list_training_jobs()["TrainingJobSummaries"]
    data = described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert data == f"s3://{BUCKET}/model/{job['TrainingJobName']}/output/model.tar.gz"
    (scored,) = client.list_transform_jobs()["TransformJobSummaries"]
    model_name = client.describe_transform_job(TransformJobName=scored["TransformJobName"])["ModelName"]
    assert client.describe_model(ModelName=model_name)["ExecutionRoleArn"] == ROLE


def test_a_bad_model_takes_the_other_branch_and_fails_with_the_message(local_sagemaker, caplog):
    evaluation(local_sagemaker, 0.6)

    run = run_dag(abalone())

    assert run.state == "failed"
    assert {name: states(run)[name] for name in ("Check", "Register", "Create", "Score", "TooBad")} == {
        "Check": "success",
        "Register": "skipped",
        "Create": "skipped",
        "Score": "skipped",
        "TooBad": "failed",
    }
    assert local_sagemaker.client("sagemaker").list_models()["Models"] == []


def test_a_runs_conf_wins_over_the_author_who_wins_over_the_default(local_sagemaker):
    evaluation(local_sagemaker, 0.6)
    dag = abalone(parameters={"Threshold": 0.1, "Url": "s3://lake/{{ dag_run.run_id }}"})

    run = run_dag(dag, conf={"Threshold": 0.9})

    assert run.state == "success"
    assert hyperparameters(local_sagemaker) == {"url": f"s3://lake/{run.run_id}"}


def test_jinja_in_a_runs_conf_is_not_rendered(local_sagemaker):
    evaluation(local_sagemaker, 0.1)

    run_dag(abalone(), conf={"Url": "{{ var.value.secret }}"})

    assert hyperparameters(local_sagemaker) == {"url": "{{ var.value.secret }}"}


def test_a_failed_job_fails_its_task_and_those_after_it(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data, exit code: 1")

    run = run_dag(abalone())

    assert run.state == "failed"
    assert states(run)["Train"] == "failed"
    assert states(run)["Evaluate"] == "upstream_failed"
