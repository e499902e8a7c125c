"""Lineage: actions, artifacts and contexts, and the associations between them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .crud import Operation, summary
from .describe import describe
from .errors import AwsError
from .kinds import Kind, Refusal
from .paging import SORT_KEYS, filtered, page

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

_ENTITY_ARN = re.compile(r"arn:[^:]+:sagemaker:(?P<region>[^:]+):(?P<account>\d{12}):(?P<type>[a-z-]+)/(?P<name>.+)")


def _entity(name: str) -> Kind:
    return Kind(
        name=name,
        stem=name,
        label=name,
        arn_type=name.lower(),
        duplicate=Refusal(
            text="{label} names must be unique within an AWS account and region. {label} with name ({name}) already "
            "exists."
        ),
        missing=Refusal(code="ResourceNotFound", text="{label} '{arn}' does not exist."),
        summaries=f"{name}Summaries",
        list_defaults=("CreationTime", "Descending"),
    )


ACTION, ARTIFACT, CONTEXT = _entity("Action"), _entity("Artifact"), _entity("Context")
_KINDS = (ACTION, ARTIFACT, CONTEXT)


# An association has neither name nor ARN; its two ends are what there can be one of.
_ASSOCIATION = Kind(
    name="Association",
    stem="Association",
    label="Association",
    arn_type="association",
    duplicate=Refusal(text="{label} between {name} already exists."),
    missing=Refusal(code="ResourceNotFound", text="{label} between {name} does not exist."),
)
_ENDS = ("Source", "Destination")
_SORT_KEYS = {
    **SORT_KEYS,
    "SourceArn": lambda item: item.request["SourceArn"],
    "DestinationArn": lambda item: item.request["DestinationArn"],
}


def _create(kind: Kind) -> Operation:
    def create(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        return {kind.arn_member: engine.create(kind, params).arn}

    return create


def create_artifact(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """CreateArtifact: its ARN holds no name but an id, here one that the source, type and name give.

    AWS may answer with an artifact of the same source that exists already; what it does exactly is not documented.
    """
    parts = (params["Source"]["SourceUri"], params["ArtifactType"], params.get("ArtifactName"))
    identifier = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    with engine.store.lock:
        found = engine.store.find(ARTIFACT, identifier)
        if found is None:
            document = dict(params)
            found = engine.store.add(ARTIFACT, identifier, document)
    return {"ArtifactArn": found.arn}


def _describe(kind: Kind) -> Operation:
    member = kind.arn_member if kind is ARTIFACT else kind.name_member

    def describe_one(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        return describe(engine.store.get(kind, params[member]))

    return describe_one


def _list(kind: Kind) -> Operation:
    entries, type_member = str(kind.summaries), f"{kind.name}Type"

    def matches(resource: Resource, params: Mapping[str, Any]) -> bool:
        uri, wanted = params.get("SourceUri"), params.get(type_member)
        return (uri is None or resource.request["Source"]["SourceUri"] == uri) and (
            wanted is None or resource.request[type_member] == wanted
        )

    def list_some(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        found = [item for item in filtered(engine.store.all(kind), params) if matches(item, params)]
        shown, token = page(found, params, defaults=kind.list_defaults)
        answer: dict[str, Any] = {entries: [summary(item, kind.list_operation, entries) for item in shown]}
        if token:
            answer["NextToken"] = token
        return answer

    return list_some


def add_association(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """AddAssociation: once between two entities."""
    ends = {f"{end}Arn": params[f"{end}Arn"] for end in _ENDS}
    for arn in ends.values():
        _check_entity(engine, arn)
    engine.store.add(_ASSOCIATION, " and ".join(ends.values()), {"AssociationType": "AssociatedWith", **params})
    return ends


def _check_entity(engine: Engine, arn: str) -> None:
    """Refuse an action or context of this account and region that does not exist.

    Artifacts are not checked: their ids are AWS's, so that no test could make the one that a definition names.
    """
    found = _ENTITY_ARN.fullmatch(arn)
    store = engine.store
    if found is None or (found["region"], found["account"]) != (store.region, store.account):
        return
    for kind in (ACTION, CONTEXT):
        if found["type"] == kind.arn_type and store.find(kind, found["name"]) is None:
            raise AwsError("ResourceNotFound", kind.refusal_text(kind.missing, arn=arn, name=found["name"]))


def list_associations(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListAssociations: by either end and by type of association."""
    members = ("SourceArn", "DestinationArn", "AssociationType")
    found = [
        item
        for item in filtered(engine.store.all(_ASSOCIATION), params)
        if all(params.get(member) in (None, item.request[member]) for member in members)
    ]
    shown, token = page(found, params, defaults=("CreationTime", "Descending"), keys=_SORT_KEYS)
    answer: dict[str, Any] = {"AssociationSummaries": [_association_summary(engine, item) for item in shown]}
    if token:
        answer["NextToken"] = token
    return answer


def _association_summary(engine: Engine, item: Resource) -> dict[str, Any]:
    document = {**item.request, "CreationTime": item.created}
    for end in _ENDS:
        entity = engine.store.by_arn(item.request[f"{end}Arn"])
        if entity is not None:
            document[f"{end}Type"] = entity.request[f"{entity.kind.name}Type"]
            document[f"{end}Name"] = entity.request.get(entity.kind.name_member)
    return {member: value for member, value in document.items() if value is not None}


OPERATIONS: dict[str, Operation] = {
    "CreateAction": _create(ACTION),
    "CreateContext": _create(CONTEXT),
    "CreateArtifact": create_artifact,
    **{kind.describe_operation: _describe(kind) for kind in _KINDS},
    **{kind.list_operation: _list(kind) for kind in _KINDS},
    "AddAssociation": add_association,
    "ListAssociations": list_associations,
}
