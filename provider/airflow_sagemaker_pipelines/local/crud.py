"""The operations that a row of the kinds table gives: Create, Describe, List, Stop, Delete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import events
from .behaviours import behaviour_of
from .describe import describe
from .errors import AwsError
from .paging import filtered, page
from .service_model import summary_members

if TYPE_CHECKING:
    from .engine import Engine
    from .kinds import Kind
    from .store import Resource

# An operation: the engine of the request's account and region, the request's members -> the answer's members.
Operation = Callable[["Engine", Mapping[str, Any]], dict[str, Any]]


def operations_of(kind: Kind) -> Iterator[tuple[str, Operation]]:
    """Return the operations of a kind by name."""
    yield kind.create_operation, _create(kind)
    yield kind.describe_operation, _describe(kind)
    if kind.summaries is not None:
        yield kind.list_operation, _list(kind)
    if kind.stoppable:
        yield f"Stop{kind.stem}", _stop(kind)
    if kind.deletable:
        yield f"Delete{kind.stem}", _delete(kind)


def summary(resource: Resource, operation: str, member: str) -> dict[str, Any]:
    """Return the entry of a List answer: the part of the Describe answer that the entry's shape has."""
    allowed = summary_members(operation, member)
    document = {name: value for name, value in describe(resource).items() if name in allowed}
    config = resource.request.get("HyperParameterTuningJobConfig")
    if config is not None:
        document |= {"Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}
    return document


def _create(kind: Kind) -> Operation:
    def create(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        return {kind.arn_member: engine.create(kind, params).arn}

    return create


def _describe(kind: Kind) -> Operation:
    def describe_one(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        resource = engine.store.get(kind, params[kind.name_member])
        if resource.kind is not kind:
            # A job of the other API version: AWS does not describe it here.
            text = kind.refusal_text(kind.missing, arn=resource.arn, name=resource.name)
            raise AwsError(kind.missing.code, text)
        with engine.store.lock:
            return describe(resource)

    return describe_one


def _list(kind: Kind) -> Operation:
    member = kind.summaries or ""

    def list_some(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        with engine.store.lock:
            resources = filtered(engine.store.all(kind), params)
            shown, token = page(resources, params, defaults=kind.list_defaults)
            entries = [summary(item, kind.list_operation, member) for item in shown]
        answer: dict[str, Any] = {member: entries}
        if token:
            answer["NextToken"] = token
        return answer

    return list_some


def _stop(kind: Kind) -> Operation:
    def stop(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        engine.stop(engine.store.get(kind, params[kind.name_member]))
        return {}

    return stop


def _delete(kind: Kind) -> Operation:
    def delete(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
        with engine.store.lock:
            resource = engine.store.get(kind, params[kind.name_member])
            if not resource.is_over:
                raise AwsError(
                    "ResourceInUse" if kind.stoppable else "ValidationException",
                    f"Cannot delete {kind.label.lower()} {resource.arn} in status {resource.status}.",
                )
            behaviour_of(kind).check_delete(engine, resource)
            engine.store.remove(resource)
        events.deleted(engine.store, resource)
        return {}

    return delete
