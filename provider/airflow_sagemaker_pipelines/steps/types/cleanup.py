"""Cleanup steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_sagemaker_pipelines.definition import ExpressionError, Step, StepType
from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, error_code, error_message, is_transient, required
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepFailedError, StepRequestError
from airflow_sagemaker_pipelines.steps.job import SageMakerJob, without_nulls
from airflow_sagemaker_pipelines.steps.runner import State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.s3 import split_s3_uri
from airflow_sagemaker_pipelines.steps.status import Verdict

#: UNCERTAIN: AWS does not say whether a source that could not be cleaned fails the step. It does here: files that
#: somebody wanted gone are still there, and a retry may succeed.
FAILED_SOURCES_FAIL_THE_STEP = True

_SOURCES = frozenset({StepType.TRAINING, StepType.PROCESSING, StepType.TRANSFORM})
#: DeleteObjects takes this many keys.
_KEYS_PER_CALL = 1000
_INTERNAL = "InternalFailure"
_SERVICE_FAULTS = frozenset({"InternalError", "ServiceUnavailable", "SlowDown"})


class Cleanup(StepRunner):
    """Deletes what upstream steps wrote to S3.

    * Of a Training step, everything below ``<S3OutputPath>/<job>/``, which is the model artifact and its likes.
    * Of a Processing or Transform step, the objects that the step lists; each must lie in that step's output.

    A source that made nothing, or whose job ran in a VPC, is skipped. Nothing is deleted unless every source is as it
    should be. In a bucket with versioning, the deleted objects' versions remain. A retry deletes what is still there.
    """

    step_type = StepType.CLEANUP
    noun = "cleanup"

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return what is to be deleted: by source ``S3Uris``, or an ``S3Prefix`` that ends in a slash.

        :raises StepRequestError: if a source is of another type, or an object is not in its source's output.
        """
        resources: dict[str, Any] = without_nulls(run.resolve(run.step.arguments["Resources"]))
        deletions: list[dict[str, Any]] = []
        skipped: list[dict[str, str]] = []
        for entry in resources["S3"]:
            name = entry["StepName"]
            step = _source(run, name)
            job = _described(run, step)
            if job is None:
                skipped.append({"StepName": name, "Reason": "it has made nothing"})
            elif _in_vpc(job):
                skipped.append({"StepName": name, "Reason": "its job ran in a VPC"})
            else:
                deletions.append({"StepName": name, **_deletion(run, step, job, entry.get("S3Uris"))})
        return {"Resources": {"S3": deletions}, "SkippedSteps": skipped}

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Delete.

        :raises StepCallError: if some objects could not be deleted now, after all others have been.
        :raises StepFailedError: if they could not for another cause.
        """
        cleaned, failed = [], []
        for source in request["Resources"]["S3"]:
            if problem := _delete(run, source):
                failed.append({"StepName": source["StepName"], **problem})
            else:
                cleaned.append(source["StepName"])
        if failed and FAILED_SOURCES_FAIL_THE_STEP:
            reasons = "; ".join(f"'{item['StepName']}': {item['ErrorMessage']}" for item in failed)
            mended_by_a_retry = all(item["ErrorCode"] == _INTERNAL for item in failed)
            cls = StepCallError if mended_by_a_retry else StepFailedError
            raise cls(f"files of {len(failed)} steps could not be deleted: {reasons}", step=run.step.name)
        skipped = [item["StepName"] for item in request["SkippedSteps"]]
        outputs = {"CleanedSteps": cleaned, "FailedSteps": failed, "SkippedSteps": skipped}
        return State(handle={}, verdict=Verdict.SUCCEEDED, description=outputs)


def _source(run: StepRun, name: str) -> Step:
    step = run.scope.steps.get(name)
    if step is None or step.type not in _SOURCES:
        found = f"a {step.type} step" if step is not None else "no step of the pipeline"
        raise StepRequestError(
            f"its source '{name}' is {found}; files of {', '.join(sorted(_SOURCES))} steps can be deleted",
            step=run.step.name,
        )
    return step


def _described(run: StepRun, step: Step) -> Mapping[str, Any] | None:
    """Return the description of a source's job, also of one that failed or was stopped: it may have left files."""
    from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415 - the registry imports us

    outputs = _left(run.scope.outputs, step)
    if outputs is not None:
        return outputs
    handle, runner = _left(run.made, step), runner_of(step.type)
    if handle is None or not isinstance(runner, SageMakerJob):
        return None
    return runner.look(run, dict(handle)).description


def _left(results: Mapping[str, Any], step: Step) -> Mapping[str, Any] | None:
    try:
        return results[step.name] or None
    except (KeyError, ExpressionError):
        return None


def _in_vpc(job: Mapping[str, Any]) -> bool:
    # A transform job runs in the network of its model, which its description does not show.
    return bool(job.get("VpcConfig") or (job.get("NetworkConfig") or {}).get("VpcConfig"))


def _deletion(run: StepRun, step: Step, job: Mapping[str, Any], uris: object) -> dict[str, Any]:
    folders = list(_output_folders(step.type, job))
    if uris is None and step.type is StepType.TRAINING:
        return {"S3Prefix": folders[0]}
    if not isinstance(uris, list) or not uris or not all(isinstance(uri, str) for uri in uris):
        raise StepRequestError(
            f"its source '{step.name}' needs S3Uris, a list of objects: only Training steps do without",
            step=run.step.name,
        )
    for uri in uris:
        if not any(uri.startswith(folder) and uri != folder for folder in folders):
            raise StepRequestError(
                f"{uri} is not an object in the output of step '{step.name}' ({', '.join(folders) or 'none in S3'})",
                step=run.step.name,
            )
    return {"S3Uris": uris}


def _output_folders(kind: StepType, job: Mapping[str, Any]) -> Iterator[str]:
    """Return where a job writes; each ends in a slash, so that ``job-1`` does not include ``job-10``."""
    if kind is StepType.TRAINING:
        yield f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/"
    elif kind is StepType.TRANSFORM:
        yield f"{job['TransformOutput']['S3OutputPath'].rstrip('/')}/"
    else:
        for output in (job.get("ProcessingOutputConfig") or {}).get("Outputs", ()):
            if uri := (output.get("S3Output") or {}).get("S3Uri"):
                yield f"{uri.rstrip('/')}/"


def _delete(run: StepRun, source: Mapping[str, Any]) -> dict[str, str] | None:
    """Delete one source's objects; return why that was not possible."""
    client = run.clients("s3")
    try:
        for bucket, keys in _batches(client, source):
            objects = [{"Key": key} for key in keys]
            # Not quiet: an answer that was cut off looks like one without errors.
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects})
            if errors := answer.get("Errors"):
                first = errors[0]
                return _problem(
                    f"{first.get('Code')}: {first.get('Message')} (s3://{bucket}/{first.get('Key')})",
                    internal=first.get("Code") in _SERVICE_FAULTS,
                )
            required(answer, "Deleted", "DeleteObjects")
    except AWS_ERRORS as error:
        return _problem(f"{error_code(error) or 'no answer'}: {error_message(error)}", internal=is_transient(error))
    return None


def _problem(message: str, *, internal: bool) -> dict[str, str]:
    return {"ErrorCode": _INTERNAL if internal else "ClientError", "ErrorMessage": message}


def _batches(client: Any, source: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    if "S3Prefix" in source:
        bucket, prefix = split_s3_uri(source["S3Prefix"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            # A page has at most 1000 objects, none if there are none. The count tells that from a cut-off page.
            required(page, "KeyCount", "ListObjectsV2")
            if keys := [item["Key"] for item in page.get("Contents", ())]:
                yield bucket, keys
        return
    by_bucket: dict[str, list[str]] = {}
    for uri in source["S3Uris"]:
        bucket, key = split_s3_uri(uri)
        by_bucket.setdefault(bucket, []).append(key)
    for bucket, keys in by_bucket.items():
        for start in range(0, len(keys), _KEYS_PER_CALL):
            yield bucket, keys[start : start + _KEYS_PER_CALL]
