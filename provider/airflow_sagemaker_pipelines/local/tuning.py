"""Hyperparameter tuning jobs: their training jobs are real ones of this endpoint, and the best of them is known."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .behaviours import Behaviour, behaviour_of
from .describe import describe
from .kinds import TRAINING, TUNING
from .paging import SORT_KEYS, page
from .service_model import summary_members

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

# SageMaker's own ceiling for the jobs of one tuning job.
_MOST_JOBS = 750
_LIST = "ListTrainingJobsForHyperParameterTuningJob"


class TuningBehaviour(Behaviour):
    """Tuning: trains as many jobs as it may, as many at once as it may, and ends with the last of them."""

    drives_itself = True

    def begin(self, engine: Engine, resource: Resource) -> None:
        """Start the first training jobs; their time adds up to the tuning job's own."""
        total, parallel = _limits(resource)
        rounds = -(-total // parallel)
        resource.extra["_child_duration"] = engine.duration_of(resource) / rounds
        for _ in range(min(parallel, total)):
            _start_child(engine, resource)

    def stop(self, engine: Engine, resource: Resource) -> None:
        """Stop the training jobs that run; the tuning job ends with the last of them."""
        running = [child for child in resource.children if not child.is_over]
        for child in running:
            engine.stop(child)
        if not running:
            engine.finish(resource, "Stopped")

    def child_ended(self, engine: Engine, resource: Resource, child: Resource) -> None:
        """Start the next training job, or end the tuning job."""
        with engine.store.lock:
            resource.modified = time.time()
            total, _ = _limits(resource)
            stopping = resource.status == "Stopping"
            more = not stopping and len(resource.children) < total
        if more:
            _start_child(engine, resource)
        elif all(item.is_over for item in resource.children):
            _finish(engine, resource, stopping=stopping)

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Return the counters and the best training job."""
        document: dict[str, Any] = {
            "TrainingJobStatusCounters": _status_counters(resource.children),
            "ObjectiveStatusCounters": _objective_counters(resource),
        }
        best = best_child(resource)
        if best is not None:
            document["BestTrainingJob"] = _summary(best)
        if resource.ended is not None and resource.status == "Completed":
            document["TuningJobCompletionDetails"] = {"NumberOfTrainingJobsObjectiveNotImproving": 0}
        return document


def list_children(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListTrainingJobsForHyperParameterTuningJob.

    Ordered by objective, it leaves out the jobs that reported none, as AWS does.
    """
    with engine.store.lock:
        return _list_children(engine.store.get(TUNING, params["HyperParameterTuningJobName"]), params)


def _list_children(tuning: Resource, params: Mapping[str, Any]) -> dict[str, Any]:
    children: Iterable[Resource] = list(tuning.children)
    status = params.get("StatusEquals")
    if status:
        children = [child for child in children if child.status == status]
    if params.get("SortBy") == "FinalObjectiveMetricValue":
        children = [child for child in children if objective_value(child) is not None]
    keys = {**SORT_KEYS, "FinalObjectiveMetricValue": objective_value}
    shown, token = page(children, params, defaults=("Name", "Ascending"), keys=keys)
    answer: dict[str, Any] = {"TrainingJobSummaries": [_summary(child) for child in shown]}
    if token:
        answer["NextToken"] = token
    return answer


def objective(resource: Resource) -> Mapping[str, Any]:
    """Return the objective of a tuning job, wherever the request says it; empty if it does not."""
    definitions = [resource.request.get("TrainingJobDefinition") or {}]
    definitions.extend(resource.request.get("TrainingJobDefinitions") or ())
    found = resource.request["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective")
    for definition in definitions:
        found = found or definition.get("TuningObjective")
    return found or {}


def objective_value(child: Resource) -> float | None:
    """Return the objective metric of a completed training job of a tuning job."""
    if child.parent is None or child.status != "Completed":
        return None
    metric = objective(child.parent).get("MetricName")
    values = [entry["Value"] for entry in child.metrics if entry["MetricName"] == metric]
    return values[-1] if values else None


def best_child(resource: Resource) -> Resource | None:
    """Return the training job with the best objective so far."""
    scored = [(value, child) for child in resource.children if (value := objective_value(child)) is not None]
    if not scored:
        return None
    pick = min if objective(resource).get("Type") == "Minimize" else max
    return pick(scored, key=lambda pair: pair[0])[1]


def _limits(resource: Resource) -> tuple[int, int]:
    limits = resource.request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    total = min(limits.get("MaxNumberOfTrainingJobs") or 1, _MOST_JOBS)
    return total, min(limits.get("MaxParallelTrainingJobs") or 1, total)


def _start_child(engine: Engine, tuning: Resource) -> None:
    with engine.store.lock:
        index = len(tuning.children) + 1
        request = _child_request(tuning, index)
        behaviour_of(TRAINING).check(engine, request)
        child = engine.store.add(TRAINING, request["TrainingJobName"], request)
        child.parent, child.status = tuning, "InProgress"
        child.extra["TuningJobArn"] = tuning.arn
        child.extra["_duration"] = tuning.extra["_child_duration"]
        tuning.children.append(child)
    child.rule = engine.take_rule(child, TRAINING.create_operation)
    engine.start(child, "InProgress")


def _child_request(tuning: Resource, index: int) -> dict[str, Any]:
    definitions = tuning.request.get("TrainingJobDefinitions") or [tuning.request["TrainingJobDefinition"]]
    definition = copy.deepcopy(definitions[(index - 1) % len(definitions)])
    ranges = definition.pop("HyperParameterRanges", None)
    ranges = ranges or tuning.request["HyperParameterTuningJobConfig"].get("ParameterRanges") or {}
    tuned = _sample(ranges, _seed(tuning, index))
    parameters = {**(definition.pop("StaticHyperParameters", None) or {}), **tuned}
    metric = objective(tuning).get("MetricName")
    if metric:
        parameters["_tuning_objective_metric"] = metric
    resources = definition.pop("HyperParameterTuningResourceConfig", None)
    if resources and "ResourceConfig" not in definition:
        wanted = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
        definition["ResourceConfig"] = {name: resources[name] for name in wanted if name in resources}
    algorithm = definition["AlgorithmSpecification"]
    if metric and not any(item["Name"] == metric for item in algorithm.get("MetricDefinitions") or ()):
        # A built-in algorithm brings its metrics with it.
        algorithm["MetricDefinitions"] = [
            *(algorithm.get("MetricDefinitions") or ()),
            {"Name": metric, "Regex": f"{metric}: ([0-9.]+)"},
        ]
    token = hashlib.sha256(f"{tuning.arn} {index}".encode()).hexdigest()[:8]
    return {
        **definition,
        "TrainingJobName": f"{tuning.name}-{index:03d}-{token}",
        "HyperParameters": parameters,
    }


def _seed(tuning: Resource, index: int) -> str:
    # Not the name: the same search finds the same values in every run.
    config = tuning.request["HyperParameterTuningJobConfig"]
    return json.dumps([config, index], sort_keys=True)


def _sample(ranges: Mapping[str, Any], seed: str) -> dict[str, str]:
    dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    found: dict[str, str] = {}
    for item in ranges.get("ContinuousParameterRanges") or ():
        found[item["Name"]] = str(dice.uniform(float(item["MinValue"]), float(item["MaxValue"])))
    for item in ranges.get("IntegerParameterRanges") or ():
        found[item["Name"]] = str(dice.randint(int(item["MinValue"]), int(item["MaxValue"])))
    for item in ranges.get("CategoricalParameterRanges") or ():
        found[item["Name"]] = dice.choice(item["Values"])
    return found


def _finish(engine: Engine, tuning: Resource, *, stopping: bool) -> None:
    rule = tuning.rule
    if stopping:
        engine.finish(tuning, "Stopped")
    elif rule is not None and rule.outcome != "Completed":
        engine.finish(tuning, rule.outcome, rule.reason)
    elif not any(child.status == "Completed" for child in tuning.children):
        engine.finish(tuning, "Failed", "All training jobs failed. Please take a look at the training jobs failures.")
    else:
        engine.finish(tuning, "Completed")


def _status_counters(children: Iterable[Resource]) -> dict[str, int]:
    counters = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    names = {"Failed": "NonRetryableError", "Stopping": "InProgress"}
    for child in children:
        counters[names.get(str(child.status), str(child.status))] += 1
    return counters


def _objective_counters(tuning: Resource) -> dict[str, int]:
    counters = {"Succeeded": 0, "Pending": 0, "Failed": 0}
    for child in tuning.children:
        if not child.is_over:
            counters["Pending"] += 1
        else:
            counters["Succeeded" if objective_value(child) is not None else "Failed"] += 1
    return counters


def _summary(child: Resource) -> dict[str, Any]:
    document = describe(child)
    allowed = summary_members(_LIST, "TrainingJobSummaries")
    tuning, value = child.parent, objective_value(child)
    summary: dict[str, Any] = {name: entry for name, entry in document.items() if name in allowed}
    static = _static_names(tuning) if tuning is not None else set()
    parameters = child.request["HyperParameters"]
    summary["TunedHyperParameters"] = {
        name: entry for name, entry in parameters.items() if name not in static and name != "_tuning_objective_metric"
    }
    if child.is_over:
        summary["ObjectiveStatus"] = "Succeeded" if value is not None else "Failed"
    else:
        summary["ObjectiveStatus"] = "Pending"
    if tuning is not None and value is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**objective(tuning), "Value": value}
    return summary


def _static_names(tuning: Resource) -> set[str]:
    definitions = tuning.request.get("TrainingJobDefinitions") or [tuning.request["TrainingJobDefinition"]]
    return {name for definition in definitions for name in definition.get("StaticHyperParameters") or ()}
