"""Endpoint configurations, endpoints and inference components: the last two are created, or updated if they exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...describe import describe
from ...inference_components import INFERENCE_COMPONENT
from ...kinds import ENDPOINT, Kind
from ..calls import sagemaker
from ..dates import with_times_as_text
from ..step_run import FAILED, STOPPED, Outcome

if TYPE_CHECKING:
    from ...store import Resource
    from ..context import Context

# What an update takes over of the arguments.
_ENDPOINT_UPDATE = ("EndpointName", "EndpointConfigName", "DeploymentConfig")
_COMPONENT_UPDATE = ("InferenceComponentName", "Specification", "Specifications", "RuntimeConfig")


def create_config(context: Context) -> Outcome:
    """CreateEndpointConfig, under the name that is given, or one like a job's."""
    request = dict(context.arguments)
    request.setdefault("EndpointConfigName", context.job_name)
    arn = sagemaker(context.engine, "CreateEndpointConfig", request)["EndpointConfigArn"]
    context.run.metadata = {"EndpointConfig": {"Arn": arn}}
    names = {"EndpointConfigName": request["EndpointConfigName"]}
    return Outcome(outputs=with_times_as_text(sagemaker(context.engine, "DescribeEndpointConfig", names)))


def deploy_endpoint(context: Context) -> None:
    """CreateEndpoint or UpdateEndpoint; the step ends when the endpoint is in service, or cannot be."""
    request = dict(context.arguments)
    request.setdefault("EndpointName", context.job_name)
    _deploy(context, ENDPOINT, request, _ENDPOINT_UPDATE)


def deploy_component(context: Context) -> None:
    """CreateInferenceComponent or UpdateInferenceComponent."""
    _deploy(context, INFERENCE_COMPONENT, dict(context.arguments), _COMPONENT_UPDATE)


def _deploy(context: Context, kind: Kind, request: Mapping[str, Any], updates: tuple[str, ...]) -> None:
    store = context.engine.store
    if store.find(kind, str(request[kind.name_member])) is not None:
        update = {name: request[name] for name in updates if name in request}
        sagemaker(context.engine, f"Update{kind.stem}", update)
    else:
        creation = dict(request)
        if kind is ENDPOINT:
            creation.pop("DeploymentConfig", None)
        sagemaker(context.engine, f"Create{kind.stem}", creation)
    resource = store.get(kind, str(request[kind.name_member]))
    context.made(resource, **{kind.stem: {"Arn": resource.arn}})
    # There is no call that stops a deployment: it goes on, and the step does not wait for it.
    context.run.stop = lambda: context.settle(lambda: Outcome(status=STOPPED))
    context.when_over(resource, lambda: _outcome(context, resource))


def _outcome(context: Context, resource: Resource) -> Outcome:
    lifecycle = resource.kind.lifecycle
    # An update that was rolled back leaves the endpoint in service, with a reason.
    if lifecycle is None or resource.status != lifecycle.completed or resource.failure_reason:
        return Outcome(status=FAILED, reason=resource.failure_reason)
    with context.engine.store.lock:
        return Outcome(outputs=with_times_as_text(describe(resource)))
