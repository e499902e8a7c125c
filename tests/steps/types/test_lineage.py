"""Lineage steps."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_run_support import begin, check_request, outputs_of, raw_answer, step_run

FAULT = b'{"__type": "ThrottlingException", "message": "slow down"}'
ARTIFACT_ARN = "arn:aws:sagemaker:us-east-1:123456789012:artifact/0123abcd"


def entities(**more):
    return {
        "Actions": [
            {
                "ActionName": {"Get": "Execution.PipelineExecutionId"},
                "ActionType": "Evaluation",
                "Source": {"SourceUri": "s3://b/run", "SourceType": None},
            }
        ],
        "Artifacts": [{"ArtifactName": "art", "ArtifactType": "Model", "Source": {"SourceUri": "s3://b/m"}}],
        "Contexts": [
            {
                "ContextName": "ctx",
                "ContextType": "PipelineExecution",
                "Source": {"SourceUri": {"Get": "Execution.PipelineExecutionArn"}},
            }
        ],
        "Associations": [
            {
                "Source": {"Name": {"Get": "Execution.PipelineExecutionId"}, "Type": "Action"},
                "Destination": {"Name": "art", "Type": "Artifact"},
                "AssociationType": "Produced",
            },
            {"Source": {"Arn": ARTIFACT_ARN}, "Destination": {"Name": "ctx", "Type": "Context"}},
        ],
    } | more


def lineage(arguments=None):
    return {"Name": "Lineage", "Type": "Lineage", "Arguments": arguments or entities()}


def counts(local_sagemaker):
    client = local_sagemaker.client("sagemaker")
    return [
        len(client.list_actions()["ActionSummaries"]),
        len(client.list_artifacts()["ArtifactSummaries"]),
        len(client.list_contexts()["ContextSummaries"]),
        len(client.list_associations()["AssociationSummaries"]),
    ]


def test_the_entities_requests_fit_the_api(local_sagemaker):
    run = step_run(local_sagemaker, lineage())

    request = runner_of(run.step.type).request(run)

    for kind in ("Action", "Artifact", "Context"):
        for entity in request[f"{kind}s"]:
            check_request(f"Create{kind}", entity)


def test_outputs_are_arns_by_name_and_the_ends_of_the_associations(local_sagemaker):
    run = step_run(local_sagemaker, lineage())

    state = begin(run)

    assert state.verdict is Verdict.SUCCEEDED
    outputs = outputs_of(run, state)
    name = run.identity.execution_id
    action, artifact, context = (
        outputs["ActionArns"][name],
        outputs["ArtifactArns"]["art"],
        outputs["ContextArns"]["ctx"],
    )
    assert outputs["Associations"] == [
        {"SourceArn": action, "DestinationArn": artifact},
        {"SourceArn": ARTIFACT_ARN, "DestinationArn": context},
    ]
    client = local_sagemaker.client("sagemaker")
    assert client.describe_action(ActionName=name)["ActionArn"] == action
    assert client.describe_artifact(ArtifactArn=artifact)["ArtifactName"] == "art"
    (edge,) = client.list_associations(SourceArn=action)["AssociationSummaries"]
    assert (edge["DestinationName"], edge["AssociationType"]) == ("art", "Produced")


def test_a_second_start_finds_what_the_first_has_made(local_sagemaker):
    first, second = (begin(step_run(local_sagemaker, lineage())) for _ in range(2))

    assert first.description == second.description
    assert counts(local_sagemaker) == [1, 1, 1, 2]


def test_a_retry_goes_on_where_an_earlier_try_ended(local_sagemaker):
    begin(step_run(local_sagemaker, lineage(entities(Associations=[]) | {"Contexts": []})))

    begin(step_run(local_sagemaker, lineage()))

    assert counts(local_sagemaker) == [1, 1, 1, 2]


def test_artifacts_of_one_source_and_different_names_are_two(local_sagemaker):
    source = {"ArtifactType": "Model", "Source": {"SourceUri": "s3://b/m"}}
    arguments = {"Artifacts": [{"ArtifactName": name, **source} for name in ("a", "b")]}

    outputs = begin(step_run(local_sagemaker, lineage(arguments))).description

    assert outputs["ArtifactArns"]["a"] != outputs["ArtifactArns"]["b"]


def test_an_association_with_a_stranger_fails_before_anything_is_made(local_sagemaker):
    stranger = {"Source": {"Name": "nobody", "Type": "Action"}, "Destination": {"Name": "art", "Type": "Artifact"}}

    with pytest.raises(StepRequestError, match="Action 'nobody', which this step does not make"):
        begin(step_run(local_sagemaker, lineage(entities(Associations=[stranger]))))

    assert counts(local_sagemaker) == [0, 0, 0, 0]


def test_an_association_with_an_action_that_does_not_exist_fails(local_sagemaker):
    missing = {"Arn": ARTIFACT_ARN.replace("artifact/0123abcd", "action/nobody")}
    edge = {"Source": missing, "Destination": {"Name": "art", "Type": "Artifact"}}

    with pytest.raises(StepRequestError, match="AddAssociation was refused with ResourceNotFound"):
        begin(step_run(local_sagemaker, lineage(entities(Associations=[edge]))))


def test_a_fault_of_the_service_may_be_retried(local_sagemaker):
    run = step_run(local_sagemaker, lineage())
    client = run.clients("sagemaker")
    client.meta.events.register("before-send.sagemaker.CreateContext", lambda **_: raw_answer(FAULT, 400))

    with pytest.raises(StepCallError, match="CreateContext was refused with ThrottlingException"):
        begin(run)
