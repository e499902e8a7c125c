"""From Airflow's context to one run of one step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import ExpressionError, Scope, Step, resolve
from airflow_sagemaker_pipelines.definition.expressions import PropertyFileReference, StepReference
from airflow_sagemaker_pipelines.operators.lives import is_told, life_of
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.execution import ExecutionVariables, PipelineExecution
from airflow_sagemaker_pipelines.steps.names import TaskIdentity, execution_id
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.hooks.aws import AwsClients
    from airflow_sagemaker_pipelines.steps.runner import StepRun

_ROLE_ARN = re.compile(r"arn:(?P<partition>[^:]+):iam::(?P<account>\d{12}):role/.+")


def step_run(
    *,
    step: Step,
    pipeline: Pipeline,
    context: Mapping[str, Any],
    rendered: Mapping[str, object],
    clients: AwsClients,
    item: Any = None,
) -> StepRun:
    """Gather what a step needs in the current task.

    :param rendered: the author's parameter values with Jinja rendered.
    :param item: the item of the iteration, in a loop's body.
    :raises PipelineParameterError: if a parameter has no usable value.
    """
    from airflow_sagemaker_pipelines.steps.runner import StepRun  # noqa: PLC0415

    ti, dag_run = context["ti"], context["dag_run"]
    identity = TaskIdentity(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index if ti.map_index is not None else -1,
        life=life_of(ti),
        execution_id=execution_id(ti.dag_id, ti.run_id, pipeline.prefix),
        # SageMaker calls the children of a loop <body step>-<index>.
        step_name=step.name if step.loop is None else f"{step.name}-{ti.map_index}",
    )
    role = _ROLE_ARN.fullmatch(pipeline.role_arn or "")
    execution = PipelineExecution(
        pipeline_name=pipeline.name,
        execution_id=identity.execution_id,
        start_time=dag_run.start_date or dag_run.run_after,
        region_name=clients.region_name,
        role_arn=pipeline.role_arn,
        **({"account_id": role["account"], "partition": role["partition"]} if role else {}),
    )
    scope = Scope(
        parameters=pipeline.start_values(rendered, dag_run.conf or {}),
        execution=ExecutionVariables(execution, {}),
        outputs=UpstreamXComs(step, pipeline, ti, key="return_value"),
        steps=pipeline.definition.all_steps,
        current_item=item,
        read_text=lambda uri: read_s3_text(clients, uri, step.name),
    )
    return StepRun(
        step=step,
        identity=identity,
        execution=execution,
        scope=_with_experiment(pipeline, scope),
        clients=clients,
        made=UpstreamXComs(step, pipeline, ti, key=HANDLE_KEY),
        uses_experiments=pipeline.experiments,
        mlflow=_mlflow(pipeline),
        is_told=partial(is_told, context),
    )


def _mlflow(pipeline: Pipeline) -> dict[str, str]:
    config = pipeline.definition.mlflow_config
    if config is None:
        return {}
    name = {"MlflowExperimentName": config.experiment_name} if config.experiment_name else {}
    return {"MlflowResourceArn": config.resource_arn, **name}


def _with_experiment(pipeline: Pipeline, scope: Scope) -> Scope:
    config = pipeline.definition.experiment_config
    if config is None:
        return scope
    names = {"ExperimentName": config.experiment_name, "TrialName": config.trial_name}
    return replace(scope, experiment={member: str(resolve(value, scope)) for member, value in names.items()})


class UpstreamXComs(Mapping[str, Any]):
    """What upstream steps left in XCom, by step name, read when asked for.

    Only steps that the step refers to are there.

    :param key: the XCom key.
    """

    def __init__(self, step: Step, pipeline: Pipeline, ti: Any, *, key: str) -> None:
        self._key = key
        self._names = {
            reference.step: None
            for reference, _ in step.references
            if isinstance(reference, StepReference | PropertyFileReference)
        }
        self._pipeline = pipeline
        self._ti = ti
        self._read: dict[str, Any] = {}

    def __getitem__(self, step: str) -> Any:
        if step not in self._names:
            raise KeyError(step)
        if step not in self._read:
            task_id = self._pipeline.task_id(step)
            outputs = self._ti.xcom_pull(task_ids=task_id, key=self._key, **self._same_iteration(step))
            if outputs is None:
                raise ExpressionError(f"task '{task_id}' has left no result; clear it to run it again")
            self._read[step] = outputs
        return self._read[step]

    def _same_iteration(self, step: str) -> dict[str, Any]:
        """Let a step in a loop's body read another one of the same iteration."""
        in_loop = self._pipeline.definition.all_steps[step].loop is not None
        return {"map_indexes": self._ti.map_index} if in_loop else {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_s3_text(clients: AwsClients, uri: str, step: str) -> str:
    """Read a text file from S3.

    :raises ExpressionError: if there is no such file, it is too large, or not text.
    :raises StepCallError: if S3 could not answer now.
    """
    from airflow_sagemaker_pipelines.steps.aws import aws_call  # noqa: PLC0415
    from airflow_sagemaker_pipelines.steps.s3 import read_body, split_s3_uri  # noqa: PLC0415

    try:
        bucket, key = split_s3_uri(uri)
    except ValueError:
        key = ""
    if not key:
        raise ExpressionError(f"'{uri}' is not the S3 URI of a file")
    try:
        with aws_call("GetObject", step=step):
            content = read_body(clients("s3").get_object(Bucket=bucket, Key=key), uri)
        return content.decode()
    except StepRequestError as error:
        raise ExpressionError(f"{uri} cannot be read: {error.message}") from error
    except UnicodeDecodeError as error:
        raise ExpressionError(f"{uri} is not text in UTF-8") from error
    except ValueError as error:
        raise ExpressionError(str(error)) from error
