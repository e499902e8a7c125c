"""Endpoints and their configurations: Creating, InService, Updating, and the roll-back of a failed update."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .behaviours import Behaviour
from .errors import validation_error
from .kinds import ENDPOINT, ENDPOINT_CONFIG, MODEL

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

# Statuses that nothing here leads to, but from which an update is the way out.
_AT_REST = ("OutOfService", "UpdateRollbackFailed")


class EndpointConfigBehaviour(Behaviour):
    """A configuration names models that must exist."""

    def check(self, engine: Engine, request: dict[str, Any]) -> None:
        """Refuse a model that does not exist."""
        for variant in request["ProductionVariants"]:
            if variant.get("ModelName"):
                engine.store.get(MODEL, variant["ModelName"])
            variant.setdefault("InitialVariantWeight", 1.0)
        request.setdefault("EnableNetworkIsolation", False)


class EndpointBehaviour(Behaviour):
    """An endpoint serves a configuration, a while after it was asked to."""

    def check(self, engine: Engine, request: dict[str, Any]) -> None:
        """Refuse a configuration that does not exist."""
        engine.store.get(ENDPOINT_CONFIG, request["EndpointConfigName"])

    def created(self, engine: Engine, resource: Resource) -> None:
        """Take the configuration's variants over; a configuration may be deleted while its endpoint serves."""
        _serve(engine, resource, resource.request["EndpointConfigName"])

    def close_phases(self, resource: Resource, now: float) -> None:
        """Make an update good, or roll it back."""
        update = resource.extra.pop("_update", None)
        if update is None:
            return
        if resource.status == "InService":
            resource.extra.update(update)
            resource.request["EndpointConfigName"] = update["EndpointConfigName"]
        else:
            # AWS rolls back to what served before and says why.
            resource.status = "InService"

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Leave the variants out until they serve, and say which configuration is on its way."""
        if resource.is_over:
            return {}
        update = resource.extra.get("_update", {})
        pending = {
            "EndpointConfigName": update.get("EndpointConfigName", resource.request["EndpointConfigName"]),
            "StartTime": resource.started,
        }
        variants = {} if update else {"ProductionVariants": None}
        return {"PendingDeploymentSummary": pending, **variants}


def update_endpoint(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """UpdateEndpoint: the new configuration serves when the endpoint is InService again."""
    engine.store.get(ENDPOINT_CONFIG, params["EndpointConfigName"])
    update = {
        "EndpointConfigName": params["EndpointConfigName"],
        "LastDeploymentConfig": copy.deepcopy(params.get("DeploymentConfig")),
        **_served(engine, params["EndpointConfigName"]),
    }
    return _update(engine, params["EndpointName"], update, "UpdateEndpoint")


def update_weights(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """UpdateEndpointWeightsAndCapacities: changes the variants in place."""
    resource = engine.store.get(ENDPOINT, params["EndpointName"])
    variants = copy.deepcopy(resource.extra["ProductionVariants"])
    by_name = {variant["VariantName"]: variant for variant in variants}
    for wanted in params["DesiredWeightsAndCapacities"]:
        variant = by_name.get(wanted["VariantName"])
        if variant is None:
            raise validation_error(
                f'The variant name(s) "{wanted["VariantName"]}" is/are not present within endpoint '
                f'configuration "{resource.request["EndpointConfigName"]}".'
            )
        for member in ("Weight", "InstanceCount"):
            value = wanted.get(f"Desired{member}")
            if value is not None:
                variant[f"Desired{member}"] = variant[f"Current{member}"] = value
    update = {
        "EndpointConfigName": resource.request["EndpointConfigName"],
        "ProductionVariants": variants,
    }
    return _update(engine, params["EndpointName"], update, "UpdateEndpointWeightsAndCapacities")


def _update(engine: Engine, name: str, update: dict[str, Any], operation: str) -> dict[str, Any]:
    resource = engine.store.get(ENDPOINT, name)
    with engine.store.lock:
        if not resource.is_over and resource.status not in _AT_REST:
            raise validation_error(f'Cannot update in-progress endpoint "{resource.arn}".')
        if resource.status == "Failed":
            # AWS permits nothing but the deletion of a failed endpoint.
            raise validation_error(f'Cannot update failed endpoint "{resource.arn}".')
        resource.extra["_update"] = update
        resource.ended = resource.failure_reason = None
        resource.status = "Updating"
    resource.rule = engine.take_rule(resource, operation)
    engine.start(resource, "Updating")
    return {"EndpointArn": resource.arn}


def _serve(engine: Engine, resource: Resource, config_name: str) -> None:
    resource.extra.update(_served(engine, config_name))
    resource.extra["LastDeploymentConfig"] = resource.request.get("DeploymentConfig")


def _served(engine: Engine, config_name: str) -> dict[str, Any]:
    config = engine.store.get(ENDPOINT_CONFIG, config_name).request
    capture = config.get("DataCaptureConfig")
    return {
        "ProductionVariants": [_variant(variant) for variant in config["ProductionVariants"]],
        "AsyncInferenceConfig": config.get("AsyncInferenceConfig"),
        "DataCaptureConfig": capture
        and {
            "EnableCapture": capture.get("EnableCapture", False),
            "CaptureStatus": "Started" if capture.get("EnableCapture") else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        },
    }


def _variant(config: Mapping[str, Any]) -> dict[str, Any]:
    weight, count = config.get("InitialVariantWeight", 1.0), config.get("InitialInstanceCount")
    variant = {
        "VariantName": config["VariantName"],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": count,
        "DesiredInstanceCount": count,
        "CurrentServerlessConfig": config.get("ServerlessConfig"),
    }
    return {name: value for name, value in variant.items() if value is not None}
