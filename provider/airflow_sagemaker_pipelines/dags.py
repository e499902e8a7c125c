"""The factory: from a pipeline definition to a DAG or a TaskGroup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import DAG, TaskGroup

from airflow_sagemaker_pipelines.definition import DefinitionSource, load_definition
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.operators.step import MAX_WAIT_SECONDS
from airflow_sagemaker_pipelines.operators.translator import Override, StepTranslator
from airflow_sagemaker_pipelines.params import pipeline_params
from airflow_sagemaker_pipelines.tasks import Start, make_tasks, start_task_id

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.deployment import Deploy
    from airflow_sagemaker_pipelines.operators.fulfilment import Fulfilment

Orchestrator = Literal["airflow", "sagemaker"]
Waiting = Literal["polling", "events"]

#: What a pipeline's name cannot have.
_UNFIT = re.compile(r"[^a-zA-Z0-9]+")


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
    waiting: Waiting = "polling",
    event_queue_url: str | None = None,
    stream_logs: bool = False,
    stop_on_kill: bool = True,
    capacity_timeout: float = 24 * 3600.0,
    callback_reply_queue_url: str | None = None,
    callbacks: Mapping[str, Fulfilment] | None = None,
    experiments: bool = True,
    max_parallel_steps: int | None = None,
    deploy: Deploy = "upsert",
    pipeline_version: str | int | None = None,
    execution_display_name: str | None = None,
    describe_steps: bool = False,
    overrides: Mapping[str, Override] | None = None,
    translator: StepTranslator | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG out of a SageMaker pipeline definition: a task per step.

    A task is called like its step. The definition's parameters become the DAG's params, so that the trigger form asks
    for them; a run's conf wins over ``parameters``, which wins over the definition's defaults. No call to AWS is made.

    :param dag_id: the DAG's id.
    :param definition: a path, JSON text, a dict, or an object with ``.definition()`` such as the SageMaker SDK's
        ``Pipeline``.
    :param orchestrator: who walks the graph: with ``"airflow"`` each task makes its own SageMaker call; with
        ``"sagemaker"`` task ``start-pipeline-execution`` starts an execution of the pipeline, each task watches one
        step of it, and task ``pipeline-execution`` carries its verdict.
    :param role_arn: the role for jobs and models that name none, and of the pipeline.
    :param parameters: values for parameters; text may hold Jinja.
    :param pipeline_name: ``Execution.PipelineName``; default: the DAG's id, in the characters that SageMaker allows.
    :param aws_conn_id: the Airflow connection to AWS.
    :param region_name: instead of the connection's region.
    :param verify: instead of the connection's setting for TLS certificates.
    :param botocore_config: arguments of ``botocore.config.Config`` for every client.
    :param poll_interval: the most seconds between two looks at a running job. There are more while news is likely:
        soon after its start, and about when it ended the last time.
    :param waiting: how tasks learn that a job has ended: ``"polling"``, or ``"events"``, by a queue that EventBridge
        feeds; ``airflow sagemaker-pipelines event-queue`` makes one. Then jobs are polled every five minutes only,
        in case an event is lost, and as usual where AWS has no events.
    :param event_queue_url: the SQS queue for ``waiting="events"``. Several DAGs may share it.
    :param stream_logs: write what jobs log to CloudWatch into the tasks' logs while they run. The last lines of a job
        that has failed are there in any case.
    :param stop_on_kill: stop what a task has started when it is killed (marked failed, cleared, its run stopped) or its
        ``execution_timeout`` is up.
    :param capacity_timeout: the most seconds that a step waits while AWS refuses it because a quota is reached.
    :param callback_reply_queue_url: the SQS queue that the workers of Callback steps reply to; may hold Jinja. A reply
        is ``{"token": …, "status": "Succeeded", "outputParameters": [{"Name": …, "Value": …}]}`` or ``{"token": …,
        "status": "Failed", "failureReason": …}``.
    :param callbacks: by name of a Callback step, what fulfils it inside the DAG, instead of a message to a worker: an
        operator, such as an ``ApprovalOperator``, whose templates find the step's arguments with
        ``ti.xcom_pull(task_ids="<step>.arguments")``; a function ``(step, **arguments)`` that makes the operator; or a
        function that is called with the step's arguments, a dict, and returns a dict of its output parameters.
    :param experiments: whether a definition with ``PipelineExperimentConfig`` has its jobs recorded in SageMaker
        Experiments. Switch it off where the region or the role has none.
    :param max_parallel_steps: how many steps of a run may be at work at once: Airflow's ``max_active_tasks``. Airflow
        does not count tasks that wait in the triggerer. To bound the jobs on AWS, give the steps a pool that counts
        them: ``airflow pools set --include-deferred sagemaker 4 ""`` and ``default_args={"pool": "sagemaker"}``. With
        ``orchestrator="sagemaker"`` it is the execution's ``MaxParallelExecutionSteps``.
    :param deploy: what the start does with the pipeline in SageMaker, with ``orchestrator="sagemaker"`` only, as are
        the next three: ``"upsert"`` creates or updates it when it differs from the definition, ``"require"`` fails if
        it does, ``"never"`` does not look. In any case an execution that runs another definition is stopped at once.
    :param pipeline_version: the id (a number) or the alias of the pipeline's version to start; default: the latest.
    :param execution_display_name: the execution's; may hold Jinja. Default: the run's id.
    :param describe_steps: have the result of a step's task be the Describe answer of what it has made, as it is with
        ``orchestrator="airflow"``, instead of its entry in ListPipelineExecutionSteps.
    :param overrides: by step name, arguments of its operator (``retries``, ``pool``, ``execution_timeout``, …), or a
        function ``(step, **arguments)`` that makes the operator to use instead.
    :param translator: how steps become tasks.
    :param dag_arguments: any argument of Airflow's ``DAG``: ``schedule``, ``start_date``, ``default_args``, …
        ``params`` are added to the pipeline's. ``dagrun_timeout`` is 28 days by default, as SageMaker's.
    :returns: the DAG; the same input gives the same serialized DAG.
    :raises ValueError: if ``waiting`` is no way of waiting, or lacks its queue.
    :raises PipelineDefinitionError: if anything in the definition is wrong.
    :raises PipelineParameterError: if anything in ``parameters`` is wrong.
    :raises OverrideError: if ``overrides`` names steps that do not exist.
    :raises CallbackError: if ``callbacks`` names steps that do not exist or are no Callback steps.
    """
    loaded = load_definition(definition, overridden_steps=tuple(overrides or ()))
    start = Start(deploy, pipeline_version, execution_display_name, max_parallel_steps)
    pipeline = Pipeline(
        definition=loaded,
        start_task_id=start_task_id(orchestrator, loaded, start),
        describe_steps=describe_steps,
        name=pipeline_name or _pipeline_name(dag_id),
        role_arn=role_arn,
        connection=AwsConnection(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=botocore_config
        ),
        poll_interval=poll_interval,
        event_queue_url=_event_queue(waiting, event_queue_url),
        stream_logs=stream_logs,
        stop_on_kill=stop_on_kill,
        capacity_timeout=capacity_timeout,
        callback_reply_queue_url=callback_reply_queue_url,
        callbacks=dict(callbacks or {}),
        experiments=experiments,
        parameters=dict(parameters or {}),
        reads_conf=True,
    )
    dag_arguments.setdefault("dagrun_timeout", timedelta(seconds=MAX_WAIT_SECONDS))
    if max_parallel_steps is not None and orchestrator == "airflow":
        dag_arguments.setdefault("max_active_tasks", max_parallel_steps)
    own_params = dict(dag_arguments.get("params") or {})
    dag_arguments["params"] = pipeline_params(pipeline.definition, pipeline.parameters) | own_params
    dag = DAG(dag_id=dag_id, **dag_arguments)
    # Tasks made outside the DAG's context do not copy its params: less to build, less to serialize.
    outside, inside = {"default_args": dag.default_args}, {"dag": dag}
    for task in make_tasks(pipeline, start, overrides=overrides, translator=translator, common=outside, loops=inside):
        if task.get_dag() is None:
            dag.add_task(task)
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
    waiting: Waiting = "polling",
    event_queue_url: str | None = None,
    stream_logs: bool = False,
    stop_on_kill: bool = True,
    capacity_timeout: float = 24 * 3600.0,
    callback_reply_queue_url: str | None = None,
    callbacks: Mapping[str, Fulfilment] | None = None,
    experiments: bool = True,
    max_parallel_steps: int | None = None,
    deploy: Deploy = "upsert",
    pipeline_version: str | int | None = None,
    execution_display_name: str | None = None,
    describe_steps: bool = False,
    overrides: Mapping[str, Override] | None = None,
    translator: StepTranslator | None = None,
    **group_arguments: Any,
) -> TaskGroup:
    """Make a TaskGroup out of a pipeline definition, inside the DAG of the current context.

    As :func:`pipeline_dag`, with these differences: tasks are called ``<group>.<step>``, and the DAG's params are left
    alone. Hand them over with ``parameters={"Threshold": "{{ params.threshold }}"}``. The arguments of a Callback step
    are the result of ``<group>.<step>.arguments``.

    :param group_id: the group's id; also the default of ``pipeline_name``.
    :param group_arguments: any argument of Airflow's ``TaskGroup``.
    """
    loaded = load_definition(definition, overridden_steps=tuple(overrides or ()))
    start = Start(deploy, pipeline_version, execution_display_name, max_parallel_steps)
    with TaskGroup(group_id=group_id, **group_arguments) as group:
        prefix = str(group.child_id(""))  # type: ignore[no-untyped-call]
        pipeline = Pipeline(
            definition=loaded,
            start_task_id=start_task_id(orchestrator, loaded, start, prefix),
            describe_steps=describe_steps,
            name=pipeline_name or _pipeline_name(group_id),
            role_arn=role_arn,
            connection=AwsConnection(
                aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=botocore_config
            ),
            poll_interval=poll_interval,
            event_queue_url=_event_queue(waiting, event_queue_url),
            stream_logs=stream_logs,
            stop_on_kill=stop_on_kill,
            capacity_timeout=capacity_timeout,
            callback_reply_queue_url=callback_reply_queue_url,
            callbacks=dict(callbacks or {}),
            experiments=experiments,
            parameters=dict(parameters or {}),
            prefix=prefix,
        )
        make_tasks(pipeline, start, overrides=overrides, translator=translator)
    return group


def watch_pipeline_execution(
    execution_arn: str,
    definition: DefinitionSource,
    *,
    group_id: str = "execution",
    aws_conn_id: str | None = "aws_default",
    region_name: str | None = None,
    verify: bool | str | None = None,
    botocore_config: Mapping[str, Any] | None = None,
    poll_interval: float = 15.0,
    waiting: Waiting = "polling",
    event_queue_url: str | None = None,
    stop_on_kill: bool = False,
    describe_steps: bool = False,
    overrides: Mapping[str, Override] | None = None,
    **group_arguments: Any,
) -> TaskGroup:
    """Make a TaskGroup that watches an execution which somebody else starts: in Studio, by EventBridge, by the SDK.

    It has the tasks that :func:`pipeline_task_group` has with ``orchestrator="sagemaker"``; its task
    ``start-pipeline-execution`` only looks whether the execution runs by the definition. Clearing a step makes
    SageMaker run it again, in that execution or a selective one.

    :param execution_arn: the execution; may hold Jinja, such as ``{{ dag_run.conf["execution_arn"] }}``.
    :param definition: what the pipeline says: the tasks are made of it, before there is any execution.
    :param group_id: the group's id.
    :param stop_on_kill: whether marking a task as failed stops its step's job, and that of ``pipeline-execution`` the
        whole execution.
    :param group_arguments: any argument of Airflow's ``TaskGroup``.
    :returns: the group; for the other parameters see :func:`pipeline_dag`.
    """
    loaded = load_definition(definition, overridden_steps=tuple(overrides or ()))
    start = Start("never", None, None, None, execution_arn)
    with TaskGroup(group_id=group_id, **group_arguments) as group:
        prefix = str(group.child_id(""))  # type: ignore[no-untyped-call]
        pipeline = Pipeline(
            definition=loaded,
            name=_pipeline_name(group_id),
            start_task_id=start_task_id("sagemaker", loaded, start, prefix),
            connection=AwsConnection(
                aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=botocore_config
            ),
            poll_interval=poll_interval,
            event_queue_url=_event_queue(waiting, event_queue_url),
            stop_on_kill=stop_on_kill,
            describe_steps=describe_steps,
            prefix=prefix,
        )
        make_tasks(pipeline, start, overrides=overrides)
    return group


def _event_queue(waiting: str, url: str | None) -> str | None:
    """Return the queue to wait by, ``None`` for polling."""
    if waiting == "polling":
        return None
    if waiting != "events":
        raise ValueError(f"waiting must be 'polling' or 'events', not {waiting!r}")
    if not url:
        raise ValueError(
            "waiting='events' needs event_queue_url, an SQS queue that EventBridge feeds; "
            "`airflow sagemaker-pipelines event-queue create` makes one"
        )
    return url


def _pipeline_name(name: str) -> str:
    """Return a name with only the characters of a pipeline's name, ``[a-zA-Z0-9](-*[a-zA-Z0-9])*``."""
    return _UNFIT.sub("-", name).strip("-")[:256] or "pipeline"
