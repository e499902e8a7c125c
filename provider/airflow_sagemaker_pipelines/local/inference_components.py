"""Inference components: models that share an endpoint. They are created and updated like endpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .behaviours import Behaviour
from .crud import Operation, operations_of
from .errors import validation_error
from .kinds import ENDPOINT, MODEL, Kind, Lifecycle, Refusal

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

INFERENCE_COMPONENT = Kind(
    name="InferenceComponent",
    stem="InferenceComponent",
    label="inference component",
    arn_type="inference-component",
    duplicate=Refusal(text='Cannot create already existing inference component "{arn}".'),
    missing=Refusal(text='Could not find inference component "{arn}".'),
    summaries="InferenceComponents",
    list_defaults=("CreationTime", "Descending"),
    lifecycle=Lifecycle(running="Creating", completed="InService", stopped="Failed"),
    deletable=True,
)

# What an update may change.
_CHANGEABLE = ("Specification", "Specifications", "RuntimeConfig")


class InferenceComponentBehaviour(Behaviour):
    """A component is on an endpoint; a failed update is rolled back if the update says so."""

    def check(self, engine: Engine, request: dict[str, Any]) -> None:
        """Refuse an endpoint or a model that does not exist."""
        engine.store.get(ENDPOINT, request["EndpointName"])
        _check_models(engine, request)

    def created(self, engine: Engine, resource: Resource) -> None:
        """Note the endpoint's ARN."""
        resource.extra["EndpointArn"] = engine.store.get(ENDPOINT, resource.request["EndpointName"]).arn

    def close_phases(self, resource: Resource, now: float) -> None:
        """Make an update good, or roll it back."""
        update = resource.extra.pop("_update", None)
        if update is None:
            return
        deployment = update.pop("DeploymentConfig", None) or {}
        resource.extra["LastDeploymentConfig"] = deployment or None
        if resource.status == "InService" or not deployment.get("AutoRollbackConfiguration"):
            resource.request.update(update)
        else:
            resource.status = "InService"

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Return specification and runtime in the words that an answer has for them."""
        request = resource.request
        document: dict[str, Any] = {}
        if request.get("Specification"):
            document["Specification"] = _described(request["Specification"])
        if request.get("Specifications"):
            document["Specifications"] = [_described(item) for item in request["Specifications"]]
        if count := (request.get("RuntimeConfig") or {}).get("CopyCount"):
            current = count if resource.status == "InService" else 0
            document["RuntimeConfig"] = {"DesiredCopyCount": count, "CurrentCopyCount": current}
        return document


def update_one(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """UpdateInferenceComponent: the new specification serves when the component is InService again."""
    resource = engine.store.get(INFERENCE_COMPONENT, params["InferenceComponentName"])
    _check_models(engine, params)
    with engine.store.lock:
        if not resource.is_over:
            raise validation_error(f'Cannot update in-progress inference component "{resource.arn}".')
        update = {member: copy.deepcopy(params[member]) for member in _CHANGEABLE if params.get(member)}
        resource.extra["_update"] = {**update, "DeploymentConfig": copy.deepcopy(params.get("DeploymentConfig"))}
        resource.ended = resource.failure_reason = None
        resource.status = "Updating"
    resource.rule = engine.take_rule(resource, "UpdateInferenceComponent")
    engine.start(resource, "Updating")
    return {"InferenceComponentArn": resource.arn}


def _check_models(engine: Engine, params: Mapping[str, Any]) -> None:
    for specification in (params.get("Specification"), *(params.get("Specifications") or ())):
        if specification and specification.get("ModelName"):
            engine.store.get(MODEL, specification["ModelName"])


def _described(specification: Mapping[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(dict(specification))
    container = document.get("Container")
    if container and "Image" in container:
        container["DeployedImage"] = {"SpecifiedImage": container.pop("Image")}
    return document


OPERATIONS: dict[str, Operation] = {
    **dict(operations_of(INFERENCE_COMPONENT)),
    "UpdateInferenceComponent": update_one,
}
