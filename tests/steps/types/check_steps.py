"""Definitions, baselines and packages for the tests of check steps."""

from __future__ import annotations

import json

from tests.steps.types.step_runs import BUCKET

IMAGE = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
GROUP = "abalone"
FLAGS = [(False, False), (False, True), (True, False), (True, True)]


def arguments(*, inputs, output_name, output, environment=None):
    return {
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
        },
        "AppSpecification": {"ImageUri": IMAGE},
        "ProcessingInputs": [
            {
                "InputName": name,
                "AppManaged": False,
                "S3Input": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{name}", "S3DataType": "S3Prefix"},
            }
            for name, uri in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": output_name,
                    "AppManaged": False,
                    "S3Output": {
                        "S3Uri": output,
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    } | ({"Environment": environment} if environment else {})


def quality_check(**keys):
    step = {
        "Name": "Data_Quality",
        "Type": "QualityCheck",
        "Arguments": arguments(
            inputs={"baseline_dataset_input": f"s3://{BUCKET}/data.csv"},
            output_name="quality_check_output",
            output=f"s3://{BUCKET}/dq",
            environment={"output_path": "/opt/ml/processing/output"},
        ),
        "CheckType": "DATA_QUALITY",
    }
    return {**step, **keys}


def clarify_check(**keys):
    step = {
        "Name": "Bias",
        "Type": "ClarifyCheck",
        "Arguments": arguments(
            inputs={
                "analysis_config": f"s3://{BUCKET}/cfg/analysis_config.json",
                "dataset": f"s3://{BUCKET}/data.csv",
            },
            output_name="analysis_result",
            output=f"s3://{BUCKET}/bias",
        ),
        "CheckType": "MODEL_BIAS",
        "ModelPackageGroupName": None,
        "SuppliedBaselineConstraints": f"s3://{BUCKET}/old/analysis.json",
    }
    return {**step, **keys}


def register(endpoint, baselines, *, approval="Approved", group=GROUP):
    """Register a version of a model; returns its ARN."""
    client = endpoint.client("sagemaker")
    if not client.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]:
        client.create_model_package_group(ModelPackageGroupName=group)
    return client.create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus=approval,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        DriftCheckBaselines=baselines,
    )["ModelPackageArn"]


def quality_baseline(folder, part="ModelDataQuality"):
    def source(name):
        return {"ContentType": "application/json", "S3Uri": f"s3://{BUCKET}/{folder}/{name}.json"}

    return {part: {"Statistics": source("statistics"), "Constraints": source("constraints")}}


def report(output, violations):
    """Return a rule that lets the job leave a violation report."""
    return {"kind": "Processing", "outputs": {output: {"constraint_violations.json": {"violations": violations}}}}


def job_of(endpoint, state):
    return endpoint.client("sagemaker").describe_processing_job(ProcessingJobName=state.handle["name"])


def inputs_of(job):
    return {item["InputName"]: item["S3Input"] for item in job["ProcessingInputs"]}


def jobs(endpoint):
    return endpoint.client("sagemaker").list_processing_jobs()["ProcessingJobSummaries"]


def put_json(endpoint, key, document):
    endpoint.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(document).encode())


def get_json(endpoint, uri):
    bucket_name, _, key = uri.removeprefix("s3://").partition("/")
    return json.loads(endpoint.client("s3").get_object(Bucket=bucket_name, Key=key)["Body"].read())
