"""Training jobs: containers with an entry point in the request, and framework images in script mode."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_sagemaker_pipelines.local.runner import script_mode
from airflow_sagemaker_pipelines.local.runner.metrics import MetricReader
from airflow_sagemaker_pipelines.local.runner.results import CannotRunError, JobError, RunResult, algorithm_error
from airflow_sagemaker_pipelines.local.runner.s3_transfer import S3Url, extract, inside, pack
from airflow_sagemaker_pipelines.local.runner.script_mode import CODE
from airflow_sagemaker_pipelines.local.runner.work import Work, has_text

_INPUT = "/opt/ml/input"
_MODEL = "/opt/ml/model"
_OUTPUT = "/opt/ml/output"
_STEP_CHANNEL = "sagemaker_remote_function_bootstrap"
"""Channel with the driver of the SDK's ``@step`` functions."""


def run(work: Work) -> RunResult:
    """Channels, container, artifacts.

    The model is uploaded after a success, and after a stop too, as SageMaker keeps what a stopped training saved;
    after a failure nothing is. An empty model directory makes no ``model.tar.gz``. CannotRunError for an image
    that brings its own algorithm.
    """
    algorithm = work.request.get("AlgorithmSpecification") or {}
    raw = {str(k): str(v) for k, v in (work.request.get("HyperParameters") or {}).items()}
    environment = {str(k): str(v) for k, v in (work.request.get("Environment") or {}).items()}
    hyperparameters = _with_script(script_mode.decoded(raw), environment)
    entrypoint = list(algorithm.get("ContainerEntrypoint") or ())
    program = hyperparameters.get("sagemaker_program")
    if entrypoint:
        work.container.command(entrypoint)  # before any download: can it be run at all?
        if any(_STEP_CHANNEL in part for part in entrypoint) and importlib.util.find_spec("sagemaker") is None:
            raise CannotRunError("@step functions need the package sagemaker, which is not installed here")
    elif not has_text(program):
        raise CannotRunError(f"the algorithm is that of the image {algorithm.get('TrainingImage')}")

    channels = _fetch_channels(work, algorithm)
    resources = _write_config(work, raw, channels)
    for inner in (_MODEL, f"{_OUTPUT}/data", CODE):
        work.container.directory(inner)
    checkpoints = _checkpoints(work)
    variables = script_mode.toolkit_environment(
        work.name,
        hyperparameters=hyperparameters,
        channels=channels,
        resource_config=resources,
        input_data_config=channels,
    )
    arguments = [*entrypoint, *(algorithm.get("ContainerArguments") or ())]
    if not entrypoint:
        arguments = _script(work, str(program), hyperparameters)
        variables["PYTHONPATH"] = CODE
    metrics = MetricReader(algorithm.get("MetricDefinitions") or ())
    for name in metrics.refused:
        work.note(f"the expression of metric {name} cannot be used")
    arn = f"arn:aws:sagemaker:{work.region}:{work.account}:training-job/{work.name}"
    ending = work.execute(
        arguments,
        {"TRAINING_JOB_NAME": work.name, "TRAINING_JOB_ARN": arn, **variables, **environment},
        directory=CODE,
        on_line=metrics.read,
    )
    if checkpoints:
        work.transfer.store(work.container.path(checkpoints[0]), checkpoints[1])
    interrupted = ending.stopped or ending.timed_out
    if ending.exit_code != 0 and not interrupted:
        text = work.container.message(f"{_OUTPUT}/failure")
        if text is None:
            text = "" if entrypoint else script_mode.user_script_error(ending.exit_code, arguments, work.tail)
        reason = algorithm_error(text, ending.exit_code)
        return RunResult(succeeded=False, failure_reason=reason, metrics=metrics.last())
    _store_artifacts(work)
    return RunResult(
        succeeded=not interrupted,
        stopped=ending.stopped,
        timed_out=ending.timed_out,
        metrics=metrics.last(),
    )


def _with_script(hyperparameters: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The program and its archive may also be named in the environment; hyperparameters win."""
    for name in ("sagemaker_program", "sagemaker_submit_directory"):
        if not has_text(hyperparameters.get(name)) and environment.get(name.upper()):
            hyperparameters[name] = environment[name.upper()]
    return hyperparameters


def _fetch_channels(work: Work, algorithm: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Download every channel; returns the content of ``inputdataconfig.json``."""
    described: dict[str, dict[str, str]] = {}
    for channel in work.request.get("InputDataConfig") or ():
        name = channel["ChannelName"]
        source = channel.get("DataSource", {}).get("S3DataSource")
        if not source:
            raise CannotRunError(f"the data of channel {name} is not in S3")
        mode = channel.get("InputMode") or algorithm.get("TrainingInputMode") or "File"
        if mode == "Pipe":
            work.note(f"channel {name} is given as files, there are no pipes here")
        work.fetch(source["S3Uri"], f"{_INPUT}/data/{name}", source.get("S3DataType", "S3Prefix"))
        described[name] = {
            "TrainingInputMode": mode,
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        if channel.get("ContentType"):
            described[name]["ContentType"] = channel["ContentType"]
    return described


def _write_config(work: Work, raw: Mapping[str, str], channels: Mapping[str, Any]) -> dict[str, Any]:
    resource = work.request.get("ResourceConfig") or {}
    if int(resource.get("InstanceCount") or 1) > 1:
        work.note("runs on one host, whatever the InstanceCount")
    resources = script_mode.resource_config(resource.get("InstanceType", "local"))
    directory = work.container.directory(f"{_INPUT}/config")
    files = (("hyperparameters", raw), ("resourceconfig", resources), ("inputdataconfig", channels))
    for name, content in files:
        (directory / f"{name}.json").write_text(work.container.seen(json.dumps(content)))
    return resources


def _script(work: Work, program: str, hyperparameters: Mapping[str, Any]) -> list[str]:
    """Put the user's code into ``/opt/ml/code``; returns the command line."""
    code = work.container.path(CODE)
    directory = str(hyperparameters.get("sagemaker_submit_directory") or CODE)
    fetch_source(work, directory, code)
    if (code / "requirements.txt").is_file():
        work.note("requirements.txt is not installed, the job uses the packages of this interpreter")
    command = script_mode.program_arguments(program, code)
    if command[1].endswith((".py", ".sh")) and not (code / program).is_file():
        raise JobError(f"AlgorithmError: {program} is not in {directory}, exit code: 1")
    return [*command, *script_mode.as_arguments(script_mode.for_script(hyperparameters))]


def fetch_source(work: Work, directory: str, code: Path) -> None:
    """Bring a submit directory (an archive in S3, or a directory of the container) to ``code``."""
    if not directory.startswith("s3://"):
        source = work.container.path(directory.removeprefix("file://"))
        if source != code and source.is_dir():
            shutil.copytree(source, code, symlinks=True, dirs_exist_ok=True)
        return
    archive = work.transfer.fetch_object(S3Url.parse(directory), work.container.workdir / "sourcedir.tar.gz")
    extract(archive, code)
    work.container.take_in(path for path in code.rglob("*") if path.is_file())


def _checkpoints(work: Work) -> tuple[str, str] | None:
    config = work.request.get("CheckpointConfig") or {}
    if not config.get("S3Uri"):
        return None
    inner = config.get("LocalPath") or "/opt/ml/checkpoints"
    directory = work.container.directory(inner)
    for source, name in work.transfer.existing(config["S3Uri"]):
        work.transfer.fetch_object(source, inside(directory, name))
    return inner, config["S3Uri"]


def _store_artifacts(work: Work) -> None:
    config = work.request.get("OutputDataConfig") or {}
    base = f"{str(config.get('S3OutputPath', '')).rstrip('/')}/{work.name}/output"
    for inner, name in ((_MODEL, "model"), (f"{_OUTPUT}/data", "output")):
        directory = work.container.hand_out(work.container.path(inner))
        if config.get("CompressionType") == "NONE":
            work.transfer.store(directory, f"{base}/{name}")
            continue
        archive = work.container.workdir / f"{name}.tar.gz"
        if pack(directory, archive):
            work.transfer.store_file(archive, S3Url.parse(f"{base}/{archive.name}"))
