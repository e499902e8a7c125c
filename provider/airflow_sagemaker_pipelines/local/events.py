"""Events on EventBridge's default bus, as AWS's services send them when something changes its state.

Names and members are those of "Events that Amazon SageMaker AI sends to Amazon EventBridge" (SageMaker's developer
guide), "Amazon SageMaker AI events" (EventBridge's events reference), "Monitor Amazon EMR events with CloudWatch"
(EMR's management guide) and "Automating EMR Serverless with Amazon EventBridge". AWS documents none for AutoML jobs,
inference components and jobs of CreateJob, so there are none here.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .describe import describe
from .kinds import ENDPOINT, MODEL, MODEL_PACKAGE, PROCESSING, TRANSFORM

if TYPE_CHECKING:
    from moto.emr.models import Cluster, Step
    from moto.emrserverless.models import Application, JobRun

    from .store import Resource, Store

log = logging.getLogger(__name__)

_moto_parse: list[Callable[..., dict[str, Any]]] = []

# How EMR rates a state of a step or a cluster; the others are "INFO".
_SEVERITIES = {"CANCEL_PENDING": "WARN", "CANCELLED": "WARN", "FAILED": "ERROR", "TERMINATED_WITH_ERRORS": "CRITICAL"}


def install() -> None:
    """Let targets that have no template get the event as it is; doing it again does nothing.

    moto fills in a template of its own. That has no account, takes ``<id>`` in a job's environment for a gap to fill,
    and searches each event by eight paths.
    """
    from moto.events.utils import EventTemplateParser  # noqa: PLC0415 - only for those who use EventBridge

    if not _moto_parse:
        _moto_parse.append(EventTemplateParser.parse)
        EventTemplateParser.parse = staticmethod(_fill_in)  # type: ignore[assignment]


def uninstall() -> None:
    """Give moto its template back."""
    while _moto_parse:
        sys.modules["moto.events.utils"].EventTemplateParser.parse = staticmethod(_moto_parse.pop())


def _fill_in(input_template: str | None, input_paths_map: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    if input_template:
        filled: dict[str, Any] = _moto_parse[0](input_template, input_paths_map, event)
        return filled
    return {name: value for name, value in event.items() if name != "ingestion-time"}


def send(
    *,
    account: str,
    region: str,
    source: str,
    detail_type: str,
    detail: Callable[[], Mapping[str, Any]],
    resources: Sequence[str] = (),
) -> None:
    """Put an event on the default bus; ``detail`` is asked for only if the bus has rules.

    moto's EventBridge is imported only by somebody who uses it: if nobody has, nobody listens.
    """
    events_module = sys.modules.get("moto.events.models")
    if events_module is None:
        return
    backend = events_module.events_backends[account][region]
    if not backend.describe_event_bus("default").rules:
        return
    # No time is given: moto writes its own, a number of seconds, and can deliver nothing else to all targets.
    event = {
        "Source": source,
        "DetailType": detail_type,
        "Resources": list(resources),
        "Detail": json.dumps(detail()),
    }
    try:
        backend.put_events([event])
    except Exception:
        # Delivery is EventBridge's affair: a target that cannot be reached changes nothing for the job.
        log.exception("The event %r was not delivered: %s", detail_type, event["Detail"])


# --- SageMaker


def state_changed(store: Store, resource: Resource, **more: Any) -> None:
    """Send the event of a resource whose status, or approval, has changed.

    :param more: members of the event's detail that the Describe answer does not have, or has otherwise.
    """
    if resource.kind.detail_type is None:
        return
    send(
        account=store.account,
        region=store.region,
        source="aws.sagemaker",
        detail_type=resource.kind.detail_type,
        resources=[resource.arn],
        detail=lambda: {**_sagemaker_detail(resource), **more},
    )


def deleted(store: Store, resource: Resource) -> None:
    """Send the event of an endpoint or model that somebody deletes."""
    if resource.kind is MODEL:
        state_changed(store, resource)
    elif resource.kind is ENDPOINT:
        state_changed(store, resource, EndpointStatus="DELETING")


def _sagemaker_detail(resource: Resource) -> dict[str, Any]:
    """Return the Describe answer with times as the kind's published events have them.

    They are ISO for some kinds, milliseconds for others, as a number or as text.
    """

    def write(moment: float) -> str | int:
        if resource.kind in (TRANSFORM, MODEL_PACKAGE):
            return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        milliseconds = int(moment * 1000)
        return milliseconds if resource.kind in (PROCESSING, ENDPOINT) else str(milliseconds)

    detail: dict[str, Any] = {
        name: write(value) if name.endswith("Time") and isinstance(value, (int, float)) else value
        for name, value in describe(resource).items()
    }
    if resource.kind is ENDPOINT:
        # Events write "IN_SERVICE" where DescribeEndpoint answers "InService".
        detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper()
    detail["Tags"] = dict(resource.tags)
    return detail


# --- EMR


def emr_step_changed(cluster: Cluster, step: Step) -> None:
    """Send the event of a step's new state."""
    words = f"Step {step.id} ({step.name}) in Amazon EMR cluster {cluster.id} ({cluster.name}) is now {step.state}."
    _send_emr(
        cluster,
        "EMR Step Status Change",
        {"actionOnFailure": step.action_on_failure, "stepId": step.id, "name": step.name},
        state=step.state,
        message=words,
    )


def emr_cluster_changed(cluster: Cluster, reason: Mapping[str, str | None]) -> None:
    """Send the event of a cluster's new state.

    :param reason: the cluster's StateChangeReason; in the event it is text.
    """
    words = {name.lower(): text or "" for name, text in reason.items()}
    state = str(cluster.state)
    _send_emr(
        cluster,
        "EMR Cluster State Change",
        {"stateChangeReason": json.dumps(words), "name": cluster.name},
        state=state,
        message=f"Amazon EMR cluster {cluster.id} ({cluster.name}) is now {state}.",
    )


def _send_emr(cluster: Cluster, detail_type: str, detail: Mapping[str, str], *, state: str, message: str) -> None:
    severity = _SEVERITIES.get(state, "INFO")
    backend = cluster.emr_backend
    send(
        account=backend.account_id,
        region=backend.region_name,
        source="aws.emr",
        detail_type=detail_type,
        detail=lambda: {
            **detail,
            "severity": severity,
            "clusterId": cluster.id,
            "state": state,
            "message": message,
        },
    )


# --- EMR Serverless


def job_run_changed(job_run: JobRun, previous: str | None) -> None:
    """Send the event of a job run's new state."""
    names = {"jobRunId": job_run.id, "jobRunName": job_run.name, "applicationId": job_run.application_id}
    _send_serverless(job_run, "EMR Serverless Job Run State Change", names, previous, createdBy=job_run.created_by)


def application_changed(application: Application, previous: str | None) -> None:
    """Send the event of an application's new state."""
    names = {"applicationId": application.id, "applicationName": application.name}
    _send_serverless(application, "EMR Serverless Application State Change", names, previous)


def _send_serverless(
    item: JobRun | Application, detail_type: str, names: Mapping[str, str | None], previous: str | None, **more: Any
) -> None:
    _, _, _, region, account, _ = item.arn.split(":", 5)
    state = item.state

    def detail() -> dict[str, Any]:
        document = {
            **names,
            "arn": item.arn,
            "releaseLabel": item.release_label,
            "state": state,
            "previousState": previous,
            "createdAt": _microseconds(item.created_at),
            "updatedAt": _microseconds(item.updated_at),
            **more,
        }
        return {name: value for name, value in document.items() if value is not None}

    send(account=account, region=region, source="aws.emr-serverless", detail_type=detail_type, detail=detail)


def _microseconds(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
