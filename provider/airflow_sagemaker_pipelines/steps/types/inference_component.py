"""InferenceComponent steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.compare import differences
from airflow_sagemaker_pipelines.steps.deployment import Deployment
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun


class InferenceComponent(Deployment):
    """A model on an endpoint: created, or brought to what the step describes by an update."""

    step_type = StepType.INFERENCE_COMPONENT
    noun = "inference component"
    create = "create_inference_component"
    update = "update_inference_component"
    describe = "describe_inference_component"
    name_member = "InferenceComponentName"
    status_member = "InferenceComponentStatus"

    def handle(self, run: StepRun, request: Mapping[str, Any]) -> Handle:
        """Return the name, and what must be in service in the end."""
        return {"name": request["InferenceComponentName"], "serves": _models(request)}

    def serves_other(self, handle: Handle, description: Mapping[str, Any]) -> str | None:
        """Return the models in service if they are other ones.

        Sizes and numbers of copies are not compared: AWS may write them in another way than the request.
        """
        found = _models(description)
        if not found or found == handle["serves"]:
            return None
        return f"{', '.join(found)} and not {', '.join(handle['serves'])}"

    def is_current(self, request: Mapping[str, Any], state: State) -> bool:
        """Whether specification and number of copies are those of the step."""
        wanted = _as_described(request)
        return not any(differences(wanted, {member: state.description.get(member) for member in wanted}))

    def check_update(self, run: StepRun, request: Mapping[str, Any], state: State) -> None:
        """Refuse to move a component.

        :raises StepRequestError: if the component of this name is on another endpoint or variant.
        """
        found = {member: state.description.get(member) for member in ("EndpointName", "VariantName")}
        place = {member: request[member] for member, value in found.items() if value and request.get(member)}
        if different := "; ".join(differences(place, found)):
            raise StepRequestError(
                f"the inference component exists already elsewhere: {different}. AWS cannot move it: delete it, or "
                "give the step another InferenceComponentName",
                step=run.step.name,
                resource=self.resource(state.handle),
            )


def _specifications(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if document.get("Specification"):
        yield document["Specification"]
    yield from document.get("Specifications") or ()


def _models(document: Mapping[str, Any]) -> list[str]:
    """Name what runs, from a request or a Describe answer."""
    return sorted(json.dumps(_model(item), sort_keys=True) for item in _specifications(document))


def _model(specification: Mapping[str, Any]) -> dict[str, Any]:
    members = ("InstanceType", "ModelName", "BaseInferenceComponentName")
    model = {member: specification[member] for member in members if specification.get(member)}
    container = specification.get("Container") or {}
    image = container.get("Image") or (container.get("DeployedImage") or {}).get("SpecifiedImage")
    return model | ({"Image": image} if image else {})


def _as_described(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changeable part of a request in the form of a Describe answer, which names some members otherwise."""
    wanted: dict[str, Any] = {}
    if request.get("Specification"):
        wanted["Specification"] = _specification_as_described(request["Specification"])
    if request.get("Specifications"):
        wanted["Specifications"] = [_specification_as_described(item) for item in request["Specifications"]]
    if (request.get("RuntimeConfig") or {}).get("CopyCount") is not None:
        wanted["RuntimeConfig"] = {"DesiredCopyCount": request["RuntimeConfig"]["CopyCount"]}
    return wanted


def _specification_as_described(specification: Mapping[str, Any]) -> dict[str, Any]:
    described = dict(specification)
    if "Image" in (container := dict(specification.get("Container") or {})):
        container["DeployedImage"] = {"SpecifiedImage": container.pop("Image")}
        described["Container"] = container
    return described
