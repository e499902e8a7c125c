"""What AWS's answers about a model package mean for who waits for its approval."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from airflow_sagemaker_pipelines.steps.approval import decision
from airflow_sagemaker_pipelines.steps.aws import IncompleteAnswerError
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.local.endpoint_support import package_request

ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/abalone/3"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMPLETE = {"ModelPackageArn": ARN, "ModelPackageStatus": "Completed"}


def decision_of(**answer):
    """The decision, when AWS describes a package so."""
    client = SimpleNamespace(describe_model_package=lambda **request: answer)
    return decision(lambda service: client, {"name": ARN})


@pytest.mark.parametrize(
    ("approval", "verdict"),
    [("Approved", Verdict.SUCCEEDED), ("Rejected", Verdict.FAILED), ("PendingManualApproval", Verdict.RUNNING)],
)
def test_a_registered_package_is_what_people_say_of_it(approval, verdict):
    state = decision_of(**COMPLETE, ModelApprovalStatus=approval)

    assert state.verdict is verdict
    assert state.handle == {"name": ARN}


@pytest.mark.parametrize("approval", [{}, {"ModelApprovalStatus": "Sure"}])
def test_a_missing_or_unheard_of_decision_is_none(approval):
    assert not decision_of(**COMPLETE, **approval).verdict.is_final


@pytest.mark.parametrize("status", [{}, {"ModelPackageStatus": "Pending"}, {"ModelPackageStatus": "InProgress"}])
def test_an_approved_package_that_is_not_registered_yet_is_waited_for(status):
    assert not decision_of(ModelPackageArn=ARN, ModelApprovalStatus="Approved", **status).verdict.is_final


@pytest.mark.parametrize("approval", ["Approved", "PendingManualApproval"])
def test_a_package_whose_registration_has_failed_is_not_waited_for(approval):
    details = {"ValidationStatuses": [{"Name": "v", "Status": "Failed", "FailureReason": "no such image"}]}

    state = decision_of(
        ModelPackageArn=ARN,
        ModelPackageStatus="Failed",
        ModelApprovalStatus=approval,
        ModelPackageStatusDetails=details,
    )

    assert (state.verdict, state.reason) == (Verdict.FAILED, "its status is Failed: no such image")


def test_a_package_that_is_being_deleted_is_not_waited_for():
    state = decision_of(ModelPackageArn=ARN, ModelPackageStatus="Deleting", ModelApprovalStatus="PendingManualApproval")

    assert (state.verdict, state.reason) == (Verdict.FAILED, "its status is Deleting")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, ""),
        ({"ApprovalDescription": "biased"}, ": biased"),
        ({"LastModifiedTime": MOMENT}, " (last changed at 2026-01-02T03:04:05.000Z)"),
        (
            {"LastModifiedTime": MOMENT, "LastModifiedBy": {"UserProfileName": "ann", "IamIdentity": {"Arn": "arn:x"}}},
            " (last changed by ann at 2026-01-02T03:04:05.000Z)",
        ),
        (
            {"ApprovalDescription": "bad", "LastModifiedBy": {"IamIdentity": {"Arn": "arn:x"}}},
            ": bad (last changed by arn:x)",
        ),
    ],
)
def test_a_rejection_is_explained_as_far_as_aws_tells(told, said):
    assert decision_of(**COMPLETE, ModelApprovalStatus="Rejected", **told).reason == f"it was rejected{said}"


@pytest.mark.parametrize("answer", [{}, {"ModelPackageStatus": "Completed", "ModelApprovalStatus": "Rejected"}])
def test_an_answer_without_what_each_has_is_no_answer(answer):
    with pytest.raises(IncompleteAnswerError, match="DescribeModelPackage answered without ModelPackageArn"):
        decision_of(**answer)


def test_the_newest_of_many_versions_is_the_last_one(local_sagemaker):
    # More than ten, whose names do not sort by number.
    client = local_sagemaker.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="abalone")
    for _ in range(12):
        last = client.create_model_package(**package_request("abalone", ModelApprovalStatus="Approved"))

    state = decision(lambda service: client, {"group": "abalone", "ignore_pending": False})

    assert state.handle == {"name": last["ModelPackageArn"]}
    assert local_sagemaker.calls()["sagemaker.ListModelPackages"] == 1


def test_a_list_without_its_member_is_no_empty_group():
    pages = SimpleNamespace(paginate=lambda **request: iter([{}]))
    client = SimpleNamespace(get_paginator=lambda operation: pages)

    with pytest.raises(IncompleteAnswerError, match="ListModelPackages answered without ModelPackageSummaryList"):
        decision(lambda service: client, {"group": "abalone", "ignore_pending": False})


def test_a_page_may_be_empty_although_there_are_more():
    summary = {"ModelPackageArn": ARN, "CreationTime": MOMENT}
    pages = [{"ModelPackageSummaryList": []}, {"ModelPackageSummaryList": [summary]}]
    client = SimpleNamespace(
        get_paginator=lambda operation: SimpleNamespace(paginate=lambda **request: iter(pages)),
        describe_model_package=lambda **request: {**COMPLETE, "ModelApprovalStatus": "Approved"},
    )

    assert decision(lambda service: client, {"group": "abalone", "ignore_pending": False}).verdict is Verdict.SUCCEEDED
