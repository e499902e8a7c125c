"""Every Describe and List answer is what botocore's own service model says, to the last member."""

from __future__ import annotations

import json

import pytest
from endpoint_support import (
    auto_ml_request,
    auto_ml_v2_request,
    create_endpoint_config,
    create_model,
    package_request,
    processing_request,
    training_request,
    transform_request,
    tuning_request,
    until,
)

from airflow_sagemaker_pipelines.local.kinds import KINDS
from airflow_sagemaker_pipelines.local.operations import operations
from airflow_sagemaker_pipelines.local.service_model import sagemaker_model

# AWS leaves the name of a versioned package out, although the model calls it required.
ABSENT = {"describe_model_package: ModelPackageName is missing"}
SCALARS = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


def violations(shape, value, path):
    if shape.type_name == "structure":
        for name in set(value) - set(shape.members):
            yield f"{path}: {name} is unknown"
        for name in set(shape.required_members) - set(value):
            yield f"{path}: {name} is missing"
        for name in set(value) & set(shape.members):
            yield from violations(shape.members[name], value[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from violations(shape.member, item, f"{path}[{index}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from violations(shape.value, item, f"{path}[{key}]")
    elif not isinstance(value, SCALARS[shape.type_name]):
        yield f"{path}: {value!r} is no {shape.type_name}"
    elif shape.metadata.get("enum") and value not in shape.metadata["enum"]:
        yield f"{path}: {value!r} is not in the enum"


class Checked:
    """A client whose every answer is checked as it comes over the wire, before boto3 drops what it does not know."""

    def __init__(self, client):
        self.client = client
        self.body = b""
        client.meta.events.register("before-parse.sagemaker", self._keep)

    def _keep(self, response_dict, **_):
        self.body = response_dict["body"]

    def __call__(self, method, **request):
        answer = getattr(self.client, method)(**request)
        operation = self.client.meta.method_to_api_mapping[method]
        shape = sagemaker_model().operation_model(operation).output_shape
        found = set(violations(shape, json.loads(self.body), method)) - ABSENT
        assert not found, found
        return answer


@pytest.fixture
def call(local_sagemaker):
    return Checked(local_sagemaker.client("sagemaker"))


# kind -> (create method, request, describe method, list method, list request)
CASES = {
    "Training": ("training_job", training_request, "list_training_jobs"),
    "Processing": ("processing_job", processing_request, "list_processing_jobs"),
    "Transform": ("transform_job", transform_request, "list_transform_jobs"),
    "Tuning": ("hyper_parameter_tuning_job", tuning_request, "list_hyper_parameter_tuning_jobs"),
    "AutoML": ("auto_ml_job", auto_ml_request, "list_auto_ml_jobs"),
    "AutoMLV2": ("auto_ml_job_v2", auto_ml_v2_request, "list_auto_ml_jobs"),
}
NAMES = {
    "Training": "TrainingJobName",
    "Processing": "ProcessingJobName",
    "Transform": "TransformJobName",
    "Tuning": "HyperParameterTuningJobName",
    "AutoML": "AutoMLJobName",
    "AutoMLV2": "AutoMLJobName",
}
OUTCOMES = ("Completed", "Failed", "Stopped")


@pytest.mark.parametrize("kind", CASES)
def test_jobs_answer_in_shape_in_every_status(local_sagemaker, call, s3, kind):
    stem, make, lister = CASES[kind]
    create_model(call.client)
    for outcome in OUTCOMES:
        local_sagemaker.rule(kind=kind, name=f"^{outcome}", outcome=outcome, reason="why")
        request = make(f"{outcome}-1")
        call(f"create_{stem}", **request)
        call(f"describe_{stem}", **{NAMES[kind]: request[NAMES[kind]]})

        def ended(name=request[NAMES[kind]], wanted=outcome):
            answer = call(f"describe_{stem}", **{NAMES[kind]: name})
            return wanted in answer.values()

        until(ended)
    summaries = next(value for value in call(lister).values() if isinstance(value, list))
    assert len(summaries) == len(OUTCOMES)


def test_training_jobs_of_a_tuning_job_answer_in_shape(call):
    call("create_hyper_parameter_tuning_job", **tuning_request())

    def done():
        answer = call("describe_hyper_parameter_tuning_job", HyperParameterTuningJobName="tune-1")
        return answer["HyperParameterTuningJobStatus"] == "Completed"

    until(done)
    children = call("list_training_jobs_for_hyper_parameter_tuning_job", HyperParameterTuningJobName="tune-1")[
        "TrainingJobSummaries"
    ]
    for child in children:
        call("describe_training_job", TrainingJobName=child["TrainingJobName"])


def test_other_resources_answer_in_shape(call):
    create_model(call.client)
    create_endpoint_config(call.client)
    call("create_endpoint", EndpointName="live", EndpointConfigName="config-1")
    call("create_model_package_group", ModelPackageGroupName="group-1", ModelPackageGroupDescription="d")
    arn = call("create_model_package", **package_request())["ModelPackageArn"]
    named = package_request()
    del named["ModelPackageGroupName"]
    call("create_model_package", **named, ModelPackageName="unversioned")
    call("update_model_package", ModelPackageArn=arn, ModelApprovalStatus="Approved")

    call("describe_model", ModelName="model-1")
    call("describe_endpoint_config", EndpointConfigName="config-1")
    call("describe_endpoint", EndpointName="live")
    until(lambda: call("describe_endpoint", EndpointName="live")["EndpointStatus"] == "InService")
    call("describe_model_package_group", ModelPackageGroupName="group-1")
    call("describe_model_package", ModelPackageName=arn)
    call("describe_model_package", ModelPackageName="unversioned")
    for method, more in (
        ("list_models", {}),
        ("list_endpoints", {}),
        ("list_endpoint_configs", {}),
        ("list_model_package_groups", {}),
        ("list_model_packages", {"ModelPackageType": "Both"}),
        ("list_tags", {"ResourceArn": arn}),
        ("search", {"Resource": "ModelPackage"}),
    ):
        call(method, **more)


def test_every_kind_of_the_table_is_covered_here():
    elsewhere = {"Model", "EndpointConfig", "Endpoint", "ModelPackageGroup", "ModelPackage"}

    assert {kind.name for kind in KINDS} == set(CASES) | elsewhere


def test_every_operation_exists_in_the_api():
    assert set(operations()) <= set(sagemaker_model().operation_names)
