"""Pipelines: creating them, versions, aliases, and what is refused."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError
from pipeline_support import (
    BUCKET,
    ROLE,
    compare,
    condition,
    definition,
    fail,
    get,
    join,
    parameter,
    process,
    train,
    until,
)


def refused(code, text):
    return pytest.raises(ClientError, match=rf"\({code}\).*{text}")


def test_a_pipeline_is_described_as_it_was_created(pipelines, sagemaker):
    arn = pipelines.create(
        train("Train"),
        request={
            "PipelineDisplayName": "shown",
            "PipelineDescription": "what it does",
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": 3},
            "Tags": [{"Key": "team", "Value": "ml"}],
        },
    )

    found = sagemaker.describe_pipeline(PipelineName="pipe")

    assert arn == "arn:aws:sagemaker:us-east-1:123456789012:pipeline/pipe"
    assert json.loads(found["PipelineDefinition"])["Steps"][0]["Name"] == "Train"
    assert (found["PipelineDisplayName"], found["PipelineDescription"], found["PipelineStatus"]) == (
        "shown",
        "what it does",
        "Active",
    )
    assert found["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 3}
    assert sagemaker.describe_pipeline(PipelineName=arn)["PipelineArn"] == arn
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "ml"}]


def test_a_definition_can_be_in_s3(pipelines, sagemaker, s3):
    s3.put_object(Bucket=BUCKET, Key="p.json", Body=json.dumps(definition(fail("No"))).encode())
    place = {"Bucket": BUCKET, "ObjectKey": "p.json"}

    sagemaker.create_pipeline(PipelineName="pipe", RoleArn=ROLE, PipelineDefinitionS3Location=place)

    assert json.loads(sagemaker.describe_pipeline(PipelineName="pipe")["PipelineDefinition"])["Steps"]
    with refused("ValidationException", "there is no such object"):
        sagemaker.create_pipeline(
            PipelineName="other", RoleArn=ROLE, PipelineDefinitionS3Location={**place, "ObjectKey": "none"}
        )


def test_creation_is_idempotent_by_its_token_and_names_are_taken_once(pipelines, sagemaker):
    token = {"ClientRequestToken": "t" * 32}
    first = pipelines.create(fail("No"), request=token)

    assert pipelines.create(fail("No"), request=token) == first
    with refused("ValidationException", r"Pipeline with name \(pipe\) already exists"):
        pipelines.create(fail("No"))


def test_an_update_that_changes_the_definition_makes_a_version(pipelines, sagemaker):
    pipelines.create(fail("No"))

    same = pipelines.update(fail("No"), request={"PipelineDescription": "new words"})
    changed = pipelines.update(fail("No", "another message"), request={"PipelineVersionAliases": ["live"]})

    assert (same["PipelineVersionId"], changed["PipelineVersionId"]) == (1, 2)
    versions = sagemaker.list_pipeline_versions(PipelineName="pipe")["PipelineVersionSummaries"]
    assert [version["PipelineVersionId"] for version in versions] == [2, 1]
    assert versions[0]["PipelineVersionAliases"] == ["live"]
    by_alias = sagemaker.describe_pipeline(PipelineName="pipe", PipelineVersionAlias="live")
    assert "another message" in by_alias["PipelineDefinition"]
    assert "it is bad" in sagemaker.describe_pipeline(PipelineName="pipe", PipelineVersionId=1)["PipelineDefinition"]
    with refused("ValidationException", "only with a definition that has changed"):
        pipelines.update(fail("No", "another message"), request={"PipelineVersionAliases": ["b"]})


def test_an_alias_moves_when_its_version_has_let_it_go(pipelines, sagemaker):
    arn = pipelines.create(fail("No"), request={"PipelineVersionAliases": ["live"]})
    pipelines.update(fail("No", "two"))

    def change(number, **operations):
        return sagemaker.update_pipeline_version(
            PipelineArn=arn,
            PipelineVersionId=number,
            PipelineVersionDisplayName=f"v{number}",
            PipelineVersionAliasOperations=operations,
        )

    with refused("ConflictException", "in use by pipeline version 1"):
        change(2, Add=["live"])
    change(1, Remove=["live"])
    change(2, Add=["live", "blue"])

    found = sagemaker.describe_pipeline(PipelineName="pipe", PipelineVersionAlias="live")
    assert (found["PipelineVersionDisplayName"], found["PipelineVersionAliases"]) == ("v2", ["live", "blue"])
    with refused("ValidationException", "not only digits"):
        change(2, Add=["2"])
    with refused("ResourceNotFound", "alias 'gone'"):
        sagemaker.describe_pipeline(PipelineName="pipe", PipelineVersionAlias="gone")


def test_pipelines_are_listed_in_pages_by_prefix(pipelines, sagemaker):
    for name in ("b-1", "b-2", "a-1"):
        pipelines.create(fail("No"), name=name)

    pages = sagemaker.get_paginator("list_pipelines").paginate(
        PipelineNamePrefix="b", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1}
    )

    assert [item["PipelineName"] for page in pages for item in page["PipelineSummaries"]] == ["b-1", "b-2"]


def test_a_pipeline_is_deleted_with_its_executions_but_not_under_a_running_one(local_sagemaker, pipelines, sagemaker):
    local_sagemaker.rule(kind="Training", duration=60)
    pipelines.create(train("Train"))
    arn = pipelines.start()
    pipelines.until_step(arn, "Train")

    with refused("ConflictException", "is running"):
        sagemaker.delete_pipeline(PipelineName="pipe")
    pipelines.stop(arn)
    pipelines.ended(arn)
    sagemaker.delete_pipeline(PipelineName="pipe")

    for ask in (lambda: sagemaker.describe_pipeline(PipelineName="pipe"), lambda: pipelines.describe(arn)):
        with refused("ResourceNotFound", "does not exist"):
            ask()


NUMBER = parameter("N", "Integer", DefaultValue=1)
UNKNOWN_MEMBER = train("T", arguments={"Colour": "red"})
NUMBER_INTO_TEXT = train("T", arguments={"HyperParameters": {"depth": get("Parameters.N")}})
LIST_FOR_OBJECT = train("T", arguments={"ResourceConfig": []})
LONG_TEXT = process("P", arguments={"AppSpecification": {"ImageUri": "i" * 300}})


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([UNKNOWN_MEMBER], "Unable to parse pipeline definition. Unknown Argument member 'Colour'"),
        ([NUMBER_INTO_TEXT], r"Cannot assign property reference \[Parameters.N\] to argument of type String"),
        ([LIST_FOR_OBJECT], "Expecting start of Json Object"),
        ([LONG_TEXT], "Model Validation failed: .*length less than or equal to 255"),
        ([train("T"), train("T")], "the name 'T' is taken by another step"),
        ([train("T", DependsOn=["U"])], "there is no step 'U'"),
        ([train("A", DependsOn=["B"]), train("B", DependsOn=["A"])], "the steps wait for each other"),
        ([fail("No"), train("T", DependsOn=["No"])], "T can not depend on the Fail step 'No'"),
        ([{"Name": "H", "Type": "HubContent", "Arguments": {}}], "steps of type 'HubContent' are not supported"),
    ],
)
def test_definitions_that_aws_refuses_are_refused(pipelines, steps, text):
    with refused("ValidationException", text):
        pipelines.create(*steps, Parameters=[NUMBER])


def test_what_is_not_json_is_refused(sagemaker):
    with refused("ValidationException", "Unable to parse pipeline definition"):
        sagemaker.create_pipeline(PipelineName="p", RoleArn=ROLE, PipelineDefinition="{")
    with refused("ValidationException", "Either Pipeline Definition or"):
        sagemaker.create_pipeline(PipelineName="p", RoleArn=ROLE)
    with refused("ValidationException", "at 'pipelineName' failed to satisfy constraint"):
        sagemaker.create_pipeline(PipelineName="a_b", RoleArn=ROLE, PipelineDefinition="{}")


@pytest.mark.parametrize("checked", [True, False])
def test_arguments_may_be_checked_at_creation_or_at_the_call(pipelines, choose, checked):
    choose(check_arguments=checked)
    if checked:
        with refused("ValidationException", "Unknown Argument member"):
            pipelines.create(train("T", arguments={"ResourceConfig": {"Colour": "red"}}))
    else:
        arn = pipelines.run(train("T", arguments={"HyperParameters": []}))
        assert pipelines.states(arn) == {"T": "Failed"}


IS_TRUE = compare(1, 1)


@pytest.mark.parametrize("allowed", [True, False])
def test_nested_conditions_and_dependencies_on_conditions_may_be_refused(pipelines, choose, allowed):
    choose(nested_conditions=allowed, depends_on_condition=allowed)
    nested = condition("Outer", IS_TRUE, yes=[condition("Inner", IS_TRUE, yes=[fail("No")])])
    dependent = [condition("Check", IS_TRUE), process("P", DependsOn=["Check"])]
    if allowed:
        assert set(pipelines.steps(pipelines.run(nested))) == {"Outer", "Inner", "No"}
        assert pipelines.status(pipelines.run(*dependent, name="other")) == "Succeeded"
        return
    with refused("ValidationException", "Condition step Inner cannot be nested"):
        pipelines.create(nested)
    with refused("ValidationException", "P can not depends on ConditionStep Check"):
        pipelines.create(*dependent)


def test_texts_made_of_numbers_are_accepted_where_numbers_are_not(pipelines):
    arguments = {"HyperParameters": {"depth": join(get("Parameters.N"))}}
    arn = pipelines.run(train("T", arguments=arguments), Parameters=[NUMBER])

    assert until(lambda: pipelines.status(arn)) == "Succeeded"
