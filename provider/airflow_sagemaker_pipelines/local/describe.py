"""The Describe answer of a resource: what its request held, its life, and what its kind adds."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from .behaviours import behaviour_of
from .service_model import output_members

if TYPE_CHECKING:
    from .store import Resource


def describe(resource: Resource) -> dict[str, Any]:
    """Return the answer in wire form (times as epoch seconds).

    Only members of the operation's output shape are in it; those without a value are left out.
    """
    kind = resource.kind
    allowed = output_members(kind.describe_operation)
    document: dict[str, Any] = copy.deepcopy(resource.request)
    document[kind.arn_member] = resource.arn
    document["CreationTime"] = resource.created
    document["LastModifiedTime"] = resource.modified
    document["FailureReason"] = resource.failure_reason
    document["ExitMessage"] = resource.exit_message
    if kind.lifecycle is not None:
        document[kind.status_member] = resource.status
        if kind.lifecycle.started_member:
            document[kind.lifecycle.started_member] = resource.started
        if kind.lifecycle.ended_member:
            document[kind.lifecycle.ended_member] = resource.ended
    document.update(copy.deepcopy(resource.extra))
    document.update(behaviour_of(kind).describe(resource))
    return {name: value for name, value in document.items() if name in allowed and value is not None}
