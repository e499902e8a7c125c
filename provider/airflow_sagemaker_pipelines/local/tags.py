"""Tags of the resources that this endpoint holds itself; others are moto's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource


def owner(engine: Engine, params: Mapping[str, Any]) -> Resource | None:
    """Return the resource whose tags a request means, or None if it is not ours."""
    return engine.store.by_arn(str(params.get("ResourceArn")))


def add_tags(resource: Resource, params: Mapping[str, Any]) -> dict[str, Any]:
    """AddTags: a key that is there gets the new value."""
    resource.tags.update({tag["Key"]: tag["Value"] for tag in params["Tags"]})
    return {"Tags": _listed(resource)}


def list_tags(resource: Resource, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListTags; 50 tags are the most a resource can have, so there is one page."""
    return {"Tags": _listed(resource)}


def delete_tags(resource: Resource, params: Mapping[str, Any]) -> dict[str, Any]:
    """DeleteTags: keys that are not there are no error."""
    for key in params["TagKeys"]:
        resource.tags.pop(key, None)
    return {}


def _listed(resource: Resource) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in resource.tags.items()]
