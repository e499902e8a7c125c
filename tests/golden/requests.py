"""The requests of every step of a definition, with fixed names and times, and stubs for what upstream steps make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import boto3

from airflow_sagemaker_pipelines.definition import Scope, Step, load_definition
from airflow_sagemaker_pipelines.definition.resolve import resolve
from airflow_sagemaker_pipelines.steps import execution as execution_module
from airflow_sagemaker_pipelines.steps.errors import StepError
from airflow_sagemaker_pipelines.steps.execution import ExecutionVariables, PipelineExecution
from airflow_sagemaker_pipelines.steps.for_each import loop_items
from airflow_sagemaker_pipelines.steps.names import TaskIdentity
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.runner import StepRun
from tests.corpus_oracle import Corpus, document_with, expressions, key_of

GOLDEN = Path(__file__).parent
ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FixedClock(datetime):
    """Time stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return START.astimezone(tz)


@cache
def real_client(service: str) -> Any:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client(service, region_name="us-east-1", **keys)


class NoAws:
    """Clients that know the API's model, and one approved model package with all baselines; they call nothing."""

    region_name = "us-east-1"

    def __init__(self) -> None:
        self.arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/group/1"

    def __call__(self, service: str) -> Any:
        client = mock.Mock(spec=["meta", "get_paginator", "describe_model_package"])
        client.meta = real_client(service).meta
        page = {"ModelPackageSummaryList": [{"ModelPackageArn": self.arn}]}
        client.get_paginator.return_value.paginate.return_value = [page]
        client.describe_model_package.return_value = {"ModelPackageArn": self.arn, "DriftCheckBaselines": BASELINES}
        return client


def _file(name: str) -> dict[str, str]:
    return {"S3Uri": f"s3://baselines/{name}.json"}


BASELINES = {
    "Bias": {"PreTrainingConstraints": _file("pre"), "PostTrainingConstraints": _file("post")},
    "Explainability": {"Constraints": _file("explainability")},
    "ModelQuality": {"Statistics": _file("statistics"), "Constraints": _file("constraints")},
    "ModelDataQuality": {"Statistics": _file("data-statistics"), "Constraints": _file("data-constraints")},
}


def requests_of(corpus: Corpus) -> dict[str, Any]:
    """Return, by step, its request, or ``{"error": …}`` where it has none."""
    definition = load_definition(corpus.document)
    values = corpus.scenarios()[0]
    files: dict[str, Any] = {}
    for item in corpus.files_read():
        document_with(item["Path"], values[key_of(item)], files)
    scope = Scope(
        parameters={name: definition.parameters[name].parse(value) for name, value in corpus.defaults.items()},
        outputs=stub_outputs(corpus),
        steps=definition.all_steps,
        read_text=lambda uri: json.dumps(files),
    )
    with mock.patch.object(execution_module, "datetime", FixedClock):
        return {name: _request(corpus, step, scope) for name, step in definition.all_steps.items()}


def stub_outputs(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Return, by step, what other steps refer to; the value of each reference is its own text."""
    outputs: dict[str, dict[str, Any]] = {name: {} for name in corpus.steps}
    for reference in sorted(set(expressions(corpus.document, "Get"))):
        if not reference.startswith("Steps.") or ".PropertyFiles." in reference:
            continue
        step = max((name for name in corpus.steps if reference.startswith(f"Steps.{name}.")), key=len, default=None)
        if step is not None:
            document_with(reference.removeprefix(f"Steps.{step}."), f"s3://{reference}", outputs[step])
    for step in corpus.steps.values():
        for file in step.get("PropertyFiles") or []:
            path = f"ProcessingOutputConfig.Outputs['{file['OutputName']}'].S3Output.S3Uri"
            document_with(path, f"s3://{step['Name']}/{file['OutputName']}", outputs[step["Name"]])
    return outputs


def _request(corpus: Corpus, step: Step, scope: Scope) -> Any:
    run = step_run(corpus, step, scope)
    try:
        if step.type == "ForEach":
            return {"IterableItems": loop_items(run)}
        return runner_of(step.type).request(run)
    except StepError as error:
        return {"error": str(error)}


def step_run(corpus: Corpus, step: Step, scope: Scope) -> StepRun:
    """Return the run of a step in a DAG run whose names are the same each time."""
    definition = load_definition(corpus.document)
    identity = TaskIdentity(
        dag_id=corpus.name,
        run_id="golden",
        task_id=step.name,
        map_index=-1 if step.loop is None else 0,
        execution_id="p4jn9xou8a8s",
        step_name=step.name if step.loop is None else f"{step.name}-0",
    )
    execution = PipelineExecution(
        pipeline_name=corpus.name.replace("_", "-"),
        execution_id=identity.execution_id,
        start_time=START,
        region_name="us-east-1",
        account_id="123456789012",
        role_arn=ROLE,
    )
    scope = replace(scope, execution=ExecutionVariables(execution, {}))
    if config := definition.experiment_config:
        names = {"ExperimentName": config.experiment_name, "TrialName": config.trial_name}
        scope = replace(scope, experiment={member: str(resolve(value, scope)) for member, value in names.items()})
    run = StepRun(step=step, identity=identity, execution=execution, scope=scope, clients=NoAws())
    if step.loop is not None:
        loop = replace(run, step=definition.all_steps[step.loop])
        run = replace(run, scope=replace(scope, current_item=loop_items(loop)[0]))
    return run


def golden_text(requests: Mapping[str, Any]) -> str:
    """Write requests as a golden file."""
    return json.dumps(requests, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n"


def golden_file(corpus: Corpus) -> Path:
    """Return where the requests of a definition are kept."""
    return GOLDEN / f"{corpus.name}.json"
