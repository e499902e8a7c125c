"""Batch transform with a framework model: its inference script serves the records of S3 objects."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_sagemaker_pipelines.local.runner import _inference
from airflow_sagemaker_pipelines.local.runner.results import CannotRunError, JobError, RunResult
from airflow_sagemaker_pipelines.local.runner.s3_transfer import S3Url, extract, inside
from airflow_sagemaker_pipelines.local.runner.script_mode import CODE
from airflow_sagemaker_pipelines.local.runner.training import fetch_source
from airflow_sagemaker_pipelines.local.runner.work import Work, has_text

_MODEL = "/opt/ml/model"
_SEE_LOG = "See job logs for more information"
_DEFAULT_PROGRAM = "inference.py"
_MEGABYTE = 1_000_000


def run(work: Work, model: Mapping[str, Any]) -> RunResult:
    """Model, inputs, predictions: ``<name>.out`` per object below ``S3OutputPath``.

    One wrong record fails the job, and then nothing is uploaded. CannotRunError if the model has no inference
    script, has several containers, or comes from a model package.
    """
    container = _container(model)
    environment = {str(k): str(v) for k, v in (container.get("Environment") or {}).items()}
    environment |= {str(k): str(v) for k, v in (work.request.get("Environment") or {}).items()}
    _fetch_model(work, container)
    code, program = _inference_script(work, environment)
    data, result = work.request.get("TransformInput") or {}, work.request.get("TransformOutput") or {}
    pairs = _fetch_inputs(work, data)
    filters = work.request.get("DataProcessing") or {}
    spec = {
        "program": program,
        "code": work.container.seen(code),
        "model_dir": work.container.seen(_MODEL),
        "files": pairs,
        "content_type": data.get("ContentType") or "application/octet-stream",
        "gzip": data.get("CompressionType") == "Gzip",
        "split": data.get("SplitType") or "None",
        "strategy": work.request.get("BatchStrategy") or "MultiRecord",
        "max_bytes": int(work.request.get("MaxPayloadInMB") or 6) * _MEGABYTE,
        "accept": result.get("Accept"),
        "assemble": result.get("AssembleWith") or "None",
        "input_filter": filters.get("InputFilter") or "$",
        "output_filter": filters.get("OutputFilter") or "$",
        "join": filters.get("JoinSource") == "Input",
    }
    if spec["split"] not in {"None", "Line"}:
        raise CannotRunError(f"records of SplitType {spec['split']} cannot be read here")
    file = work.container.workdir / "transform.json"
    file.write_text(json.dumps(spec))
    work.container.path(CODE).mkdir(exist_ok=True)
    ending = work.execute(
        ["python3", _inference.__file__, str(file)], {"PYTHONPATH": code, **environment}, directory=code
    )
    if ending.stopped or ending.timed_out:
        return RunResult(succeeded=False, stopped=ending.stopped, timed_out=ending.timed_out)
    if ending.exit_code != 0:
        # the service blames the client for what the container answered with 4xx
        blame = "ClientError" if ending.exit_code == _inference.BAD_REQUEST else "AlgorithmError"
        return RunResult(succeeded=False, failure_reason=f"{blame}: {_SEE_LOG}")
    work.transfer.store(work.container.workdir / "out", str(result["S3OutputPath"]))
    return RunResult(succeeded=True)


def _container(model: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else list(model.get("Containers") or ())
    if len(containers) != 1:
        raise CannotRunError(f"the model has {len(containers)} containers")
    only: Mapping[str, Any] = containers[0]
    if only.get("ModelPackageName"):
        raise CannotRunError("the model comes from a model package")
    return only


def _fetch_model(work: Work, container: Mapping[str, Any]) -> None:
    """Download the model to ``/opt/ml/model``, unpacked."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    url = container.get("ModelDataUrl") or source.get("S3Uri")
    directory = work.container.directory(_MODEL)
    if not url:
        return
    if source.get("CompressionType") == "None":
        work.fetch(url, _MODEL)
        return
    archive = work.transfer.fetch_object(S3Url.parse(url), work.container.workdir / "model.tar.gz")
    if not tarfile.is_tarfile(archive):
        raise JobError(f"ClientError: Invalid model data: {url} is not a tar archive")
    extract(archive, directory)
    work.container.take_in(path for path in directory.rglob("*") if path.is_file())


def _inference_script(work: Work, environment: Mapping[str, str]) -> tuple[str, str]:
    """Directory (as the job names it) and file name of the inference script."""
    program = environment.get("SAGEMAKER_PROGRAM") or _DEFAULT_PROGRAM
    directory = environment.get("SAGEMAKER_SUBMIT_DIRECTORY") or f"{_MODEL}/code"
    if directory.startswith("s3://"):
        fetch_source(work, directory, work.container.directory(CODE))
        directory = CODE
    for candidate in (directory.removeprefix("file://"), f"{_MODEL}/code", CODE):
        if (work.container.path(candidate) / program).is_file():
            return candidate, program
    if has_text(environment.get("SAGEMAKER_PROGRAM")):
        raise JobError(f"AlgorithmError: {program} is not in {directory}, exit code: 1")
    raise CannotRunError("the model has no inference script, its image serves it")


def _fetch_inputs(work: Work, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Download the objects; returns pairs of input and output file."""
    source = (data.get("DataSource") or {}).get("S3DataSource") or {}
    found = work.transfer.objects(str(source.get("S3Uri")), source.get("S3DataType", "S3Prefix"))
    inputs, outputs = work.container.workdir / "in", work.container.workdir / "out"
    pairs: list[tuple[str, str]] = []
    for s3_object, name in found:
        local: Path = work.transfer.fetch_object(s3_object, inside(inputs, name))
        target = inside(outputs, f"{name}.out")
        target.parent.mkdir(parents=True, exist_ok=True)
        pairs.append((str(local), str(target)))
    return pairs
