"""From a pipeline to its tasks, and the edges between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import BaseOperator, TriggerRule

from airflow_sagemaker_pipelines.definition import ForEachStep, PipelineDefinition
from airflow_sagemaker_pipelines.operators.admission import handled_steps, looks_upstream
from airflow_sagemaker_pipelines.operators.condition import SkipsBranch
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.operators.translator import (
    Override,
    StepTasks,
    StepTranslator,
    WatchedStepTranslator,
    check_overrides,
    refuse_replacements,
)

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.deployment import Deploy


class Start(NamedTuple):
    """What the author says about the start of executions."""

    deploy: Deploy
    version: str | int | None
    display_name: str | None
    max_parallel_steps: int | None
    execution_arn: str | None = None
    """Of an execution that somebody else starts."""


def start_task_id(orchestrator: str, definition: PipelineDefinition, start: Start, prefix: str = "") -> str:
    """Return the task that starts an execution; none does if Airflow walks the graph.

    :param prefix: what task ids have before the task's own name.
    :raises ValueError: if the author's settings do not fit together.
    """
    if orchestrator == "airflow":
        return ""
    if orchestrator != "sagemaker":
        raise ValueError(f"orchestrator must be 'airflow' or 'sagemaker', not {orchestrator!r}")
    from airflow_sagemaker_pipelines.operators.executions import check_deploy  # noqa: PLC0415
    from airflow_sagemaker_pipelines.operators.pipeline_run import START_TASK, own_task_id  # noqa: PLC0415

    check_deploy(start.deploy, has_definition=True, version=start.version)
    return f"{prefix}{own_task_id(START_TASK, definition.all_steps)}"


def make_tasks(
    pipeline: Pipeline,
    start: Start,
    *,
    overrides: Mapping[str, Override] | None = None,
    translator: StepTranslator | None = None,
    common: Mapping[str, Any] | None = None,
    loops: Mapping[str, Any] | None = None,
) -> list[BaseOperator]:
    """Make the tasks of a pipeline, with their edges.

    :param start: how an execution is started, if SageMaker walks the graph.
    :param overrides: by step, what the author wants otherwise.
    :param translator: how steps become tasks.
    :param common: arguments of every task, but
    :param loops: of those of loops, whose mapped tasks Airflow connects while it makes them.
    :returns: the tasks, but for the iterations of loops, which are in their DAG already.
    """
    common = common or {}
    steps = _step_tasks(pipeline, overrides or {}, translator, common, loops or {})
    _connect(pipeline, steps)
    frame = _frame(pipeline, steps, start, common)
    _enclose(steps, frame)
    return [*frame, *(task for tasks in steps.values() for task in tasks.chain)]


def _step_tasks(
    pipeline: Pipeline,
    overrides: Mapping[str, Override],
    translator: StepTranslator | None,
    common: Mapping[str, Any],
    loops: Mapping[str, Any],
) -> dict[str, StepTasks]:
    """Make the tasks of all steps, by step name."""
    definition = pipeline.definition
    check_overrides(overrides, definition)
    if pipeline.start_task_id:
        refuse_replacements(overrides)
    translator = translator or (WatchedStepTranslator() if pipeline.start_task_id else StepTranslator())
    if pipeline.callbacks:
        from airflow_sagemaker_pipelines.operators.fulfilment import check_callbacks  # noqa: PLC0415

        check_callbacks(pipeline, overrides)
    handled = handled_steps(definition.graph)
    tasks: dict[str, StepTasks] = {}
    for name in definition.graph.upstreams:
        step = definition.all_steps[name]
        arguments = {**common, **translator.arguments(step, pipeline)}
        if isinstance(step, ForEachStep):
            bodies = {child.name: overrides[child.name] for child in step.body if child.name in overrides}
            arguments = {**loops, **translator.arguments(step, pipeline), "body_arguments": bodies}
        if handled and looks_upstream(definition.graph, name, handled):
            arguments |= {"trigger_rule": TriggerRule.ALL_DONE, "looks_upstream": True}
        override = overrides.get(name, {})
        if isinstance(override, Mapping):
            tasks[name] = translator.translate(step, pipeline, **{**arguments, **override})
        else:
            tasks[name] = StepTasks(task=override(step, **{**common, "task_id": arguments["task_id"]}))
    return tasks


def _frame(
    pipeline: Pipeline, tasks: Mapping[str, StepTasks], start: Start, common: Mapping[str, Any]
) -> tuple[BaseOperator, ...]:
    """Make the tasks that start and end an execution; none if Airflow walks the graph."""
    if not pipeline.start_task_id:
        return ()
    from airflow_sagemaker_pipelines.operators.pipeline_run import (  # noqa: PLC0415
        END_TASK,
        START_TASK,
        FindPipelineExecutionOperator,
        PipelineExecutionOperator,
        StartPipelineRunOperator,
        own_task_id,
    )

    steps = pipeline.definition.all_steps
    own: dict[str, Any] = {**common, "task_id": own_task_id(START_TASK, steps), "pipeline": pipeline}
    first: BaseOperator
    if start.execution_arn is not None:
        first = FindPipelineExecutionOperator(**own, execution_arn=start.execution_arn)
    else:
        first = StartPipelineRunOperator(
            **own,
            deploy=start.deploy,
            version=start.version,
            display_name=start.display_name,
            max_parallel_steps=start.max_parallel_steps,
        )
    last = PipelineExecutionOperator(
        **common,
        task_id=own_task_id(END_TASK, steps),
        pipeline=pipeline,
        step_task_ids=[task.task_id for step_tasks in tasks.values() for task in step_tasks.all_tasks],
        callback_tasks={name: tasks[name].task.task_id for name in pipeline.callbacks},
        # It begins with the execution: to wait for the steps, it would have to outlive those that fail.
        trigger_rule=TriggerRule.ONE_SUCCESS,
    )
    return first, last


def _connect(pipeline: Pipeline, tasks: Mapping[str, StepTasks]) -> None:
    """Draw the edges between steps, and along the tasks of each."""
    for name, upstreams in pipeline.definition.graph.upstreams.items():
        chain = tasks[name].chain
        for upstream in upstreams:
            _draw_edge(tasks[upstream].chain[-1], chain[0])
        for first, second in pairwise(chain):
            _draw_edge(first, second)
        condition = _condition_above(pipeline, name, tasks)
        if condition is not None and tasks[name].before:
            before = [task.task_id for task in tasks[name].before]
            condition.tasks_before = {**condition.tasks_before, name: before}


def _enclose(tasks: Mapping[str, StepTasks], frame: Sequence[BaseOperator]) -> None:
    """Put all steps between the task that starts an execution and the one that ends it."""
    if not frame:
        return
    first, last = frame
    _draw_edge(first, last)
    for step_tasks in tasks.values():
        chain = step_tasks.chain
        if not chain[0].upstream_task_ids:
            _draw_edge(first, chain[0])
        if not chain[-1].downstream_task_ids:
            _draw_edge(chain[-1], last)


def _draw_edge(first: BaseOperator, second: BaseOperator) -> None:
    """Let one task wait for another.

    Airflow's own ``set_upstream`` goes through the whole DAG's tasks for each edge, so that 2,000 steps would spend
    most of their time on it.
    """
    first.downstream_task_ids.add(second.task_id)
    second.upstream_task_ids.add(first.task_id)


def _condition_above(pipeline: Pipeline, name: str, tasks: Mapping[str, StepTasks]) -> SkipsBranch | None:
    """Return the task that decides whether a step runs."""
    branch = pipeline.definition.all_steps[name].branch
    task = tasks[branch.condition].task if branch else None
    return task if isinstance(task, SkipsBranch) else None
