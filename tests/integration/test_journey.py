"""From a definition to a finished run, against the local endpoint over HTTP."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines import pipeline_dag
from tests.airflow_dags import run_dag, states

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
BUCKET = "sagemaker-us-east-1-123456789012"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


def processing(name, **keys):
    output = {
        "OutputName": "out",
        "S3Output": {
            "S3Uri": f"s3://{BUCKET}/{name}",
            "LocalPath": "/opt/ml/processing/out",
            "S3UploadMode": "EndOfJob",
        },
    }
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "ProcessingResources": {"ClusterConfig": CLUSTER},
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "x.py"]},
            "ProcessingOutputConfig": {"Outputs": [output]},
        },
        "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "evaluation.json"}],
    } | keys


def training(name, **keys):
    return {
        "Name": name,
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": IMAGE},
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/model"},
            "ResourceConfig": CLUSTER,
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "HyperParameters": {"url": {"Get": "Parameters.Url"}},
        },
    } | keys


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


def definition():
    taken = [register("Register"), model("Create"), transform("Score", "Create")]
    return {
        "Version": "2020-12-01",
        "Parameters": PARAMETERS,
        "Steps": [
            condition(taken, [FAIL]),
            processing("Evaluate", DependsOn=["Train"]),
            training("Train"),
        ],
    }


def dag_of(document, **arguments):
    return pipeline_dag("abalone", document, role_arn=ROLE, poll_interval=0.2, **arguments)


def evaluation(local_sagemaker, rmse):
    local_sagemaker.rule(kind="Processing", outputs={"out": {"evaluation.json": {"metrics": {"rmse": rmse}}}})


def hyperparameters(local_sagemaker):
    client = local_sagemaker.client("sagemaker")
    (job,) = client.list_training_jobs()["TrainingJobSummaries"]
    return client.describe_training_job(TrainingJobName=job["TrainingJobName"])["HyperParameters"]


def test_a_good_model_is_registered_and_used(local_sagemaker):
    evaluation(local_sagemaker, 0.4)

    run = run_dag(dag_of(definition()))

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

    run = run_dag(dag_of(definition()))

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
    dag = dag_of(definition(), parameters={"Threshold": 0.1, "Url": "s3://lake/{{ dag_run.run_id }}"})

    run = run_dag(dag, conf={"Threshold": 0.9})

    assert run.state == "success"
    assert hyperparameters(local_sagemaker) == {"url": f"s3://lake/{run.run_id}"}


def test_jinja_in_a_runs_conf_is_not_rendered(local_sagemaker):
    evaluation(local_sagemaker, 0.1)

    run_dag(dag_of(definition()), conf={"Url": "{{ var.value.secret }}"})

    assert hyperparameters(local_sagemaker) == {"url": "{{ var.value.secret }}"}


def test_a_failed_job_fails_its_task_and_those_after_it(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data, exit code: 1")

    run = run_dag(dag_of(definition()))

    assert run.state == "failed"
    assert states(run)["Train"] == "failed"
    assert states(run)["Evaluate"] == "upstream_failed"
