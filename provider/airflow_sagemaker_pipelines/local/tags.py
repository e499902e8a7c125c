"""Tags of the resources that this endpoint holds itself; others are moto's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .engine import Engine


class Tagged(Protocol):
    """What has tags."""

    @property
    def tags(self) -> dict[str, str]:
        """The tags' values by key."""


def owner(engine: Engine, params: Mapping[str, Any]) -> Tagged | None:
    """Return the resource whose tags a request means, or None if it is not ours."""
    arn = str(params.get("ResourceArn"))
    return engine.store.by_arn(arn) or engine.pipelines.by_arn(arn)


def add_tags(resource: Tagged, params: Mapping[str, Any]) -> dict[str, Any]:
    """AddTags: a key that is there gets the new value."""
    resource.tags.update({tag["Key"]: tag["Value"] for tag in params["Tags"]})
    return {"Tags": _listed(resource)}


def list_tags(resource: Tagged, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListTags; 50 tags are the most a resource can have, so there is one page."""
    return {"Tags": _listed(resource)}


def delete_tags(resource: Tagged, params: Mapping[str, Any]) -> dict[str, Any]:
    """DeleteTags: keys that are not there are no error."""
    for key in params["TagKeys"]:
        resource.tags.pop(key, None)
    return {}


def _listed(resource: Tagged) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in resource.tags.items()]
