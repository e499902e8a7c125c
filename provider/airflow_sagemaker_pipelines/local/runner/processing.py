"""Processing jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_sagemaker_pipelines.local.runner.results import CannotRunError, RunResult, algorithm_error
from airflow_sagemaker_pipelines.local.runner.script_mode import resource_config
from airflow_sagemaker_pipelines.local.runner.work import Work

_CONFIG = "/opt/ml/config"
_OUTPUT = "/opt/ml/output"


def run(work: Work) -> RunResult:
    """Inputs, container, outputs.

    Outputs are uploaded once, after a success, whatever their ``S3UploadMode``. CannotRunError if the program is
    the image's own, or if an input is not in S3.
    """
    application = work.request.get("AppSpecification", {})
    entrypoint = list(application.get("ContainerEntrypoint") or ())
    if not entrypoint:
        raise CannotRunError(f"the entry point is that of the image {application.get('ImageUri')}")
    work.container.command(entrypoint)  # before any download: can it be run at all?
    _fetch_inputs(work)
    _write_config(work)
    outputs = list(_outputs(work))
    for inner, _ in outputs:
        work.container.directory(inner)
    work.container.directory(_OUTPUT)

    ending = work.execute(
        [*entrypoint, *(application.get("ContainerArguments") or ())], work.request.get("Environment") or {}
    )
    if ending.stopped or ending.timed_out:
        return RunResult(succeeded=False, stopped=ending.stopped, timed_out=ending.timed_out)
    message = work.container.message(f"{_OUTPUT}/message")
    if ending.exit_code != 0:
        failure = work.container.message(f"{_OUTPUT}/failure") or ""
        reason = algorithm_error(failure, ending.exit_code)
        return RunResult(succeeded=False, failure_reason=reason, exit_message=message)
    for inner, url in outputs:
        work.transfer.store(work.container.hand_out(work.container.path(inner)), url)
    return RunResult(succeeded=True, exit_message=message)


def _fetch_inputs(work: Work) -> None:
    for item in work.request.get("ProcessingInputs") or ():
        source: Mapping[str, Any] = item.get("S3Input") or {}
        if item.get("AppManaged"):
            continue
        if not source.get("S3Uri"):
            raise CannotRunError(f"the input {item.get('InputName')} is not in S3")
        work.fetch(source["S3Uri"], source["LocalPath"], source.get("S3DataType", "S3Prefix"))


def _outputs(work: Work) -> Iterator[tuple[str, str]]:
    for item in (work.request.get("ProcessingOutputConfig") or {}).get("Outputs") or ():
        target: Mapping[str, Any] = item.get("S3Output") or {}
        if item.get("AppManaged"):
            continue
        if target.get("S3Uri") and target.get("LocalPath"):
            yield target["LocalPath"], target["S3Uri"]
        else:
            work.note(f"the output {item.get('OutputName')} does not go to S3 and is left out")


def _write_config(work: Work) -> None:
    cluster = work.request.get("ProcessingResources", {}).get("ClusterConfig", {})
    if int(cluster.get("InstanceCount") or 1) > 1:
        work.note("runs on one host, whatever the InstanceCount")
    resources = resource_config(cluster.get("InstanceType", "local"))
    arn = f"arn:aws:sagemaker:{work.region}:{work.account}:processing-job/{work.name}"
    job = {**work.request, "ProcessingJobName": work.name, "ProcessingJobArn": arn}
    directory = work.container.directory(_CONFIG)
    for name, content in (("processingjobconfig.json", job), ("resourceconfig.json", resources)):
        (directory / name).write_text(work.container.seen(json.dumps(content, default=str)))
