"""What the metadata of a step names."""

from __future__ import annotations

import botocore.session
import pytest

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineRequestError
from airflow_sagemaker_pipelines.executions.resources import JOBS, described, resource_of
from airflow_sagemaker_pipelines.executions.snapshot import StepRecord, read_steps
from airflow_sagemaker_pipelines.steps.registry import runner_of
from tests.executions.deployed import run
from tests.integration.documents import processing, training

ARN = "arn:aws:sagemaker:us-east-1:123456789012:"
CLUSTER = {"ClusterId": "j-1", "StepId": "s-1", "StepName": "Spark", "LogFilePath": "s3://l"}
RUN = {"ApplicationId": "app", "JobRunId": "run", "JobRunName": "Spark", "LogFilePath": "s3://l"}


def record(member, values, **entry):
    return StepRecord({"StepName": "Step", "StepStatus": "Succeeded", "Metadata": {member: values}, **entry})


#: By the member of the metadata: what a step of the kind shows, and what it stands for.
MADE = {
    "ProcessingJob": ({"Arn": f"{ARN}processing-job/p-1"}, StepType.PROCESSING, {"name": "p-1"}),
    "TrainingJob": ({"Arn": f"{ARN}training-job/t-1"}, StepType.TRAINING, {"name": "t-1"}),
    "TransformJob": ({"Arn": f"{ARN}transform-job/t-1"}, StepType.TRANSFORM, {"name": "t-1"}),
    "TuningJob": ({"Arn": f"{ARN}hyper-parameter-tuning-job/h-1"}, StepType.TUNING, {"name": "h-1"}),
    "AutoMLJob": ({"Arn": f"{ARN}automl-job/a-1"}, StepType.AUTO_ML, {"name": "a-1"}),
    "QualityCheck": ({"CheckType": "X", "CheckJobArn": f"{ARN}processing-job/q"}, StepType.PROCESSING, {"name": "q"}),
    "ClarifyCheck": ({"CheckType": "X", "CheckJobArn": f"{ARN}processing-job/c"}, StepType.PROCESSING, {"name": "c"}),
    "Model": ({"Arn": f"{ARN}model/m-1"}, StepType.MODEL, {"name": "m-1"}),
    "RegisterModel": (
        {"Arn": f"{ARN}model-package/group/7"},
        StepType.REGISTER_MODEL,
        {"name": f"{ARN}model-package/group/7"},
    ),
    "EndpointConfig": ({"Arn": f"{ARN}endpoint-config/e"}, StepType.ENDPOINT_CONFIG, {"name": "e"}),
    "Endpoint": ({"Arn": f"{ARN}endpoint/live"}, StepType.ENDPOINT, {"name": "live"}),
    "InferenceComponent": ({"Arn": f"{ARN}inference-component/i"}, StepType.INFERENCE_COMPONENT, {"name": "i"}),
    "EMR": (CLUSTER, StepType.EMR, {"cluster": "j-1", "step": "s-1", "name": "Spark", "own_cluster": False}),
    "EMRServerless": (RUN, StepType.EMR_SERVERLESS, {"application": "app", "run": "run", "name": "Spark"}),
}
#: Those of which AWS has nothing to describe, or for which the entry says all there is.
NOTHING = {
    "Condition": {"Outcome": "True"},
    "Callback": {"CallbackToken": "t"},
    "Lambda": {"Arn": "f"},
    "Fail": {"ErrorMessage": "no"},
    "Lineage": {},
    "Cleanup": {},
    "ForEach": {"InputItemCount": 2},
    # Its category, which DescribeJob wants, is not in the metadata.
    "Job": {"Arn": f"{ARN}job/j-1"},
    # Types of steps that the package does not run.
    "Athena": {"QueryExecutionId": "q"},
    "HubContent": {"HubArn": "h"},
    "BedrockCustomModel": {"Arn": "b"},
    "BedrockCustomModelDeployment": {"Arn": "b"},
    "BedrockProvisionedModelThroughput": {"Arn": "b"},
    "BedrockModelImport": {"Arn": "b"},
}


@pytest.mark.parametrize("member", MADE)
def test_what_a_step_has_made_is_named_as_its_type_names_it(member):
    values, kind, handle = MADE[member]

    assert resource_of(record(member, values)) == (kind, handle)
    assert runner_of(kind)


@pytest.mark.parametrize("member", NOTHING)
def test_of_other_steps_there_is_nothing_to_describe(member):
    assert resource_of(record(member, NOTHING[member])) is None


def test_every_member_that_botocore_knows_is_accounted_for():
    model = botocore.session.get_session().get_service_model("sagemaker")

    assert set(model.shape_for("PipelineExecutionStepMetadata").members) <= set(MADE) | set(NOTHING)


@pytest.mark.parametrize("member", ["TrainingJob", "QualityCheck", "EMR", "EMRServerless"])
def test_a_step_that_has_made_nothing_yet_has_no_resource(member):
    # A check that is skipped has no job; a call that was refused has made nothing.
    assert resource_of(record(member, {})) is None
    assert resource_of(StepRecord({"StepName": "Step"})) is None


def test_only_jobs_are_stopped():
    assert {kind for _, kind, _ in MADE.values()} - JOBS == {
        StepType.MODEL,
        StepType.REGISTER_MODEL,
        StepType.ENDPOINT_CONFIG,
        StepType.ENDPOINT,
        StepType.INFERENCE_COMPONENT,
    }


def test_the_description_is_the_describe_answer_as_json(local_sagemaker, clients):
    steps = read_steps(clients, run(local_sagemaker, processing("Prepare"), training("Train", DependsOn=["Prepare"])))

    assert described(clients, steps["Prepare"])["ProcessingJobStatus"] == "Completed"
    found = described(clients, steps["Train"])
    assert found["ModelArtifacts"]["S3ModelArtifacts"].startswith("s3://")
    assert isinstance(found["CreationTime"], str)


def test_a_step_without_a_resource_has_no_description(local_sagemaker, clients):
    assert described(clients, record("Lambda", {"Arn": "f"})) is None
    assert not local_sagemaker.calls()


def test_a_description_that_is_throttled_may_be_had_later(local_sagemaker, once):
    step = read_steps(once, run(local_sagemaker, training("Train")))["Train"]
    local_sagemaker.fault("throttle", operation="DescribeTrainingJob", times=1)

    with pytest.raises(PipelineCallError):
        described(once, step)
    assert described(once, step)["TrainingJobStatus"] == "Completed"


def test_a_description_that_is_denied_is_refused(local_sagemaker, clients):
    step = read_steps(clients, run(local_sagemaker, training("Train")))["Train"]
    local_sagemaker.fault("denied", operation="DescribeTrainingJob")

    with pytest.raises(PipelineRequestError, match="The call for its description was refused"):
        described(clients, step)
