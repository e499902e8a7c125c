"""The factory: from a pipeline definition to a DAG or a TaskGroup."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

from airflow.sdk import DAG, Param, TaskGroup

from airflow_sagemaker_pipelines.definition import (
    DefinitionSource,
    Parameter,
    ParameterType,
    PipelineDefinition,
    StepType,
    load_definition,
)
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.operators.condition import SageMakerConditionOperator
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline, is_template
from airflow_sagemaker_pipelines.operators.step import MAX_WAIT_SECONDS, SageMakerStepOperator

_JSON_SCHEMA_TYPES = {
    ParameterType.STRING: "string",
    ParameterType.INTEGER: "integer",
    ParameterType.FLOAT: "number",
    ParameterType.BOOLEAN: "boolean",
}

Orchestrator = Literal["airflow"]


def pipeline_dag(
    dag_id: str,
    definition: DefinitionSource,
    *,
    orchestrator: Orchestrator = "airflow",
    role_arn: str | None = None,
    parameters: Mapping[str, object] | None = None,
    pipeline_name: str | None = None,
    aws_conn_id: str | None = "aws_default",
    region_name: str | None = None,
    verify: bool | str | None = None,
    botocore_config: Mapping[str, Any] | None = None,
    poll_interval: float = 15.0,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG out of a SageMaker pipeline definition: a task per step.

    A task is called like its step. The definition's parameters become the DAG's params, so that the trigger form asks
    for them; a run's conf wins over ``parameters``, which wins over the definition's defaults. No call to AWS is made.

    :param dag_id: the DAG's id.
    :param definition: a path, JSON text, a dict, or an object with ``.definition()`` such as the SageMaker SDK's
        ``Pipeline``.
    :param orchestrator: who walks the graph: ``"airflow"``, each task makes its own SageMaker call.
    :param role_arn: the role for jobs and models that name none; SageMaker uses the pipeline's.
    :param parameters: values for parameters; text may hold Jinja.
    :param pipeline_name: ``Execution.PipelineName``; default: the DAG's id, in the characters that SageMaker allows.
    :param aws_conn_id: the Airflow connection to AWS.
    :param region_name: instead of the connection's region.
    :param verify: instead of the connection's setting for TLS certificates.
    :param botocore_config: arguments of ``botocore.config.Config`` for every client.
    :param poll_interval: the most seconds between two looks at a running job.
    :param dag_arguments: any argument of Airflow's ``DAG``: ``schedule``, ``start_date``, ``default_args``, …
        ``params`` are added to the pipeline's. ``dagrun_timeout`` is 28 days by default, as SageMaker's.
    :returns: the DAG; the same input gives the same serialized DAG.
    :raises PipelineDefinitionError: if anything in the definition is wrong.
    :raises PipelineParameterError: if anything in ``parameters`` is wrong.
    """
    _check_orchestrator(orchestrator)
    pipeline = Pipeline(
        definition=load_definition(definition),
        name=pipeline_name or _pipeline_name(dag_id),
        role_arn=role_arn,
        connection=_connection(aws_conn_id, region_name, verify, botocore_config),
        poll_interval=poll_interval,
        parameters=dict(parameters or {}),
        reads_conf=True,
    )
    dag_arguments.setdefault("dagrun_timeout", timedelta(seconds=MAX_WAIT_SECONDS))
    dag_arguments["params"] = _params(pipeline) | dict(dag_arguments.get("params") or {})
    dag = DAG(dag_id=dag_id, **dag_arguments)

    def add(make: Callable[..., SageMakerStepOperator], **arguments: Any) -> SageMakerStepOperator:
        # Outside the DAG's context, tasks do not copy its params: less to build, less to serialize.
        operator = make(**arguments, default_args=dag.default_args)
        dag.add_task(operator)
        return operator

    _add_tasks(pipeline, add)
    return dag


def pipeline_task_group(
    group_id: str,
    definition: DefinitionSource,
    *,
    orchestrator: Orchestrator = "airflow",
    role_arn: str | None = None,
    parameters: Mapping[str, object] | None = None,
    pipeline_name: str | None = None,
    aws_conn_id: str | None = "aws_default",
    region_name: str | None = None,
    verify: bool | str | None = None,
    botocore_config: Mapping[str, Any] | None = None,
    poll_interval: float = 15.0,
    **group_arguments: Any,
) -> TaskGroup:
    """Make a TaskGroup out of a pipeline definition, inside the DAG of the current context.

    As :func:`pipeline_dag`, with these differences: tasks are called ``<group>.<step>``, and the DAG's params are left
    alone. Hand them over with ``parameters={"Threshold": "{{ params.threshold }}"}``.

    :param group_id: the group's id; also the default of ``pipeline_name``.
    :param group_arguments: any argument of Airflow's ``TaskGroup``.
    """
    _check_orchestrator(orchestrator)
    loaded = load_definition(definition)
    with TaskGroup(group_id=group_id, **group_arguments) as group:
        pipeline = Pipeline(
            definition=loaded,
            name=pipeline_name or _pipeline_name(group_id),
            role_arn=role_arn,
            connection=_connection(aws_conn_id, region_name, verify, botocore_config),
            poll_interval=poll_interval,
            parameters=dict(parameters or {}),
            prefix=str(group.child_id("")),  # type: ignore[no-untyped-call]
        )
        _add_tasks(pipeline, lambda make, **arguments: make(**arguments))
    return group


def _check_orchestrator(orchestrator: str) -> None:
    if orchestrator != "airflow":
        raise ValueError(f"orchestrator must be 'airflow', not {orchestrator!r}")


def _connection(
    aws_conn_id: str | None,
    region_name: str | None,
    verify: bool | str | None,
    botocore_config: Mapping[str, Any] | None,
) -> AwsConnection:
    return AwsConnection(
        aws_conn_id=aws_conn_id,
        region_name=region_name,
        verify=verify,
        botocore_config=None if botocore_config is None else dict(botocore_config),
    )


def _pipeline_name(name: str) -> str:
    """Return a name with only the characters of a pipeline's name, ``[a-zA-Z0-9](-*[a-zA-Z0-9])*``."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")[:256] or "pipeline"


def _add_tasks(pipeline: Pipeline, add: Callable[..., SageMakerStepOperator]) -> None:
    definition = pipeline.definition
    tasks: dict[str, SageMakerStepOperator] = {}
    for name in definition.graph.upstreams:
        step = definition.all_steps[name]
        tasks[name] = add(
            SageMakerConditionOperator if step.type is StepType.CONDITION else SageMakerStepOperator,
            task_id=name,
            step=step,
            pipeline=pipeline,
            task_display_name=step.display_name,
        )
    for name, upstreams in definition.graph.upstreams.items():
        if upstreams:
            tasks[name].set_upstream([tasks[upstream] for upstream in upstreams])


def _params(pipeline: Pipeline) -> dict[str, Param]:
    definition: PipelineDefinition = pipeline.definition
    return {name: _param(parameter, pipeline.parameters) for name, parameter in definition.parameters.items()}


def _param(parameter: Parameter, given: Mapping[str, object]) -> Param:
    """Return the field of the trigger form for a parameter."""
    schema: dict[str, Any] = {"type": _JSON_SCHEMA_TYPES[parameter.type]}
    if parameter.enum_values:
        schema["enum"] = list(parameter.enum_values)
    value = given.get(parameter.name, parameter.default)
    if is_template(value):
        # The form shows the author's template, which is text whatever the parameter's type, and none of the enum.
        schema["type"] = [schema["type"], "string"] if schema["type"] != "string" else "string"
        if "enum" in schema:
            schema["enum"].append(value)
    elif value is not None:
        value = parameter.parse(value)
    if parameter.description:
        schema["description"] = parameter.description
    return Param(value, **schema) if value is not None else Param(**schema)
