"""What a try of a watching task does before it watches: see :mod:`~airflow_sagemaker_pipelines.executions.decision`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition import StepSelectionError
from airflow_sagemaker_pipelines.execution_notes import RunExecution
from airflow_sagemaker_pipelines.executions import control, snapshot
from airflow_sagemaker_pipelines.executions.decision import Action, ExecutionPhase, Intent, StepPhase, decide
from airflow_sagemaker_pipelines.executions.errors import PipelineRequestError
from airflow_sagemaker_pipelines.task_states import open_among, task_states

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.executions.snapshot import Snapshot
    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
    from airflow_sagemaker_pipelines.operators.watched_step import WatchedStepOperator


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a try watches.

    :param execution: the execution.
    :param stale_end: when the step ended before a retry of the execution.
    :param until_over: whether to wait until the execution is over, and to decide then.
    """

    execution: RunExecution
    stale_end: str | None = None
    until_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Situation:
    """What a try finds.

    :param ended: when the step has ended in the execution.
    """

    intent: Intent = Intent.FOLLOW
    execution: ExecutionPhase = ExecutionPhase.NONE
    step: StepPhase = StepPhase.ABSENT
    is_other_definition: bool = False
    ended: str | None = None


def decide_try(task: WatchedStepOperator, context: Context) -> Watched:
    """Decide what a try watches, and have SageMaker run the step again if that is what it is for.

    :raises AirflowFailException: if that cannot be.
    :raises PipelineError: if AWS refuses or cannot answer.
    """
    execution = task.notes(context).execution()
    found = _situation(task, context, execution)
    action = decide(found.intent, found.execution, found.step, is_other_definition=found.is_other_definition)
    task.log.info("Try %s of step '%s': %s", context["ti"].try_number, task.step.name, action)
    if execution is None or action is Action.REFUSE:
        _refuse(task, execution, found)
    if action is Action.RETRY:
        _retry(task, execution)
        return Watched(execution=execution, stale_end=found.ended)
    if action is Action.SELECT:
        return Watched(execution=_select(task, context, execution))
    return Watched(execution=execution, until_over=action is Action.WAIT)


def _situation(task: WatchedStepOperator, context: Context, execution: RunExecution | None) -> _Situation:
    if execution is None:
        return _Situation()
    if execution.digest != task.pipeline.definition.digest:
        return _Situation(execution=ExecutionPhase.RUNNING, is_other_definition=True)
    if context["ti"].try_number == 1:
        # It follows the execution wherever that is: no need to ask.
        return _Situation(execution=ExecutionPhase.RUNNING)
    name, seen = task.step.name, snapshot.read(task.clients, execution.arn)
    record = task.key(context).find(seen)
    is_left_out = execution.leaves_out(name) or (execution.stands_in_for(name) and record is None)
    # Who was left out in this execution and has ended in an earlier one was cleared.
    is_redo = task.notes(context).seen() is not None if is_left_out else task.has_seen(context, execution.arn, record)
    return _Situation(
        intent=Intent.REDO if is_redo else Intent.FOLLOW,
        execution=execution_phase(seen),
        step=StepPhase.LEFT_OUT if is_left_out else StepPhase.of(None if record is None else record.verdict),
        ended=None if record is None else record.ended,
    )


def _refuse(task: WatchedStepOperator, execution: RunExecution | None, found: _Situation) -> NoReturn:
    name = task.step.name
    if execution is None:
        raise AirflowFailException(
            f"Step '{name}': the run has no execution. Clear task '{task.pipeline.start_task_id}', which starts one"
        )
    if found.is_other_definition:
        task.refuse_change(execution.arn)
    raise AirflowFailException(
        f"Step '{name}': execution {execution.arn} was ended by a Fail step, and AWS retries no such execution. "
        "Clear all tasks of the run to start anew"
    )


def execution_phase(seen: Snapshot) -> ExecutionPhase:
    """Return where an execution is."""
    if not seen.is_over:
        return ExecutionPhase.RUNNING
    if seen.status == "Succeeded":
        return ExecutionPhase.SUCCEEDED
    if any("Fail" in step.metadata for step in seen.steps.values()):
        return ExecutionPhase.FAILED_BY_FAIL_STEP
    return ExecutionPhase.FAILED


def _retry(task: WatchedStepOperator, execution: RunExecution) -> None:
    """Have the execution go on in place, once, however many tasks ask for it."""
    try:
        control.resume(task.clients, execution.arn)
    except PipelineRequestError as error:
        raise AirflowFailException(
            f"Step '{task.step.name}': {error}. Clear all tasks of the run to start anew"
        ) from error


def _select(task: WatchedStepOperator, context: Context, source: RunExecution) -> RunExecution:
    """Start an execution of all steps whose tasks are cleared, once, however many of these ask for it."""
    pipeline, ti, clients = task.pipeline, context["ti"], task.clients
    names = _open_steps(pipeline, ti)
    try:
        selection = pipeline.definition.graph.select(names)
    except StepSelectionError as error:
        raise AirflowFailException(f"Step '{task.step.name}' cannot run again by itself: {error}") from error
    described = snapshot.describe_execution(clients, source.arn)
    version = described.get("PipelineVersionId")
    arn = control.start(
        clients,
        pipeline_name=described["PipelineArn"],
        token=control.request_token("select", ti.dag_id, ti.run_id, source.arn, *sorted(selection.selected)),
        parameters=control.parameters_of(clients, source.arn),
        display_name=described.get("PipelineExecutionDisplayName"),
        description=described.get("PipelineExecutionDescription"),
        max_parallel_steps=(described.get("ParallelismConfiguration") or {}).get("MaxParallelExecutionSteps"),
        # The pipeline may have been updated since.
        version=None if version is None else {"PipelineVersionId": version},
        selection=control.Selection(steps=selection.selected, source_arn=source.arn if selection.reused else None),
    )
    if version is None:
        control.stop_other_definition(clients, pipeline.definition, arn)
    task.log.info("Execution %s runs %s again", arn, ", ".join(selection.selected))
    execution = RunExecution(
        arn=arn,
        digest=pipeline.definition.digest,
        selected=list(selection.selected),
        reused=steps_above(pipeline, selection.selected),
    )
    task.notes(context).enter(execution)
    return execution


def steps_above(pipeline: Pipeline, selected: Sequence[str]) -> list[str]:
    """Return the steps that selected steps wait for, directly or not.

    Their tasks succeed without having run: skipped, they would have those after them skipped, too.
    """
    graph = pipeline.definition.graph
    above = {name for step in selected for name in graph.reach(step, up=True)}
    return [name for name in graph.upstreams if name in above and name not in selected]


def _open_steps(pipeline: Pipeline, ti: Any) -> list[str]:
    """Return the steps whose tasks have yet to end, and those between them: SageMaker selects no others.

    The asking task's step is among them. One between them may have ended when its task began while the one before it
    was cleared.
    """
    graph = pipeline.definition.graph
    steps: Mapping[str, str] = {pipeline.task_id(name): name for name in graph.upstreams}
    names = {steps[task_id] for task_id in open_among(task_states(ti, list(steps)))}
    above, below = ({found for name in names for found in graph.reach(name, up=up)} for up in (True, False))
    return [name for name in graph.upstreams if name in names or name in above & below]
