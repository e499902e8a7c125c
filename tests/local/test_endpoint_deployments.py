"""Inference components, lineage and the jobs of CreateJob; every answer in the shape that botocore's model gives."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from endpoint_support import ROLE, create_endpoint_config, create_model, until
from test_endpoint_contract import Checked

REQUIREMENTS = {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 1024}
JOB = {
    "JobName": "job-1",
    "RoleArn": ROLE,
    "JobCategory": "AgentRFTEvaluation",
    "JobConfigSchemaVersion": "1.0.0",
    "JobConfigDocument": "{}",
}
KEY = {"JobName": "job-1", "JobCategory": "AgentRFTEvaluation"}
SOURCE = {"SourceUri": "s3://b/m"}


@pytest.fixture
def call(sagemaker):
    return Checked(sagemaker)


@pytest.fixture
def endpoint(sagemaker):
    for name in ("model-1", "model-2"):
        create_model(sagemaker, name)
    create_endpoint_config(sagemaker)
    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="config-1")


def component(**more):
    return {
        "InferenceComponentName": "ic",
        "EndpointName": "live",
        "VariantName": "AllTraffic",
        "Specification": {"ModelName": "model-1", "ComputeResourceRequirements": REQUIREMENTS},
        "RuntimeConfig": {"CopyCount": 2},
        **more,
    }


def wait_component(call, status="InService"):
    return until(
        lambda: call("describe_inference_component", InferenceComponentName="ic"),
        lambda answer: answer["InferenceComponentStatus"] == status,
    )


def test_a_component_comes_into_service_with_its_copies(call, endpoint):
    call("create_inference_component", **component())
    assert call("describe_inference_component", InferenceComponentName="ic")["InferenceComponentStatus"] == "Creating"

    answer = wait_component(call)

    assert answer["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
    assert answer["EndpointArn"].endswith(":endpoint/live")
    (entry,) = call("list_inference_components", StatusEquals="InService")["InferenceComponents"]
    assert entry["InferenceComponentName"] == "ic"


def test_the_image_of_a_component_is_described_as_deployed(call, endpoint):
    call("create_inference_component", **component(Specification={"Container": {"Image": "i:1"}}))

    answer = call("describe_inference_component", InferenceComponentName="ic")

    assert answer["Specification"]["Container"]["DeployedImage"]["SpecifiedImage"] == "i:1"


def test_a_component_is_updated_and_not_while_it_is(call, endpoint):
    call("create_inference_component", **component())
    wait_component(call)
    changed = {"InferenceComponentName": "ic", "Specification": {"ModelName": "model-2"}}

    call("update_inference_component", **changed)

    with pytest.raises(ClientError, match="in-progress"):
        call("update_inference_component", **changed)
    assert wait_component(call)["Specification"]["ModelName"] == "model-2"


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("deployment", "status", "serves"), [(False, "Failed", "model-2"), (True, "InService", "model-1")]
)
def test_a_failed_update_is_rolled_back_if_it_says_so(local_sagemaker, call, deployment, status, serves):
    call("create_inference_component", **component())
    wait_component(call)
    policy = {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0}
    rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}, "RollingUpdatePolicy": policy}
    local_sagemaker.rule(operation="UpdateInferenceComponent", outcome="Failed", reason="alarm")

    call(
        "update_inference_component",
        InferenceComponentName="ic",
        Specification={"ModelName": "model-2"},
        **({"DeploymentConfig": rollback} if deployment else {}),
    )

    answer = wait_component(call, status)
    assert (answer["Specification"]["ModelName"], answer["FailureReason"]) == (serves, "alarm")


@pytest.mark.parametrize(
    "more", [{"EndpointName": "nowhere"}, {"Specification": {"ModelName": "nothing"}}, {"VariantName": "a_b"}]
)
def test_a_component_that_cannot_be_is_refused(call, endpoint, more):
    with pytest.raises(ClientError, match="ValidationException"):
        call("create_inference_component", **component(**more))


def test_an_endpoint_tells_what_it_is_about_to_serve(call, endpoint):
    def described():
        return call("describe_endpoint", EndpointName="live")

    assert described()["PendingDeploymentSummary"]["EndpointConfigName"] == "config-1"
    until(lambda: described()["EndpointStatus"] == "InService")
    assert "PendingDeploymentSummary" not in described()
    create_endpoint_config(call.client, "config-2")
    call("update_endpoint", EndpointName="live", EndpointConfigName="config-2")

    answer = described()

    assert answer["EndpointConfigName"] == "config-1"
    assert answer["PendingDeploymentSummary"]["EndpointConfigName"] == "config-2"


def test_a_failed_endpoint_cannot_be_updated_but_deleted(local_sagemaker, call, sagemaker):
    local_sagemaker.rule(kind="Endpoint", outcome="Failed", reason="no capacity")
    create_model(sagemaker)
    create_endpoint_config(sagemaker)
    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="config-1")
    until(lambda: call("describe_endpoint", EndpointName="live")["EndpointStatus"] == "Failed")

    with pytest.raises(ClientError, match="Cannot update failed endpoint"):
        sagemaker.update_endpoint(EndpointName="live", EndpointConfigName="config-1")

    sagemaker.delete_endpoint(EndpointName="live")


@pytest.mark.parametrize("outcome", ["Completed", "Failed", "Stopped"])
def test_a_job_of_a_category_comes_to_its_end(local_sagemaker, call, outcome):
    local_sagemaker.rule(kind="Job", outcome=outcome, reason="why")

    arn = call("create_job", **JOB)["JobArn"]

    assert arn.endswith(":job/agentrftevaluation/job-1")
    until(lambda: call("describe_job", **KEY), lambda answer: answer["JobStatus"] == outcome)
    (entry,) = call("list_jobs", JobCategory="AgentRFTEvaluation")["JobSummaries"]
    assert entry["JobStatus"] == outcome
    assert call("list_jobs", JobCategory="AgentRFT")["JobSummaries"] == []


def test_a_job_is_found_in_its_category_only_and_made_once(call):
    call("create_job", **JOB)

    with pytest.raises(ClientError, match="ResourceInUse"):
        call("create_job", **JOB)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        call("describe_job", JobName="job-1", JobCategory="AgentRFT")


def test_a_job_can_be_stopped(local_sagemaker, call):
    local_sagemaker.rule(kind="Job", duration=60)
    call("create_job", **JOB)

    call.client.stop_job(**KEY)

    until(lambda: call("describe_job", **KEY)["JobStatus"] == "Stopped")


def entities(call):
    action = call("create_action", ActionName="act", ActionType="Training", Source=SOURCE)["ActionArn"]
    context = call("create_context", ContextName="ctx", ContextType="Run", Source=SOURCE)["ContextArn"]
    artifact = call("create_artifact", ArtifactName="art", ArtifactType="Model", Source=SOURCE)["ArtifactArn"]
    return action, context, artifact


def test_entities_are_described_and_listed(call):
    action, context, artifact = entities(call)

    assert call("describe_action", ActionName=action)["ActionName"] == "act"
    assert call("describe_context", ContextName="ctx")["ContextArn"] == context
    assert call("describe_artifact", ArtifactArn=artifact)["ArtifactName"] == "art"
    assert [entry["ActionName"] for entry in call("list_actions", ActionType="Training")["ActionSummaries"]] == ["act"]
    assert call("list_contexts", ContextType="Other")["ContextSummaries"] == []
    assert len(call("list_artifacts", SourceUri="s3://b/m")["ArtifactSummaries"]) == 1
    assert call("list_artifacts", SourceUri="s3://b/n")["ArtifactSummaries"] == []


def test_names_of_actions_are_unique_and_artifacts_of_one_source_are_one(call):
    *_, artifact = entities(call)

    with pytest.raises(ClientError, match="already exists"):
        call("create_action", ActionName="act", ActionType="Training", Source=SOURCE)
    again = call("create_artifact", ArtifactName="art", ArtifactType="Model", Source=SOURCE)
    assert again["ArtifactArn"] == artifact


def test_associations_are_made_once_and_listed_by_their_ends(call):
    action, context, artifact = entities(call)
    call("add_association", SourceArn=action, DestinationArn=artifact, AssociationType="Produced")
    call("add_association", SourceArn=action, DestinationArn=context)

    with pytest.raises(ClientError, match="already exists"):
        call("add_association", SourceArn=action, DestinationArn=artifact)

    assert len(call("list_associations", SourceArn=action)["AssociationSummaries"]) == 2
    (edge,) = call("list_associations", AssociationType="Produced")["AssociationSummaries"]
    assert (edge["SourceName"], edge["SourceType"], edge["DestinationName"]) == ("act", "Training", "art")
    page = call("list_associations", MaxResults=1, SortBy="DestinationArn", SortOrder="Ascending")
    rest = call("list_associations", SortBy="DestinationArn", SortOrder="Ascending", NextToken=page["NextToken"])
    ends = [edge["DestinationArn"] for answer in (page, rest) for edge in answer["AssociationSummaries"]]
    assert ends == sorted([artifact, context])


def test_an_association_with_an_unknown_action_is_refused(call):
    _, _, artifact = entities(call)

    with pytest.raises(ClientError, match="ResourceNotFound"):
        call("add_association", SourceArn=artifact.replace("artifact/", "action/"), DestinationArn=artifact)


def test_a_reset_forgets_associations(local_sagemaker, call):
    action, context, _ = entities(call)
    call("add_association", SourceArn=action, DestinationArn=context)

    local_sagemaker.reset()

    assert call("list_associations")["AssociationSummaries"] == []
