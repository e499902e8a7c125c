"""Deploying definitions, and comparing what is deployed, against the local endpoint."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from airflow_sagemaker_pipelines.executions import deployment
from airflow_sagemaker_pipelines.executions.deployment import check_execution, require, upsert
from airflow_sagemaker_pipelines.executions.errors import (
    PipelineCallError,
    PipelineChangedError,
    PipelineRequestError,
)
from tests.executions.deployed import NAME, definition_of, deploy, document, start
from tests.integration.documents import ROLE, processing, training
from tests.steps.types.step_runs import EndpointClients

OTHER_ROLE = "arn:aws:iam::123456789012:role/AnotherRole"


def put(clients, *steps, token="t" * 40, **arguments):
    return upsert(clients, definition_of(*steps), **{"name": NAME, "role_arn": ROLE, "token": token, **arguments})


def described(clients, **version):
    return clients("sagemaker").describe_pipeline(PipelineName=NAME, **version)


def versions(clients):
    listed = clients("sagemaker").list_pipeline_versions(PipelineName=NAME, SortOrder="Ascending")
    return [version["PipelineVersionId"] for version in listed["PipelineVersionSummaries"]]


def writes(local_sagemaker):
    calls = local_sagemaker.calls()
    return calls.get("sagemaker.CreatePipeline", 0), calls.get("sagemaker.UpdatePipeline", 0)


# --- upsert


def test_a_pipeline_that_is_not_there_is_created(clients):
    made = put(clients, processing("Prepare"), description="How old is it?", tags={"team": "sea", "cost": ""})

    found = described(clients)
    assert (made.action, made.arn, made.version_id) == ("created", found["PipelineArn"], None)
    assert json.loads(found["PipelineDefinition"]) == document(processing("Prepare"))
    assert (found["RoleArn"], found["PipelineDescription"]) == (ROLE, "How old is it?")
    tags = clients("sagemaker").list_tags(ResourceArn=made.arn)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "sea", "cost": ""}


def test_a_pipeline_with_another_definition_is_updated(clients):
    put(clients, processing("Prepare"))

    made = put(clients, processing("Prepare"), processing("More"), description="not of one that exists")

    found = described(clients)
    assert (made.action, made.arn, made.version_id) == ("updated", found["PipelineArn"], 2)
    assert json.loads(found["PipelineDefinition"]) == document(processing("Prepare"), processing("More"))
    assert "PipelineDescription" not in found


def test_a_pipeline_with_another_role_is_updated(clients):
    put(clients, processing("Prepare"))

    made = put(clients, processing("Prepare"), role_arn=OTHER_ROLE)

    assert made.action == "updated"
    assert described(clients)["RoleArn"] == OTHER_ROLE
    assert versions(clients) == [1]


@pytest.mark.parametrize("role", [ROLE, None, ""])
def test_a_pipeline_that_is_as_it_should_be_is_left_alone(local_sagemaker, clients, role):
    put(clients, processing("Prepare"))

    assert put(clients, processing("Prepare"), role_arn=role).action == "unchanged"
    assert writes(local_sagemaker) == (1, 0)


def test_an_update_without_a_role_keeps_the_pipelines(clients):
    put(clients, processing("Prepare"))

    assert put(clients, processing("Other"), role_arn=None).action == "updated"
    assert described(clients)["RoleArn"] == ROLE


def test_the_same_definition_in_another_layout_is_no_change(local_sagemaker, clients):
    whole = document(processing("Prepare"), training("Train", DependsOn=["Prepare"]))
    text = json.dumps({key: whole[key] for key in reversed(whole)}, indent=4, sort_keys=True)
    clients("sagemaker").create_pipeline(PipelineName=NAME, PipelineDefinition=text, RoleArn=ROLE)

    made = put(clients, processing("Prepare"), training("Train", DependsOn=["Prepare"]))

    assert made.action == "unchanged"
    assert writes(local_sagemaker) == (1, 0)


def both(local_sagemaker, monkeypatch, *steps):
    """Let two deploy at once: both have looked before either of them writes."""
    together = Barrier(2, timeout=20)
    describe = deployment.describe
    seen = []

    def look(*arguments):
        found = describe(*arguments)
        if len(seen) < 2:
            seen.append(found)
            together.wait()
        return found

    monkeypatch.setattr(deployment, "describe", look)
    with ThreadPoolExecutor(2) as pool:
        one = [pool.submit(put, EndpointClients(local_sagemaker), *steps, token=token * 40) for token in "ab"]
        return [made.result(30) for made in one]


def test_two_that_create_it_at_once_make_one(local_sagemaker, clients, monkeypatch):
    made = both(local_sagemaker, monkeypatch, processing("Prepare"))

    assert sorted(deployed.action for deployed in made) == ["created", "unchanged"]
    assert len({deployed.arn for deployed in made}) == 1
    assert versions(clients) == [1]


def test_two_that_update_it_at_once_make_one_version(local_sagemaker, clients, monkeypatch):
    put(clients, processing("Prepare"))

    made = both(local_sagemaker, monkeypatch, processing("Other"))

    assert [deployed.version_id for deployed in made] == [2, 2]
    assert versions(clients) == [1, 2]


def test_a_creation_whose_answer_was_lost_is_found_by_its_token(local_sagemaker, clients, once):
    local_sagemaker.fault("reset", operation="CreatePipeline", after=True, times=1)
    with pytest.raises(PipelineCallError):
        put(once, processing("Prepare"))

    assert put(clients, processing("Prepare")).action == "unchanged"
    assert versions(clients) == [1]


@pytest.mark.parametrize("role", [None, ""])
def test_a_new_pipeline_needs_a_role(local_sagemaker, clients, role):
    with pytest.raises(PipelineRequestError, match=rf"a new pipeline needs a role: pass role_arn \({NAME}\)"):
        put(clients, processing("Prepare"), role_arn=role)

    assert writes(local_sagemaker) == (0, 0)


def test_a_definition_that_no_request_takes_is_refused_before_any_call(local_sagemaker, clients):
    long = processing("Prepare", arguments={"Environment": {"TEXT": "x" * 1_048_576}})

    with pytest.raises(PipelineRequestError, match=r"has 104\d{4} characters; a request takes 1048576.*S3"):
        put(clients, long)

    assert not local_sagemaker.calls()


def test_what_aws_refuses_is_told_with_its_code(local_sagemaker, once):
    local_sagemaker.fault("error", operation="CreatePipeline", code="ResourceNotFound", message="no such role")

    with pytest.raises(PipelineRequestError) as refused:
        put(once, processing("Prepare"))

    assert str(refused.value) == f"CreatePipeline was refused with ResourceNotFound: no such role ({NAME})"
    assert (refused.value.code, refused.value.resource) == ("ResourceNotFound", NAME)


@pytest.mark.parametrize("operation", ["DescribePipeline", "CreatePipeline", "UpdatePipeline"])
@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "throttle"},
        {"fault": "internal"},
        {"fault": "reset"},
        {"fault": "error", "code": "ResourceLimitExceeded"},
    ],
    ids=["throttled", "internal error", "no answer", "quota"],
)
def test_what_may_pass_is_an_error_of_the_call(local_sagemaker, clients, once, operation, fault):
    if operation == "UpdatePipeline":
        put(clients, processing("Before"))
    local_sagemaker.fault(**fault, operation=operation)

    with pytest.raises(PipelineCallError, match=operation):
        put(once, processing("Prepare"))


@pytest.mark.parametrize("operation", ["DescribePipeline", "CreatePipeline"])
def test_an_answer_that_is_cut_off_is_asked_for_again(local_sagemaker, clients, once, operation):
    if operation == "DescribePipeline":
        put(clients, processing("Prepare"))
    local_sagemaker.fault("truncate", operation=operation, keep=0, content_length="cut", times=1)

    with pytest.raises(PipelineCallError, match=f"{operation} answered without PipelineArn"):
        put(once, processing("Prepare"))

    assert put(clients, processing("Prepare")).action == "unchanged"


# --- require


def test_what_is_required_is_there(clients):
    arn = put(clients, processing("Prepare")).arn

    assert require(clients, definition_of(processing("Prepare")), name=NAME).arn == arn


def test_a_pipeline_that_is_required_but_missing(clients):
    with pytest.raises(PipelineRequestError, match="there is no such pipeline; deploy it, or pass deploy='upsert'"):
        require(clients, definition_of(processing("Prepare")), name=NAME)


def test_a_pipeline_that_differs_from_what_is_required_names_the_steps(local_sagemaker, clients):
    deploy(local_sagemaker, processing("Same"), processing("Old"), training("Edited"))
    wanted = definition_of(processing("Same"), processing("New"), training("Edited", DependsOn=["Same"]))

    with pytest.raises(PipelineChangedError, match="changed: Edited; added: New; removed: Old") as differs:
        require(clients, wanted, name=NAME)

    assert differs.value.resource == NAME


def test_a_pipeline_may_differ_in_its_parameters_alone(local_sagemaker, clients):
    deploy(local_sagemaker, processing("Same"), Parameters=[{"Name": "Day", "Type": "String"}])

    with pytest.raises(PipelineChangedError, match="no step, but its parameters or settings"):
        require(clients, definition_of(processing("Same")), name=NAME)


def test_a_version_or_an_alias_counts_instead_of_the_latest(local_sagemaker, clients):
    deploy(local_sagemaker, processing("First"))
    deploy(local_sagemaker, processing("Second"))
    clients("sagemaker").update_pipeline_version(
        PipelineArn=described(clients)["PipelineArn"],
        PipelineVersionId=1,
        PipelineVersionAliasOperations={"Add": ["prod"]},
    )
    wanted = definition_of(processing("First"))

    require(clients, wanted, name=NAME, version={"PipelineVersionId": 1})
    require(clients, wanted, name=NAME, version={"PipelineVersionAlias": "prod"})
    for version in (None, {"PipelineVersionId": 2}):
        with pytest.raises(PipelineChangedError, match="added: First; removed: Second"):
            require(clients, wanted, name=NAME, version=version)


@pytest.mark.parametrize(
    ("version", "said"), [({"PipelineVersionId": 9}, "9"), ({"PipelineVersionAlias": "prod"}, "'prod'")]
)
def test_a_version_that_is_missing_is_told_from_a_missing_pipeline(clients, version, said):
    put(clients, processing("Prepare"))

    with pytest.raises(PipelineRequestError, match=f"there is no such pipeline, or it has no version {said}"):
        require(clients, definition_of(processing("Prepare")), name=NAME, version=version)


# --- executions


def test_an_execution_of_the_definition_is_in_order_whatever_became_of_the_pipeline(local_sagemaker, clients):
    arn = start(local_sagemaker, processing("Prepare"))
    deploy(local_sagemaker, processing("Other"))

    check_execution(clients, definition_of(processing("Prepare")), arn)


def test_an_execution_of_another_definition_names_the_steps(local_sagemaker, clients):
    arn = start(local_sagemaker, processing("Prepare"), processing("Extra"))

    with pytest.raises(PipelineChangedError, match=r"another definition than the DAG's.*removed: Extra") as differs:
        check_execution(clients, definition_of(processing("Prepare")), arn)

    assert differs.value.resource == arn


def test_an_execution_that_aws_does_not_know(clients):
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{NAME}/execution/abcdefghijkl"

    with pytest.raises(PipelineRequestError, match="DescribePipelineDefinitionForExecution was refused"):
        check_execution(clients, definition_of(processing("Prepare")), arn)


@pytest.mark.parametrize("text", ['{"Version": "2031-01-01", "Steps": [{"Type": "Dream"}]}', "no JSON", "{"])
def test_a_definition_that_we_cannot_read_is_another_one(text):
    assert not deployment.same_definition(definition_of(processing("Prepare")), text)
    assert deployment.changes_from(definition_of(processing("Prepare")), text) == "it is not known which steps"


def test_an_answer_about_an_execution_that_is_cut_off_is_no_difference(local_sagemaker, once):
    arn = start(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault(
        "truncate", operation="DescribePipelineDefinitionForExecution", keep=0, content_length="cut", times=1
    )

    with pytest.raises(PipelineCallError, match="without PipelineDefinition"):
        check_execution(once, definition_of(processing("Prepare")), arn)
