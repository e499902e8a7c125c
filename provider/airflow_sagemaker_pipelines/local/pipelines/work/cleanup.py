"""Cleanup steps: they delete what upstream steps have written to S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import StepType

from ... import s3_side
from ...describe import describe
from ...errors import JobError
from ..step_run import FAILED, Outcome

if TYPE_CHECKING:
    from ..context import Context
    from ..step_run import StepRun

_SOURCES = frozenset({StepType.TRAINING, StepType.PROCESSING, StepType.TRANSFORM})


class _CleanupError(Exception):
    """Why a source cannot be cleaned."""


def begin(context: Context) -> Outcome:
    """Delete; a source that has made nothing, or whose job ran in a VPC, is skipped."""
    cleaned: list[str] = []
    skipped: list[str] = []
    failed: list[dict[str, str]] = []
    for entry in context.arguments["Resources"]["S3"]:
        name = entry["StepName"]
        try:
            done = _clean(context, name, entry.get("S3Uris"))
        except (_CleanupError, JobError) as error:
            failed.append({"StepName": name, "ErrorCode": "ClientError", "ErrorMessage": str(error)})
        else:
            (cleaned if done else skipped).append(name)
    context.run.metadata = {"Cleanup": {"CleanedSteps": cleaned, "FailedSteps": failed, "SkippedSteps": skipped}}
    if failed and context.settings.failed_cleanup_fails:
        reasons = "; ".join(f"{item['StepName']}: {item['ErrorMessage']}" for item in failed)
        return Outcome(status=FAILED, reason=f"ClientError: Failed to clean up: {reasons}")
    return Outcome(outputs={})


def _clean(context: Context, name: str, uris: object) -> bool:
    step = context.execution.definition.all_steps[name]
    if step.type not in _SOURCES:
        raise _CleanupError(f"files of a {step.type} step cannot be deleted")
    job = _job(context, context.execution.runs.get(name))
    if job is None or job.get("VpcConfig") or (job.get("NetworkConfig") or {}).get("VpcConfig"):
        return False
    folders = list(_folders(step.type, job))
    store = context.engine.store
    if uris is None and step.type is StepType.TRAINING:
        s3_side.delete_all(store, folders[0])
        return True
    if not isinstance(uris, list) or not uris:
        raise _CleanupError("S3Uris is required for it")
    for uri in uris:
        if not any(uri.startswith(folder) and uri != folder for folder in folders):
            raise _CleanupError(f"{uri} is not an object in its output")
    for uri in uris:
        s3_side.delete(store, uri)
    return True


def _job(context: Context, run: StepRun | None) -> Mapping[str, Any] | None:
    """Return the description of a source's job, also of one that failed: it may have left files."""
    resource = context.engine.store.by_arn(run.resource_arn) if run is not None and run.resource_arn else None
    return describe(resource) if resource is not None else None


def _folders(kind: StepType, job: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a job writes; each ends in a slash, so that ``job-1`` does not include ``job-10``."""
    if kind is StepType.TRAINING:
        yield f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/"
    elif kind is StepType.TRANSFORM:
        yield f"{job['TransformOutput']['S3OutputPath'].rstrip('/')}/"
    else:
        for output in (job.get("ProcessingOutputConfig") or {}).get("Outputs") or ():
            if uri := (output.get("S3Output") or {}).get("S3Uri"):
                yield f"{uri.rstrip('/')}/"
