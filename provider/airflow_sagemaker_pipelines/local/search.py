"""Search over the resources that this endpoint holds itself; other resource types are moto's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from .describe import describe
from .kinds import ENDPOINT, MODEL_PACKAGE, MODEL_PACKAGE_GROUP, TRAINING, TUNING, Kind
from .paging import page
from .service_model import sagemaker_model

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

KINDS: Mapping[str, Kind] = {
    "TrainingJob": TRAINING,
    "HyperParameterTuningJob": TUNING,
    "ModelPackage": MODEL_PACKAGE,
    "ModelPackageGroup": MODEL_PACKAGE_GROUP,
    "Endpoint": ENDPOINT,
}

_OPERATORS: Mapping[str, Callable[[Any, str], bool]] = {
    "Equals": lambda found, wanted: _text(found) == wanted,
    "NotEquals": lambda found, wanted: _text(found) != wanted,
    "Contains": lambda found, wanted: found is not None and wanted in _text(found),
    "Exists": lambda found, _: found is not None,
    "NotExists": lambda found, _: found is None,
    "In": lambda found, wanted: _text(found) in wanted.split(","),
    "GreaterThan": lambda found, wanted: found is not None and float(found) > float(wanted),
    "GreaterThanOrEqualTo": lambda found, wanted: found is not None and float(found) >= float(wanted),
    "LessThan": lambda found, wanted: found is not None and float(found) < float(wanted),
    "LessThanOrEqualTo": lambda found, wanted: found is not None and float(found) <= float(wanted),
}


def search(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a Search for one of ``KINDS``: filters, sub-expressions, order and pages; no nested filters."""
    with engine.store.lock:
        return _search(engine, params)


def _search(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    word = params["Resource"]
    members = _members(word)
    documents = {
        resource.arn: {name: value for name, value in _document(resource).items() if name in members}
        for resource in engine.store.all(KINDS[word])
    }
    expression = params.get("SearchExpression") or {}
    hits = [
        resource
        for resource in engine.store.all(KINDS[word])
        if resource.arn in documents and _holds(documents[resource.arn], expression)
    ]
    order = params.get("SortBy") or "LastModifiedTime"
    keys = {order: lambda item: _sortable(_value(documents[item.arn], order))}
    shown, token = page(hits, {**params, "SortBy": order}, defaults=(order, "Descending"), keys=keys)
    answer: dict[str, Any] = {"Results": [{word: documents[item.arn]} for item in shown]}
    if token:
        answer["NextToken"] = token
    return answer


@cache
def _members(word: str) -> frozenset[str]:
    shape: Any = sagemaker_model().shape_for(word)
    return frozenset(shape.members)


def _document(resource: Resource) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in resource.tags.items()]
    return {**describe(resource), "Tags": tags}


def _holds(document: Mapping[str, Any], expression: Mapping[str, Any]) -> bool:
    results = [
        _OPERATORS[item.get("Operator", "Equals")](_value(document, item["Name"]), item.get("Value", ""))
        for item in expression.get("Filters") or ()
    ]
    results.extend(_holds(document, item) for item in expression.get("SubExpressions") or ())
    if not results:
        return True
    return any(results) if expression.get("Operator") == "Or" else all(results)


def _value(document: Any, path: str) -> Any:
    """Follow a dotted name; ``Tags.key`` and ``Metrics.name`` are lists in the document and maps in the name."""
    if path.startswith("Tags."):
        return next((tag["Value"] for tag in document["Tags"] if tag["Key"] == path[5:]), None)
    if path.startswith("Metrics."):
        metrics = document.get("FinalMetricDataList") or ()
        return next((item["Value"] for item in metrics if item["MetricName"] == path[8:]), None)
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sortable(value: Any) -> tuple[int, float, str]:
    """Order what has no value first, then numbers, then text."""
    if isinstance(value, (int, float)):
        return (1, float(value), "")
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))
