"""What each step type must have, beside the keys that all steps share."""

from __future__ import annotations

from collections.abc import Callable

from airflow_sagemaker_pipelines.definition.reader import ObjectReader, json_type
from airflow_sagemaker_pipelines.definition.steps import StepType


def check_envelope(kind: StepType, step: ObjectReader, arguments: ObjectReader) -> None:
    """Note what a step of this type lacks or has too much."""
    if check := _CHECKS.get(kind):
        check(step, arguments)


def _exactly_one(reader: ObjectReader, first: str, second: str) -> None:
    if reader.has(first) == reader.has(second):
        found = "both" if reader.has(first) else "neither"
        reader.problems.add(
            reader.at,
            f"has {found} of '{first}' and '{second}'",
            f"Give exactly one of '{first}' and '{second}'",
        )


def _text_or_expression(reader: ObjectReader, key: str) -> None:
    value = reader.require(key)
    if value is not None and not isinstance(value, str | dict):
        reader.problem(key, f"is {json_type(value)}", "Write a string or an expression")


def _lambda(step: ObjectReader, arguments: ObjectReader) -> None:
    _text_or_expression(step, "FunctionArn")


def _callback(step: ObjectReader, arguments: ObjectReader) -> None:
    _text_or_expression(step, "SqsQueueUrl")


def _fail(step: ObjectReader, arguments: ObjectReader) -> None:
    _text_or_expression(arguments, "ErrorMessage")


def _quality_check(step: ObjectReader, arguments: ObjectReader) -> None:
    step.choice("CheckType", ("DATA_QUALITY", "MODEL_QUALITY"), required=True)


def _clarify_check(step: ObjectReader, arguments: ObjectReader) -> None:
    kind = step.choice("CheckType", ("DATA_BIAS", "MODEL_BIAS", "MODEL_EXPLAINABILITY"), required=True)
    if kind in {"MODEL_BIAS", "MODEL_EXPLAINABILITY"}:
        step.require("ModelName")


def _emr(step: ObjectReader, arguments: ObjectReader) -> None:
    arguments.object("StepConfig", required=True)
    _exactly_one(arguments, "ClusterId", "ClusterConfig")
    if not arguments.has("ClusterConfig"):
        return
    if arguments.has("ExecutionRoleArn"):
        arguments.problem("ExecutionRoleArn", "stands beside ClusterConfig", "Use it with ClusterId only")
    cluster = arguments.object("ClusterConfig")
    if cluster.has("Instances"):
        _exactly_one(cluster.object("Instances"), "InstanceGroups", "InstanceFleets")


def _emr_serverless(step: ObjectReader, arguments: ObjectReader) -> None:
    arguments.object("JobConfig", required=True)
    _exactly_one(arguments, "ApplicationId", "ApplicationConfig")


def _endpoint_config(step: ObjectReader, arguments: ObjectReader) -> None:
    arguments.require("ProductionVariants")


def _endpoint(step: ObjectReader, arguments: ObjectReader) -> None:
    arguments.require("EndpointConfigName")


def _inference_component(step: ObjectReader, arguments: ObjectReader) -> None:
    arguments.require("InferenceComponentName")


def _lineage(step: ObjectReader, arguments: ObjectReader) -> None:
    kinds = ("Actions", "Artifacts", "Contexts", "Associations")
    if not any(arguments.has(kind) for kind in kinds):
        step.problem("Arguments", "creates nothing", f"Give at least one of {', '.join(kinds)}")
    for node, at in arguments.items("Associations"):
        association = ObjectReader.of(node, at, step.problems)
        for end in ("Source", "Destination"):
            entity = association.object(end, required=True)
            if entity.node and not entity.has("Arn"):
                entity.require("Name")
                entity.choice("Type", ("Action", "Artifact", "Context"), required=True)


def _job(step: ObjectReader, arguments: ObjectReader) -> None:
    for key in ("JobCategory", "JobConfigSchemaVersion", "JobConfigDocument"):
        arguments.require(key)


def _cleanup(step: ObjectReader, arguments: ObjectReader) -> None:
    for node, at in arguments.object("Resources", required=True).items("S3", required=True):
        ObjectReader.of(node, at, step.problems).text("StepName", required=True)


_CHECKS: dict[StepType, Callable[[ObjectReader, ObjectReader], None]] = {
    StepType.LAMBDA: _lambda,
    StepType.CALLBACK: _callback,
    StepType.FAIL: _fail,
    StepType.QUALITY_CHECK: _quality_check,
    StepType.CLARIFY_CHECK: _clarify_check,
    StepType.EMR: _emr,
    StepType.EMR_SERVERLESS: _emr_serverless,
    StepType.ENDPOINT_CONFIG: _endpoint_config,
    StepType.ENDPOINT: _endpoint,
    StepType.INFERENCE_COMPONENT: _inference_component,
    StepType.LINEAGE: _lineage,
    StepType.JOB: _job,
    StepType.CLEANUP: _cleanup,
}
