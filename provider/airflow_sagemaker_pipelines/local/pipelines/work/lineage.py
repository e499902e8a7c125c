"""Lineage steps: entities, then the associations between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...lineage import ACTION, CONTEXT
from ..calls import CallError, StepError, sagemaker
from ..step_run import Outcome

if TYPE_CHECKING:
    from ..context import Context

_KINDS = ("Action", "Artifact", "Context")
_NAMED = {"Action": ACTION, "Context": CONTEXT}


def begin(context: Context) -> Outcome:
    """Make everything; an entity or association that exists is used as it is."""
    arguments = context.arguments
    arns = {kind: _make_all(context, kind) for kind in _KINDS}
    associations = [_associate(context, item, arns) for item in arguments.get("Associations") or ()]
    made: dict[str, Any] = {f"{kind}Arns": arns[kind] for kind in _KINDS if arns[kind]}
    if associations:
        made["Associations"] = associations
    context.run.metadata = {"Lineage": made}
    return Outcome(outputs=made)


def _make_all(context: Context, kind: str) -> dict[str, str]:
    arns: dict[str, str] = {}
    for entity in context.arguments.get(f"{kind}s") or ():
        arn = _make(context, kind, entity)
        if name := entity.get(f"{kind}Name"):
            arns[name] = arn
    return arns


def _make(context: Context, kind: str, entity: Mapping[str, Any]) -> str:
    # AWS does not say what becomes of a name that is taken.
    known = _NAMED.get(kind)
    found = context.engine.store.find(known, str(entity[f"{kind}Name"])) if known is not None else None
    if found is not None:
        return found.arn
    return str(sagemaker(context.engine, f"Create{kind}", entity)[f"{kind}Arn"])


def _associate(context: Context, item: Mapping[str, Any], arns: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    ends: dict[str, str] = {}
    for end in ("Source", "Destination"):
        arn = item[end].get("Arn") or arns[item[end]["Type"]].get(item[end]["Name"])
        if arn is None:
            raise StepError(f"{item[end]['Type']} '{item[end]['Name']}' is not made by this step")
        ends[f"{end}Arn"] = str(arn)
    kind = {"AssociationType": item["AssociationType"]} if item.get("AssociationType") else {}
    try:
        sagemaker(context.engine, "AddAssociation", {**ends, **kind})
    except CallError as error:
        if "already exists" not in error.error.message:
            raise
    return ends
