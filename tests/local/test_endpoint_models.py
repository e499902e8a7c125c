"""Models, packages, endpoints, tags, search."""

from __future__ import annotations

import threading

import pytest
from botocore.exceptions import ClientError
from endpoint_support import (
    create_endpoint_config,
    create_model,
    package_request,
    training_request,
    wait_endpoint,
    wait_training,
)


@pytest.fixture
def group(sagemaker):
    sagemaker.create_model_package_group(ModelPackageGroupName="group-1")
    return "group-1"


def test_a_model_of_the_same_name_is_refused(sagemaker):
    arn = create_model(sagemaker)

    with pytest.raises(ClientError, match=f'Cannot create already existing model "{arn}"'):
        create_model(sagemaker)


def test_models_are_listed_by_pages_and_name(sagemaker):
    for index in range(3):
        create_model(sagemaker, f"model-{index}")

    page = sagemaker.list_models(NameContains="model-", SortBy="Name", SortOrder="Ascending", MaxResults=2)

    assert [model["ModelName"] for model in page["Models"]] == ["model-0", "model-1"]
    rest = sagemaker.list_models(SortBy="Name", SortOrder="Ascending", NextToken=page["NextToken"])
    assert [model["ModelName"] for model in rest["Models"]] == ["model-2"]


def test_versions_count_up_and_a_deleted_number_is_not_given_again(sagemaker, group):
    first, second = (sagemaker.create_model_package(**package_request())["ModelPackageArn"] for _ in range(2))
    assert first.endswith(":model-package/group-1/1")
    assert second.endswith(":model-package/group-1/2")

    sagemaker.delete_model_package(ModelPackageName=second)

    assert sagemaker.create_model_package(**package_request())["ModelPackageArn"].endswith("/3")


def test_the_same_client_token_makes_one_version(sagemaker, group):
    request = package_request(ClientToken="a" * 36)

    arns = {sagemaker.create_model_package(**request)["ModelPackageArn"] for _ in range(3)}

    assert len(arns) == 1
    assert len(sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]) == 1


def test_concurrent_registrations_lose_no_version(local_sagemaker, sagemaker, group):
    arns = []

    def register():
        client = local_sagemaker.client("sagemaker")
        arns.extend(client.create_model_package(**package_request())["ModelPackageArn"] for _ in range(5))

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(int(arn.rsplit("/", 1)[1]) for arn in arns) == list(range(1, 21))


def test_a_package_needs_its_group(sagemaker):
    with pytest.raises(ClientError) as caught:
        sagemaker.create_model_package(**package_request("nowhere"))

    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "model-package-group/nowhere does not exist" in caught.value.response["Error"]["Message"]


def test_an_update_changes_only_what_it_names(sagemaker, group):
    request = package_request(CustomerMetadataProperties={"a": "1", "b": "2"})
    arn = sagemaker.create_model_package(**request)["ModelPackageArn"]
    sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="looks good"
    )
    sagemaker.update_model_package(
        ModelPackageArn=arn, CustomerMetadataProperties={"c": "3"}, CustomerMetadataPropertiesToRemove=["a"]
    )

    package = sagemaker.describe_model_package(ModelPackageName=arn)

    assert package["ModelApprovalStatus"] == "Approved"
    assert package["ApprovalDescription"] == "looks good"
    assert package["CustomerMetadataProperties"] == {"b": "2", "c": "3"}
    assert package["InferenceSpecification"] == request["InferenceSpecification"]


def test_packages_are_listed_by_approval_newest_first(sagemaker, group):
    for status in ("Approved", "Rejected", "Approved"):
        sagemaker.create_model_package(**package_request(ModelApprovalStatus=status))

    found = sagemaker.list_model_packages(
        ModelPackageGroupName=group, ModelApprovalStatus="Approved", SortOrder="Descending"
    )["ModelPackageSummaryList"]

    assert [package["ModelPackageVersion"] for package in found] == [3, 1]


def test_a_group_with_packages_cannot_be_deleted(sagemaker, group):
    arn = sagemaker.create_model_package(**package_request())["ModelPackageArn"]
    with pytest.raises(sagemaker.exceptions.ConflictException):
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)

    sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)

    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_an_endpoint_is_created_then_updated_to_another_configuration(local_sagemaker, sagemaker):
    create_model(sagemaker)
    create_endpoint_config(sagemaker, "config-1")
    create_endpoint_config(sagemaker, "config-2")
    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="config-1")
    assert sagemaker.describe_endpoint(EndpointName="live")["EndpointStatus"] == "Creating"
    wait_endpoint(sagemaker, "live")
    local_sagemaker.rule(operation="UpdateEndpoint", duration=0.3)

    sagemaker.update_endpoint(EndpointName="live", EndpointConfigName="config-2")

    updating = sagemaker.describe_endpoint(EndpointName="live")
    assert (updating["EndpointStatus"], updating["EndpointConfigName"]) == ("Updating", "config-1")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.update_endpoint(EndpointName="live", EndpointConfigName="config-2")
    assert wait_endpoint(sagemaker, "live")["EndpointConfigName"] == "config-2"


def test_a_failed_update_rolls_back_and_says_why(local_sagemaker, sagemaker):
    create_model(sagemaker)
    create_endpoint_config(sagemaker, "config-1")
    create_endpoint_config(sagemaker, "config-2")
    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="config-1")
    wait_endpoint(sagemaker, "live")
    local_sagemaker.rule(operation="UpdateEndpoint", outcome="Failed", reason="ping failed")

    sagemaker.update_endpoint(EndpointName="live", EndpointConfigName="config-2")

    endpoint = wait_endpoint(sagemaker, "live")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "config-1")
    assert endpoint["FailureReason"] == "ping failed"


def test_an_endpoint_that_fails_to_start_is_failed(local_sagemaker, sagemaker):
    create_model(sagemaker)
    create_endpoint_config(sagemaker)
    local_sagemaker.rule(kind="Endpoint", outcome="Failed", reason="no capacity")

    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="config-1")

    endpoint = wait_endpoint(sagemaker, "live")
    assert (endpoint["EndpointStatus"], endpoint["FailureReason"]) == ("Failed", "no capacity")


def test_weights_change_in_place(sagemaker):
    create_model(sagemaker)
    create_endpoint_config(sagemaker)
    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="config-1")
    wait_endpoint(sagemaker, "live")

    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="live",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}],
    )

    variant = wait_endpoint(sagemaker, "live")["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["CurrentWeight"]) == (3, 1.0)


def test_configurations_and_endpoints_need_what_they_name(sagemaker):
    with pytest.raises(ClientError, match="Could not find model"):
        create_endpoint_config(sagemaker)
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="none")


def test_tags_are_given_changed_and_taken(sagemaker):
    request = training_request(Tags=[{"Key": "team", "Value": "a"}])
    arn = sagemaker.create_training_job(**request)["TrainingJobArn"]

    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "run", "Value": "1"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["run"])

    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "b"}]


def test_search_finds_by_member_tag_and_metric(local_sagemaker, sagemaker):
    local_sagemaker.rule(name="good", metrics={"auc": 0.9})
    local_sagemaker.rule(metrics={"auc": 0.1})
    for name in ("good", "poor"):
        sagemaker.create_training_job(**training_request(name, Tags=[{"Key": "name", "Value": name}]))
        wait_training(sagemaker, name)

    def found(*filters):
        expression = {"Filters": [dict(zip(("Name", "Operator", "Value"), item, strict=True)) for item in filters]}
        answer = sagemaker.search(Resource="TrainingJob", SearchExpression=expression)
        return [result["TrainingJob"]["TrainingJobName"] for result in answer["Results"]]

    assert found(("TrainingJobStatus", "Equals", "Completed")) == ["poor", "good"]
    assert found(("Tags.name", "Equals", "good")) == ["good"]
    assert found(("Metrics.auc", "GreaterThan", "0.5")) == ["good"]
