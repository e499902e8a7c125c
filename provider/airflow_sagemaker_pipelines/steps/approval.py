"""The decision about a model package: whether people, or what they leave it to, approve of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_sagemaker_pipelines.steps.aws import Clients, required
from airflow_sagemaker_pipelines.steps.runner import Handle, State
from airflow_sagemaker_pipelines.steps.status import VERDICTS, Verdict, verdict
from airflow_sagemaker_pipelines.steps.types.register_model import RegisterModel

_SHAPE = "ModelApprovalStatus"
_DECIDED = tuple(status for status, meaning in VERDICTS[_SHAPE].items() if meaning.is_final)


def decision(clients: Clients, handle: Handle) -> State:
    """Ask AWS for the decision about a model package.

    :param handle: ``{"name": …}``, the ARN of a version; or ``{"group": …, "ignore_pending": …}``: whichever version
        of a group, by its name or ARN, is the newest at the moment, or the newest that is decided about.
    :returns: its verdict is ``SUCCEEDED`` for an approved version, ``FAILED`` for one that is rejected, or can no more
        be approved since its registration has failed. Its handle names the version once it is final.
    :raises IncompleteAnswerError: if an answer lacks what it must have, as a truncated one does.
    """
    name = handle.get("name") or _newest(clients, handle["group"], is_decided=handle["ignore_pending"])
    if name is None:
        return State(handle=handle, verdict=Verdict.RUNNING)
    package = RegisterModel().poll(clients, {"name": name})
    required(package.description, "ModelPackageArn", "DescribeModelPackage")
    judged, reason = _judge(package)
    return State(
        handle={"name": name} if judged.is_final else handle,
        verdict=judged,
        description=package.description,
        reason=reason,
    )


def _judge(package: State) -> tuple[Verdict, str | None]:
    decided = verdict(_SHAPE, package.description.get(_SHAPE))
    if decided is Verdict.FAILED:
        return decided, f"it was rejected{_explanation(package.description)}"
    # Nobody can approve of what was not registered.
    if package.verdict in {Verdict.FAILED, Verdict.STOPPED}:
        status = package.description["ModelPackageStatus"]
        return Verdict.FAILED, f"its status is {status}" + (f": {package.reason}" if package.reason else "")
    return (decided if package.verdict is Verdict.SUCCEEDED else package.verdict), None


def _explanation(package: Mapping[str, Any]) -> str:
    """Say why, by whom and when, as far as AWS tells; the last change need not be the decision."""
    text = f": {package['ApprovalDescription']}" if package.get("ApprovalDescription") else ""
    by = package.get("LastModifiedBy") or {}
    changed = {
        "by": by.get("UserProfileName") or (by.get("IamIdentity") or {}).get("Arn"),
        "at": package.get("LastModifiedTime"),
    }
    known = [f"{word} {value}" for word, value in changed.items() if value]
    return f"{text} (last changed {' '.join(known)})" if known else text


def _newest(clients: Clients, group: str, *, is_decided: bool) -> str | None:
    """Return the ARN of a group's newest version, ``None`` if there is none.

    AWS filters by one status, so that those that are decided about take a call for each decision.
    """
    filters: list[dict[str, str]] = [{_SHAPE: status} for status in _DECIDED] if is_decided else [{}]
    found = [package for each in filters if (package := _first(clients, group, each)) is not None]
    if not found:
        return None
    return str(max(found, key=lambda package: package["CreationTime"])["ModelPackageArn"])


def _first(clients: Clients, group: str, filters: Mapping[str, str]) -> Mapping[str, Any] | None:
    operation = "ListModelPackages"
    pages = clients("sagemaker").get_paginator("list_model_packages")
    newest_first = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    for page in pages.paginate(
        ModelPackageGroupName=group, **newest_first, **filters, PaginationConfig={"PageSize": 1}
    ):
        # A page may be empty although there are more.
        for package in required(page, "ModelPackageSummaryList", operation):
            for member in ("ModelPackageArn", "CreationTime"):
                required(package, member, operation)
            return package  # type: ignore[no-any-return]
    return None
