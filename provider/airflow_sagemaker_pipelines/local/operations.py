"""All SageMaker operations that this endpoint answers itself, by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from . import category_jobs, endpoints, inference_components, lineage, model_packages, search, tags, tuning
from .crud import Operation, operations_of
from .kinds import KINDS, MODEL_PACKAGE
from .pipelines import api, execution_api

if TYPE_CHECKING:
    from .engine import Engine

_TAG_OPERATIONS = {"AddTags": tags.add_tags, "ListTags": tags.list_tags, "DeleteTags": tags.delete_tags}

_WRITTEN_OUT: dict[str, Operation] = {
    "ListTrainingJobsForHyperParameterTuningJob": tuning.list_children,
    "UpdateEndpoint": endpoints.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": endpoints.update_weights,
    "CreateModelPackage": model_packages.create,
    "DescribeModelPackage": model_packages.describe_one,
    "UpdateModelPackage": model_packages.update,
    "ListModelPackages": model_packages.list_some,
    "DeleteModelPackage": model_packages.delete,
    **inference_components.OPERATIONS,
    **lineage.OPERATIONS,
    **category_jobs.OPERATIONS,
    **api.OPERATIONS,
    **execution_api.OPERATIONS,
}


@cache
def operations() -> dict[str, Operation]:
    """Return the operations: those of the kinds table, then those that are written out."""
    table: dict[str, Operation] = {}
    for kind in KINDS:
        if kind is not MODEL_PACKAGE:
            table.update(operations_of(kind))
    return {**table, **_WRITTEN_OUT}


def find(engine: Engine, name: str, params: Mapping[str, Any]) -> Operation | None:
    """Return what answers a request, or None if it is moto's."""
    if name == "Search":
        return search.search if params["Resource"] in search.KINDS else None
    tag_operation = _TAG_OPERATIONS.get(name)
    if tag_operation is None:
        return operations().get(name)
    resource = tags.owner(engine, params)
    if resource is None:
        return None

    def answer(_: Engine, given: Mapping[str, Any]) -> dict[str, Any]:
        return tag_operation(resource, given)

    return answer
