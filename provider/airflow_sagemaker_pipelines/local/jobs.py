"""Training, processing and transform jobs."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

from . import outputs
from .behaviours import Behaviour
from .errors import validation_error
from .kinds import MODEL
from .store import Phase, Resource

if TYPE_CHECKING:
    from .engine import Engine

# Where in a job's time each secondary status begins, as a share of it.
_PHASES = (
    ("Starting", 0.0, "Starting the training job"),
    ("Downloading", 0.1, "Downloading input data"),
    ("Training", 0.2, "Training image download completed. Training in progress."),
    ("Uploading", 0.9, "Uploading generated training model"),
)
_END_MESSAGES = {
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


class TrainingBehaviour(Behaviour):
    """Training: secondary statuses, a model artifact, final metrics."""

    def check(self, engine: Engine, request: dict[str, Any]) -> None:
        """Refuse a request that names no algorithm; fill in defaults."""
        algorithm = request.get("AlgorithmSpecification")
        if algorithm is None and "ServerlessJobConfig" not in request:
            raise validation_error("AlgorithmSpecification is required.")
        if algorithm is not None and bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
            raise validation_error("You must specify either TrainingImage or AlgorithmName, and not both.")
        request.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", 86400)
        for member in (
            "EnableNetworkIsolation",
            "EnableInterContainerTrafficEncryption",
            "EnableManagedSpotTraining",
        ):
            request.setdefault(member, False)

    def plan(self, resource: Resource, duration: float | None) -> None:
        """Lay the secondary statuses out over the job's time; a run's time is not known, it trains at once."""
        begin = time.time()
        span = duration if duration is not None else 0.0
        phases = _PHASES if duration is not None else _PHASES[:3]
        resource.phases = [Phase(status=s, start=begin + share * span, message=m) for s, share, m in phases]

    def stopping(self, resource: Resource, now: float) -> None:
        """Cut the plan; the job is now stopping."""
        _cut(resource, now)
        resource.phases.append(Phase(status="Stopping", start=now, message="Stopping the training job"))

    def close_phases(self, resource: Resource, now: float) -> None:
        """Cut the plan and add the end."""
        _cut(resource, now)
        status = "MaxRuntimeExceeded" if resource.timed_out else str(resource.status)
        resource.phases.append(Phase(status=status, start=now, message=_END_MESSAGES[status]))

    def leave_outputs(self, engine: Engine, resource: Resource) -> None:
        """Write the artifact and decide the final metrics of a job whose code was not run."""
        if not resource.runs_code:
            outputs.write_training(engine, resource, artifact_uri(resource))
            resource.metrics = stub_metrics(resource)

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Return artifact, secondary statuses, metrics and times."""
        now = time.time()
        shown = [phase for phase in resource.phases if phase.start <= now]
        document: dict[str, Any] = {
            "ModelArtifacts": {"S3ModelArtifacts": artifact_uri(resource)},
            "SecondaryStatus": shown[-1].status if shown else "Starting",
            "SecondaryStatusTransitions": _transitions(shown, resource),
            "ProfilingStatus": "Disabled",
            "FinalMetricDataList": resource.metrics or None,
        }
        if resource.ended is not None and resource.started is not None:
            seconds = max(1, round(resource.ended - resource.started))
            document |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        return document


class ProcessingBehaviour(Behaviour):
    """Processing: outputs in S3."""

    def leave_outputs(self, engine: Engine, resource: Resource) -> None:
        """Write the outputs of a job whose code was not run."""
        if not resource.runs_code:
            outputs.write_processing(engine, resource)


class TransformBehaviour(Behaviour):
    """Transform: needs a model; writes a file per input."""

    def check(self, engine: Engine, request: dict[str, Any]) -> None:
        """Refuse a model that does not exist."""
        engine.store.get(MODEL, request["ModelName"])

    def leave_outputs(self, engine: Engine, resource: Resource) -> None:
        """Write the outputs of a job whose code was not run."""
        if not resource.runs_code:
            outputs.write_transform(engine, resource)


def artifact_uri(resource: Resource) -> str:
    """Return where a training job's model goes."""
    config = resource.request["OutputDataConfig"]
    folder = f"{config['S3OutputPath'].rstrip('/')}/{resource.name}/output"
    return f"{folder}/model" if config.get("CompressionType") == "NONE" else f"{folder}/model.tar.gz"


def stub_metrics(resource: Resource) -> list[dict[str, Any]]:
    """Return final metrics: the rule's, else a number between 0 and 1 per metric definition.

    The number is a function of the metric and the hyperparameters: the same request scores the same every time.
    """
    algorithm = resource.request.get("AlgorithmSpecification") or {}
    values = dict(resource.rule.metrics) if resource.rule else {}
    for definition in algorithm.get("MetricDefinitions") or ():
        values.setdefault(definition["Name"], _score(definition["Name"], resource.request.get("HyperParameters")))
    now = time.time()
    return [{"MetricName": name, "Value": float(value), "Timestamp": now} for name, value in values.items()]


def _score(metric: str, parameters: Any) -> float:
    text = json.dumps([metric, parameters], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def _cut(resource: Resource, now: float) -> None:
    resource.phases = [phase for phase in resource.phases if phase.start <= now]


def _transitions(shown: list[Phase], resource: Resource) -> list[dict[str, Any]]:
    transitions = []
    for phase, following in itertools.zip_longest(shown, shown[1:]):
        entry: dict[str, Any] = {
            "Status": phase.status,
            "StartTime": phase.start,
            "StatusMessage": phase.message,
        }
        end = following.start if following is not None else resource.ended
        if end is not None:
            entry["EndTime"] = end
        transitions.append(entry)
    if resource.failure_reason and transitions:
        transitions[-1]["StatusMessage"] = resource.failure_reason
    return transitions
