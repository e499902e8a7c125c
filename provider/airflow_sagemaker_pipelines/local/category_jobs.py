"""Jobs of CreateJob: each belongs to a category, which is part of its name. Timed; nothing is run."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .behaviours import Behaviour
from .crud import Operation
from .describe import describe
from .kinds import Kind, Lifecycle, Refusal
from .paging import filtered, page

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

_JOB = Kind(
    name="Job",
    stem="Job",
    label="Job",
    arn_type="job",
    duplicate=Refusal(
        code="ResourceInUse",
        text="{label} names must be unique within an AWS account and region, or a {label} with this name "
        "already exists ({arn})",
    ),
    missing=Refusal(code="ResourceNotFound", text="Requested resource not found."),
    list_defaults=("CreationTime", "Descending"),
    lifecycle=Lifecycle(ended_member="EndTime"),
    stoppable=True,
)
_SECONDARY = {"InProgress": "Executing"}


class JobBehaviour(Behaviour):
    """A job without a life of its own but the clock's."""

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Return the secondary status, of which there is one at a time, and the document with what the job adds."""
        status = str(resource.status)
        secondary = _SECONDARY.get(status, status)
        entry: dict[str, Any] = {"Status": secondary, "StartTime": resource.started or time.time()}
        answer: dict[str, Any] = {"SecondaryStatus": secondary, "SecondaryStatusTransitions": [entry]}
        if status == "Completed":
            answer["JobConfigDocument"] = _with_service_output(resource)
        return answer


def _with_service_output(resource: Resource) -> str:
    """Return the job's document with the MLflow run, where SDK 3's evaluation pipelines look for it."""
    text: str = resource.request["JobConfigDocument"]
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if not isinstance(document, dict):
        return text
    run = {"ExperimentId": "1", "RunId": uuid.uuid5(uuid.NAMESPACE_URL, resource.arn).hex, "RunName": resource.name}
    return json.dumps({"ServiceOutput": {"MlflowDetails": run}, **document})


def _kind(params: Mapping[str, Any]) -> Kind:
    category = params["JobCategory"]
    return replace(_JOB, arn_type=f"job/{category.lower()}", family=f"Job/{category}")


def create(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """CreateJob."""
    return {"JobArn": engine.create(_kind(params), params).arn}


def describe_one(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeJob: of a name in a category."""
    return describe(engine.store.get(_kind(params), params["JobName"]))


def list_some(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListJobs: of one category."""
    kind = _kind(params)
    shown, token = page(filtered(engine.store.all(kind), params), params, defaults=kind.list_defaults)
    answer: dict[str, Any] = {"JobSummaries": [_summary(resource) for resource in shown]}
    if token:
        answer["NextToken"] = token
    return answer


def stop(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """StopJob."""
    engine.stop(engine.store.get(_kind(params), params["JobName"]))
    return {}


def _summary(resource: Resource) -> dict[str, Any]:
    members = ("JobArn", "JobName", "JobCategory", "JobStatus", "CreationTime", "LastModifiedTime", "EndTime")
    document = describe(resource)
    summary = {member: document[member] for member in members if member in document}
    return {**summary, "JobSecondaryStatus": document["SecondaryStatus"]}


OPERATIONS: dict[str, Operation] = {
    "CreateJob": create,
    "DescribeJob": describe_one,
    "ListJobs": list_some,
    "StopJob": stop,
}
