"""What CloudWatch Logs holds of a job whose code is not run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from moto.logs.models import logs_backends

from .kinds import TRANSFORM

if TYPE_CHECKING:
    from .store import Resource, Store


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
