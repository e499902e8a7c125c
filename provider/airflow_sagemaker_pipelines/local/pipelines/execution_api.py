"""StartPipelineExecution and its likes: executions and their steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import PipelineDefinition, PipelineParameterError, start_values
from airflow_sagemaker_pipelines.definition.expressions import Scalar
from airflow_sagemaker_pipelines.definition.resolve import render

from ..crud import Operation
from ..errors import AwsError, validation_error
from ..models import CREATED_BY
from ..paging import is_between, page
from . import callbacks
from .documents import present
from .execution import Execution, Start
from .names import EXECUTION_ID_LENGTH, new_id
from .selection import Reuse, select

if TYPE_CHECKING:
    from ..engine import Engine
    from .store import Pipeline


def start(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """StartPipelineExecution. A token that was used before on the pipeline gets the first one's ARN."""
    home = engine.pipelines
    pipeline = home.get(params["PipelineName"])
    key = ("StartPipelineExecution", pipeline.arn, params["ClientRequestToken"])
    with home.lock:
        if key in home.tokens:
            return {"PipelineExecutionArn": home.tokens[key]}
        execution = _new_execution(engine, pipeline, params)
        home.add_execution(execution)
        home.tokens[key] = execution.arn
    execution.begin()
    return {"PipelineExecutionArn": execution.arn}


def _new_execution(engine: Engine, pipeline: Pipeline, params: Mapping[str, Any]) -> Execution:
    home, settings = engine.pipelines, engine.state.pipelines
    version = pipeline.version(params.get("PipelineVersionId"), params.get("PipelineVersionAlias"))
    if params.get("RoleArn") and not pipeline.arn.split(":")[4] == "aws":
        raise validation_error("RoleArn can be given only for pipelines that are managed by AWS.")
    if params.get("MlflowExperimentName") and version.definition.mlflow_config is None:
        raise validation_error("MlflowExperimentName needs an MlflowConfig in the pipeline definition.")
    given = _given(params)
    values = _parameters(version.definition, given, empty=settings.empty_parameter_values)
    config = params.get("SelectiveExecutionConfig")
    reuse = select(home, pipeline, version.definition, config) if config else None
    limit = settings.concurrent_executions
    if limit is not None and sum(not item.is_over for item in home.executions()) >= limit:
        raise AwsError(
            "ResourceLimitExceeded",
            "The account-level service limit 'Number of concurrent pipeline executions' is "
            f"{limit}, with current utilization of {limit} and a request delta of 1.",
        )
    return Execution(home, pipeline, version, _start(pipeline, params, given, values, reuse))


def _start(
    pipeline: Pipeline,
    params: Mapping[str, Any],
    given: Mapping[str, str],
    values: Mapping[str, Scalar],
    reuse: Reuse | None,
) -> Start:
    parallelism = params.get("ParallelismConfiguration") or pipeline.parallelism
    return Start(
        execution_id=new_id(EXECUTION_ID_LENGTH),
        display_name=params.get("PipelineExecutionDisplayName") or f"execution-{int(time.time() * 1000)}",
        description=params.get("PipelineExecutionDescription"),
        parameters=values,
        given=given,
        parallelism=parallelism["MaxParallelExecutionSteps"] if parallelism else None,
        selective=params.get("SelectiveExecutionConfig"),
        reused=reuse.reused if reuse else None,
        wanted=reuse.wanted if reuse else None,
        mlflow_experiment=params.get("MlflowExperimentName"),
    )


def _given(params: Mapping[str, Any]) -> dict[str, str]:
    given: dict[str, str] = {}
    for item in params.get("PipelineParameters") or ():
        if item["Name"] in given:
            raise validation_error(f"Parameter '{item['Name']}' is given twice.")
        given[item["Name"]] = item["Value"]
    return given


def _parameters(definition: PipelineDefinition, given: Mapping[str, str], *, empty: bool) -> Mapping[str, Scalar]:
    for name, value in given.items():
        if not value and not empty:
            raise validation_error(f'Parameter {name} value "" is too short (length: 0, required minimum: 1).')
    try:
        return start_values(definition.parameters, given)
    except PipelineParameterError as error:
        raise validation_error(" ".join(map(str, error.problems))) from error


def stop(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """StopPipelineExecution."""
    execution = engine.pipelines.execution(params["PipelineExecutionArn"])
    _once(execution, "StopPipelineExecution", params["ClientRequestToken"], execution.stop)
    return {"PipelineExecutionArn": execution.arn}


def retry(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """RetryPipelineExecution: in place, once per token."""
    execution = engine.pipelines.execution(params["PipelineExecutionArn"])
    parallelism = (params.get("ParallelismConfiguration") or {}).get("MaxParallelExecutionSteps")
    token = params["ClientRequestToken"]
    _once(execution, "RetryPipelineExecution", token, lambda: execution.retry(parallelism))
    return {"PipelineExecutionArn": execution.arn}


def _once(execution: Execution, operation: str, token: str, action: Callable[[], None]) -> None:
    """Do something once per token; what was refused may be asked for again."""
    home, key = execution.home, (operation, execution.arn, token)
    with execution.lock:
        if key not in home.tokens:
            action()
            with home.lock:
                home.tokens[key] = execution.arn


def update(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """UpdatePipelineExecution: more or fewer parallel steps count from the next step that starts."""
    execution = engine.pipelines.execution(params["PipelineExecutionArn"])
    parallelism = params.get("ParallelismConfiguration")
    with execution.lock:
        execution.description = params.get("PipelineExecutionDescription", execution.description)
        execution.display_name = params.get("PipelineExecutionDisplayName", execution.display_name)
        if parallelism:
            execution.parallelism = parallelism["MaxParallelExecutionSteps"]
        execution.modified = time.time()
    execution.wake()
    return {"PipelineExecutionArn": execution.arn}


def describe(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """DescribePipelineExecution."""
    execution = engine.pipelines.execution(params["PipelineExecutionArn"])
    mlflow = execution.definition.mlflow_config
    with execution.lock:
        return present(
            {
                "PipelineArn": execution.pipeline.arn,
                "PipelineExecutionArn": execution.arn,
                "PipelineExecutionDisplayName": execution.display_name,
                "PipelineExecutionStatus": execution.status,
                "PipelineExecutionDescription": execution.description,
                "PipelineExperimentConfig": dict(execution.experiment.names) or None,
                "FailureReason": execution.failure_reason,
                "CreationTime": execution.started,
                "LastModifiedTime": execution.modified,
                "CreatedBy": CREATED_BY,
                "LastModifiedBy": CREATED_BY,
                "ParallelismConfiguration": execution.parallelism
                and {"MaxParallelExecutionSteps": execution.parallelism},
                "SelectiveExecutionConfig": execution.start.selective,
                "PipelineVersionId": execution.version.number,
                "PipelineVersionAliases": execution.version.aliases or None,
                "MLflowConfig": mlflow
                and present(
                    {
                        "MlflowResourceArn": mlflow.resource_arn,
                        "MlflowExperimentName": execution.start.mlflow_experiment or mlflow.experiment_name,
                    }
                ),
                "RoleArn": execution.role_arn,
            }
        )


def describe_definition(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """DescribePipelineDefinitionForExecution: what it was started with, whatever became of the pipeline."""
    execution = engine.pipelines.execution(params["PipelineExecutionArn"])
    return {"PipelineDefinition": execution.version.text, "CreationTime": execution.version.created}


def list_executions(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListPipelineExecutions: newest first unless asked otherwise."""
    pipeline, alias = engine.pipelines.get(params["PipelineName"]), params.get("PipelineVersionAlias")
    found = [
        item
        for item in list(pipeline.executions)
        if is_between(item.started, params, "Created") and (alias is None or alias in item.version.aliases)
    ]
    keys = {"CreationTime": lambda item: item.started, "PipelineExecutionArn": lambda item: item.arn}
    shown, token = page(found, params, defaults=("CreationTime", "Descending"), keys=keys)
    summaries = [_summary(item) for item in shown]
    return present({"PipelineExecutionSummaries": summaries, "NextToken": token})


def _summary(execution: Execution) -> dict[str, Any]:
    return present(
        {
            "PipelineExecutionArn": execution.arn,
            "StartTime": execution.started,
            "PipelineExecutionStatus": execution.status,
            "PipelineExecutionDescription": execution.description,
            "PipelineExecutionDisplayName": execution.display_name,
            "PipelineExecutionFailureReason": execution.failure_reason,
            "PipelineVersionAliases": execution.version.aliases or None,
        }
    )


def list_steps(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListPipelineExecutionSteps: those that have started, newest first unless asked otherwise."""
    if "PipelineExecutionArn" not in params:
        raise validation_error("PipelineExecutionArn is required.")
    execution = engine.pipelines.execution(params["PipelineExecutionArn"])
    keys = {"StartTime": lambda item: item.started}
    with execution.lock:
        shown, token = page(execution.runs.values(), params, defaults=("StartTime", "Descending"), keys=keys)
        return present({"PipelineExecutionSteps": [run.entry() for run in shown], "NextToken": token})


def list_parameters(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListPipelineParametersForExecution: values as text; a given one as it was given."""
    execution = engine.pipelines.execution(params["PipelineExecutionArn"])
    given = execution.start.given
    values = {name: given.get(name, render(value)) for name, value in execution.parameters.items()}
    if not execution.settings.list_defaults:
        values = {name: value for name, value in values.items() if name in given}
    entries = [_Listed(name, value) for name, value in values.items()]
    keys = {"Name": lambda item: item.arn}
    shown, token = page(entries, params, defaults=("Name", "Ascending"), keys=keys)
    listed = [{"Name": item.arn, "Value": item.value} for item in shown]
    return present({"PipelineParameters": listed, "NextToken": token})


class _Listed:
    """A parameter in a list, where its name tells it apart."""

    def __init__(self, name: str, value: str) -> None:
        self.arn = name
        self.value = value


OPERATIONS: dict[str, Operation] = {
    "StartPipelineExecution": start,
    "StopPipelineExecution": stop,
    "RetryPipelineExecution": retry,
    "UpdatePipelineExecution": update,
    "DescribePipelineExecution": describe,
    "DescribePipelineDefinitionForExecution": describe_definition,
    "ListPipelineExecutions": list_executions,
    "ListPipelineExecutionSteps": list_steps,
    "ListPipelineParametersForExecution": list_parameters,
    **callbacks.OPERATIONS,
}
