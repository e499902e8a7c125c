"""Filters, order and pages of the List operations."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import validation_error

if TYPE_CHECKING:
    from .store import Resource

# AWS answers ten entries where a request does not say how many; a client that forgets to page is found out here too.
DEFAULT_PAGE = 10

SortKey = Callable[[Any], Any]


class Listed(Protocol):
    """What can be listed."""

    @property
    def arn(self) -> str:
        """What tells entries apart, and orders those whose key is the same."""


Entry = TypeVar("Entry", bound=Listed)

SORT_KEYS: dict[str, SortKey] = {
    "Name": lambda resource: resource.name,
    "CreationTime": lambda resource: resource.created,
    "Status": lambda resource: resource.status or "",
}


def filtered(resources: Iterable[Resource], params: Mapping[str, Any]) -> list[Resource]:
    """Return the resources that the common filters of a List request let through."""
    return [resource for resource in resources if _passes(resource, params)]


def _passes(resource: Resource, params: Mapping[str, Any]) -> bool:
    name, status = params.get("NameContains"), params.get("StatusEquals")
    if name and name.lower() not in resource.name.lower():
        return False
    if status and status != resource.status:
        return False
    if not is_between(resource.created, params, "CreationTime"):
        return False
    return is_between(resource.modified, params, "LastModifiedTime")


def is_between(moment: float, params: Mapping[str, Any], member: str) -> bool:
    """Whether a time is between those of a List request, ``<member>After`` and ``<member>Before``."""
    after, before = params.get(f"{member}After"), params.get(f"{member}Before")
    return (after is None or moment > after) and (before is None or moment < before)


def page(
    resources: Iterable[Entry],
    params: Mapping[str, Any],
    *,
    defaults: tuple[str, str],
    keys: Mapping[str, SortKey] = SORT_KEYS,
) -> tuple[list[Entry], str | None]:
    """Sort, and return one page with the token of the next.

    The token names the last entry of the page, not an offset: entries that are added or deleted between two pages
    make no other entry appear twice or not at all.

    :param defaults: the SortBy and SortOrder of a request that gives none.
    :raises AwsError: ValidationException for a token that was not made here.
    """
    sort_by = params.get("SortBy") or defaults[0]
    descending = (params.get("SortOrder") or defaults[1]) == "Descending"
    key = keys[sort_by]

    def place(resource: Entry) -> tuple[Any, str]:
        return (key(resource), resource.arn)

    ordered = sorted(resources, key=place, reverse=descending)
    if params.get("NextToken"):
        last = _read_token(params["NextToken"])
        ordered = [item for item in ordered if (place(item) < last if descending else place(item) > last)]
    size = params.get("MaxResults") or DEFAULT_PAGE
    shown = ordered[:size]
    token = _write_token(place(shown[-1])) if len(ordered) > size else None
    return shown, token


def _write_token(place: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _read_token(token: str) -> tuple[Any, str]:
    try:
        value, arn = json.loads(base64.urlsafe_b64decode(token))
        # A compound key comes back from JSON as a list.
        value = tuple(value) if isinstance(value, list) else value
    except (ValueError, TypeError, binascii.Error) as error:
        raise validation_error("Invalid NextToken.") from error
    return value, arn
