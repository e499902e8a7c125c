"""What other AWS services see of a job: a line in CloudWatch Logs, an event on EventBridge's default bus."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from moto.logs.models import logs_backends

from .describe import describe
from .kinds import ENDPOINT, MODEL_PACKAGE, PROCESSING, TRANSFORM

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource, Store

log = logging.getLogger(__name__)


def job_began(engine: Engine, resource: Resource) -> None:
    """Tell EventBridge that a job began."""
    send_state_change(engine.store, resource)


def job_changed(engine: Engine, resource: Resource) -> None:
    """Tell EventBridge that a job is being stopped."""
    send_state_change(engine.store, resource)


def job_ended(engine: Engine, resource: Resource) -> None:
    """Tell EventBridge that a job is over."""
    send_state_change(engine.store, resource)


def write_log(store: Store, resource: Resource, reason: str | None) -> None:
    """Write a job's lines where SageMaker's agent would: ``<group>/<job>/algo-1-<epoch>``."""
    lifecycle = resource.kind.lifecycle
    # A job whose code was run has written its log itself.
    if lifecycle is None or lifecycle.log_group is None or resource.runs_code:
        return
    lines = [f"local endpoint: the code of {resource.kind.label.lower()} {resource.name} was not run"]
    if reason:
        lines.append(reason)
    host = "i-0123456789abcdef0" if resource.kind is TRANSFORM else "algo-1"
    stream = f"{resource.name}/{host}-{int(resource.created)}"
    logs = logs_backends[store.account][store.region]
    if lifecycle.log_group not in logs.groups:
        logs.create_log_group(lifecycle.log_group, {})
    logs.ensure_log_stream(lifecycle.log_group, stream)
    now = int(time.time() * 1000)
    logs.put_log_events(lifecycle.log_group, stream, [{"timestamp": now, "message": line} for line in lines])


def send_state_change(store: Store, resource: Resource) -> None:
    """Put the kind's ``... State Change`` event on the default bus, if anybody listens there."""
    lifecycle = resource.kind.lifecycle
    if lifecycle is None or lifecycle.detail_type is None:
        return
    send(
        store,
        detail_type=lifecycle.detail_type,
        resource=resource,
        detail=lambda: event_detail(resource),
    )


def send(store: Store, *, detail_type: str, resource: Resource, detail: Callable[[], Mapping[str, Any]]) -> None:
    """Put an event of SageMaker on the default bus; ``detail`` is asked for only if the bus has rules.

    moto's EventBridge is imported only by somebody who uses it: if nobody has, nobody listens.
    """
    events_module = sys.modules.get("moto.events.models")
    if events_module is None:
        return
    backend = events_module.events_backends[store.account][store.region]
    if not backend.describe_event_bus("default").rules:
        return
    # No time is given: moto writes its own, a number of seconds, and can deliver nothing else to all targets.
    event = {
        "Source": "aws.sagemaker",
        "DetailType": detail_type,
        "Resources": [resource.arn],
        "Detail": json.dumps(detail()),
    }
    try:
        backend.put_events([event])
    except Exception:
        # Delivery is EventBridge's affair: a target that cannot be reached changes nothing for the job.
        log.exception("The event %r of %s was not delivered", detail_type, resource.arn)


def event_detail(resource: Resource) -> dict[str, Any]:
    """Return the Describe answer with times as the kind's published events have them.

    They are ISO for some kinds, milliseconds for others, as a number or as text.
    """

    def write(moment: float) -> str | int:
        if resource.kind in (TRANSFORM, MODEL_PACKAGE):
            return _iso(moment)
        milliseconds = int(moment * 1000)
        return milliseconds if resource.kind is PROCESSING else str(milliseconds)

    detail: dict[str, Any] = {
        name: write(value) if name.endswith("Time") and isinstance(value, (int, float)) else value
        for name, value in describe(resource).items()
    }
    if resource.kind is ENDPOINT:
        words = {"InService": "IN_SERVICE", "RollingBack": "ROLLING_BACK"}
        detail["EndpointStatus"] = words.get(detail["EndpointStatus"], detail["EndpointStatus"].upper())
    detail["Tags"] = dict(resource.tags)
    return detail


def _iso(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
