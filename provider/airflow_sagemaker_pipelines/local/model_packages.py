"""Model packages: versions in a group, approval, and updates that change nothing else."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import events
from .crud import summary
from .describe import describe
from .errors import validation_error
from .kinds import MODEL_PACKAGE, MODEL_PACKAGE_GROUP
from .models import CREATED_BY
from .paging import filtered, page

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

_PLAIN_UPDATES = (
    "ModelApprovalStatus",
    "ModelPackageRegistrationType",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)


def create(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """CreateModelPackage: the next version of a group, or a package with a name of its own.

    A request with a ClientToken that was used before gets the first one's ARN; no second version is made.
    """
    token = params.get("ClientToken")
    with engine.store.lock:
        if token and token in engine.store.tokens:
            return {"ModelPackageArn": engine.store.tokens[token]}
        package = _add(engine, params)
        if token:
            engine.store.tokens[token] = package.arn
    events.state_changed(engine.store, package, UpdatedModelPackageFields=[])
    return {"ModelPackageArn": package.arn}


def _add(engine: Engine, params: Mapping[str, Any]) -> Resource:
    name, group_name = params.get("ModelPackageName"), params.get("ModelPackageGroupName")
    if bool(name) == bool(group_name):
        raise validation_error("Exactly one of ModelPackageName and ModelPackageGroupName must be provided.")
    request = copy.deepcopy(dict(params))
    version: int | None = None
    if group_name:
        group = engine.store.get(MODEL_PACKAGE_GROUP, group_name)
        version = group.extra["_versions"] = group.extra.get("_versions", 0) + 1
        name = f"{group.name}/{version}"
        request["ModelPackageGroupName"] = group.name
        request.setdefault("ModelApprovalStatus", "PendingManualApproval")
    request.setdefault("CertifyForMarketplace", False)
    package = engine.store.add(MODEL_PACKAGE, str(name), request)
    package.status = "Completed"
    package.extra = {
        "ModelPackageVersion": version,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreatedBy": CREATED_BY,
    }
    return package


def describe_one(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeModelPackage, by ARN or, without a group, by name."""
    with engine.store.lock:
        return describe(engine.store.get(MODEL_PACKAGE, params["ModelPackageName"]))


def update(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """UpdateModelPackage: only what the request names changes; custom properties are merged."""
    with engine.store.lock:
        package = engine.store.get(MODEL_PACKAGE, params["ModelPackageArn"])
        token = params.get("ClientToken")
        if token and engine.store.tokens.get(token) == package.arn:
            return {"ModelPackageArn": package.arn}
        given = copy.deepcopy(dict(params))
        changed = [name for name in _PLAIN_UPDATES if given.get(name) is not None]
        package.request.update({name: given[name] for name in changed})
        if given.get("ApprovalDescription") is not None:
            package.extra["ApprovalDescription"] = given["ApprovalDescription"]
            changed.append("ApprovalDescription")
        changed.extend(_update_properties(package, given))
        added = given.get("AdditionalInferenceSpecificationsToAdd")
        if added:
            package.request.setdefault("AdditionalInferenceSpecifications", []).extend(added)
            changed.append("AdditionalInferenceSpecifications")
        package.modified = time.time()
        package.extra["LastModifiedBy"] = CREATED_BY
        if token:
            engine.store.tokens[token] = package.arn
    events.state_changed(engine.store, package, UpdatedModelPackageFields=changed)
    return {"ModelPackageArn": package.arn}


def _update_properties(package: Resource, given: Mapping[str, Any]) -> list[str]:
    added = given.get("CustomerMetadataProperties") or {}
    removed = given.get("CustomerMetadataPropertiesToRemove") or []
    if not added and not removed:
        return []
    properties = package.request.get("CustomerMetadataProperties") or {}
    kept = {name: value for name, value in properties.items() if name not in removed}
    package.request["CustomerMetadataProperties"] = {**kept, **added}
    return ["CustomerMetadataProperties"]


def list_some(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListModelPackages: of a group, or those without one."""
    packages = filtered(engine.store.all(MODEL_PACKAGE), params)
    group, approval = params.get("ModelPackageGroupName"), params.get("ModelApprovalStatus")
    wanted = params.get("ModelPackageType") or ("Versioned" if group else "Unversioned")
    if group:
        name = engine.store.get(MODEL_PACKAGE_GROUP, group).name
        packages = [item for item in packages if item.request.get("ModelPackageGroupName") == name]
    if wanted != "Both":
        versioned = wanted == "Versioned"
        packages = [item for item in packages if (item.extra["ModelPackageVersion"] is not None) == versioned]
    if approval:
        packages = [item for item in packages if item.request.get("ModelApprovalStatus") == approval]
    # Names of versions are not padded ("g/10" < "g/9"); the version itself orders them.
    keys = {
        "Name": lambda item: f"{item.name.rsplit('/', 1)[0]}/{item.extra['ModelPackageVersion'] or 0:09d}",
        "CreationTime": lambda item: item.created,
    }
    shown, token = page(packages, params, defaults=MODEL_PACKAGE.list_defaults, keys=keys)
    member = "ModelPackageSummaryList"
    answer: dict[str, Any] = {member: [summary(item, "ListModelPackages", member) for item in shown]}
    if token:
        answer["NextToken"] = token
    return answer


def delete(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """DeleteModelPackage; the version's number is not given again."""
    engine.store.remove(engine.store.get(MODEL_PACKAGE, params["ModelPackageName"]))
    return {}
