"""The two tasks beside those of the steps when SageMaker walks the graph: the one that starts, the one that ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException, AirflowRescheduleException
from airflow_sagemaker_pipelines.definition import PipelineParameterError, StepSelectionError
from airflow_sagemaker_pipelines.execution_notes import Notes, RunExecution
from airflow_sagemaker_pipelines.hooks.aws import AwsClients
from airflow_sagemaker_pipelines.operators.admission import REUSE_FROM_RUN, SELECTED_STEPS, select
from airflow_sagemaker_pipelines.operators.executions import PipelineOperator, SageMakerStartPipelineExecutionOperator
from airflow_sagemaker_pipelines.operators.leftovers import left_running, note_running
from airflow_sagemaker_pipelines.operators.triggerer_end import may_end_in_triggerer
from airflow_sagemaker_pipelines.operators.watcher import WatchingOperator
from airflow_sagemaker_pipelines.task_states import open_among, task_states
from airflow_sagemaker_pipelines.xcom_keys import EXECUTION_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.executions.control import Selection
    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline

#: The ids of these tasks, unless a step is called so.
START_TASK = "start-pipeline-execution"
END_TASK = "pipeline-execution"


def own_task_id(name: str, steps: Mapping[str, Any]) -> str:
    """Return the id of a task that is no step's: no step's name has a dot."""
    return f"pipeline.{name}" if name in steps else name


class StartPipelineRunOperator(SageMakerStartPipelineExecutionOperator):
    """Starts the execution of a run of a pipeline's DAG.

    Clearing it starts anew, and stops what the run had running before.

    :param pipeline: what all tasks of the pipeline share.
    :param arguments: those of :class:`SageMakerStartPipelineExecutionOperator`.
    """

    def __init__(self, *, pipeline: Pipeline, **arguments: Any) -> None:
        super().__init__(
            **arguments,
            pipeline_name=pipeline.name,
            definition=pipeline.definition,
            role_arn=pipeline.role_arn,
            parameters=pipeline.templates,
            **pipeline.connection.serialize(),
        )
        self.pipeline = pipeline

    def call(self, context: Context) -> dict[str, Any]:
        """Start, and note for the tasks of the steps what was started."""
        from airflow_sagemaker_pipelines.executions.control import stop  # noqa: PLC0415

        earlier = left_running(context)
        if earlier and self.pipeline.stop_on_kill:
            self.log.info("Stopping %s, which ran before the task was cleared", earlier["name"])
            stop(self.clients, earlier["name"])
        result = super().call(context)
        arn = result["PipelineExecutionArn"]
        note_running(context, {"name": arn})
        selected = None if self._selection is None else self._selection.steps
        execution = RunExecution(
            arn=arn,
            digest=self.pipeline.definition.digest,
            selected=None if selected is None else list(selected),
            reused=() if selected is None else self._above(selected),
        )
        Notes(context["ti"], self.task_id).enter(execution)
        return result

    def _above(self, selected: Sequence[str]) -> list[str]:
        from airflow_sagemaker_pipelines.operators.tries import steps_above  # noqa: PLC0415

        return steps_above(self.pipeline, selected)

    def given_parameters(self, context: Context) -> Mapping[str, Any]:
        """Return the values that differ from the definition's defaults: the run's conf over the author's."""
        declared = self.pipeline.definition.parameters
        try:
            values = self.pipeline.start_values(self.parameters, context["dag_run"].conf or {})
        except PipelineParameterError as error:
            raise AirflowFailException(str(error)) from error
        return {name: value for name, value in values.items() if value != declared[name].default}

    def selection(self, context: Context) -> Selection | None:
        """Return the steps that the run's conf selects, with the execution of the run whose outputs they use."""
        from airflow_sagemaker_pipelines.executions.control import Selection  # noqa: PLC0415

        conf = context["dag_run"].conf or {}
        if not self.pipeline.reads_conf or not conf.get(SELECTED_STEPS):
            return None
        try:
            selected = select(self.pipeline, conf).selected
        except StepSelectionError as error:
            raise AirflowFailException(str(error)) from error
        run_id = conf.get(REUSE_FROM_RUN)
        if not run_id:
            return Selection(steps=selected)
        source = context["ti"].xcom_pull(task_ids=self.task_id, run_id=run_id, key=EXECUTION_KEY)
        if source is None:
            raise AirflowFailException(f"Run '{run_id}', named by {REUSE_FROM_RUN}, has left no execution to reuse")
        return Selection(steps=selected, source_arn=source["arn"])


class FindPipelineExecutionOperator(PipelineOperator):
    """Finds an execution that somebody else has started, for the tasks that watch it.

    :param pipeline: what all tasks of the pipeline share.
    :param execution_arn: the execution; may hold Jinja.
    """

    template_fields: Sequence[str] = ("execution_arn",)

    def __init__(self, *, pipeline: Pipeline, execution_arn: str, **kwargs: Any) -> None:
        super().__init__(**pipeline.connection.serialize(), **kwargs)
        self.pipeline = pipeline
        self.execution_arn = execution_arn

    def call(self, context: Context) -> dict[str, Any]:
        """Look whether it runs the definition that the tasks are made of.

        :raises PipelineChangedError: if it runs another one.
        """
        from airflow_sagemaker_pipelines.executions.deployment import check_execution  # noqa: PLC0415

        arn = self.execution_arn.strip()
        check_execution(self.clients, self.pipeline.definition, arn)
        execution = RunExecution(arn=arn, digest=self.pipeline.definition.digest)
        Notes(context["ti"], self.task_id).enter(execution)
        return {"PipelineExecutionArn": arn}


class PipelineExecutionOperator(WatchingOperator):
    """Waits for the whole execution, and carries its verdict.

    It begins when the execution has started, although it stands after all steps, so that whoever clears a step with
    what comes after it clears this task, too. It ends when the execution is over and no task of a step can make it go
    on. The result is ``{"PipelineExecutionArn": …, "PipelineExecutionStatus": …}``, where ``CompletedWithFailures``,
    whose failures other steps have handled, is a success with a warning.

    * Killing it (marked failed), or the run, stops the execution; running Callback steps are answered, so that it can.
    * It is never retried: tasks of steps are.

    :param pipeline: what all tasks of the pipeline share.
    :param step_task_ids: the tasks of the steps.
    :param callback_tasks: by Callback step that the DAG fulfils, its task. If that ends without an answer, because
        what fulfils it has failed, the callback is answered from here.
    """

    trigger = "airflow_sagemaker_pipelines.triggers.pipeline_execution.PipelineExecutionTrigger"

    def __init__(
        self, *, pipeline: Pipeline, step_task_ids: Sequence[str], callback_tasks: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(**{**kwargs, "retries": 0})
        self.pipeline = pipeline
        self.step_task_ids = list(step_task_ids)
        self.callback_tasks = dict(callback_tasks)
        self._is_made = True

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the arguments of the trigger that are known before a run."""
        return {
            **super().trigger_arguments(),
            "ends_task": may_end_in_triggerer(self),
            "step_task_ids": self.step_task_ids,
            "callback_tasks": self.callback_tasks,
        }

    def execute(self, context: Context) -> Any:
        """Begin to wait."""
        execution = Notes(context["ti"], self.pipeline.start_task_id).execution()
        if execution is None:
            raise AirflowFailException(f"The run has no execution. Clear task '{self.pipeline.start_task_id}'")
        return self.wait(execution)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the trigger saw.

        :param event: the event of the trigger.
        """
        from airflow_sagemaker_pipelines.triggers.pipeline_execution import failures_of, result_of  # noqa: PLC0415
        from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT  # noqa: PLC0415

        arn, verdict = event["execution_arn"], event["verdict"]
        if verdict == "running" or self._has_open_tasks(context):
            # dag.test() runs one task at a time, so the others need their turn; or somebody has cleared one.
            self._answer_abandoned(context, arn)
            pause = timedelta(seconds=min(1.0, self.pipeline.poll_interval))
            raise AirflowRescheduleException(datetime.now(UTC) + pause)  # type: ignore[no-untyped-call]
        if verdict == TIMED_OUT:
            self._stop(arn)
            raise AirflowFailException(f"Execution {arn} was stopped: the task's time is up")
        if verdict == REFUSED:
            raise AirflowFailException(f"AWS does not tell the state of execution {arn}: {event['reason']}")
        if verdict != "succeeded":
            raise AirflowFailException(_message(event))
        if left := self._unexplained(event):
            raise AirflowFailException(f"Execution {arn} is {event['status']}, but these tasks have failed: {left}")
        if event["failed"]:
            self.log.warning("Execution %s is %s: %s", arn, event["status"], failures_of(event["failed"]))
        return result_of(event, arn)

    def _has_open_tasks(self, context: Context) -> bool:
        return bool(open_among(task_states(context["ti"], self.step_task_ids)))

    def _answer_abandoned(self, context: Context, arn: str) -> None:
        """Do what the trigger does, which knows no states of tasks in ``dag.test()``."""
        from airflow_sagemaker_pipelines.triggers.pipeline_execution import answer_abandoned  # noqa: PLC0415

        if self.callback_tasks:
            states = task_states(context["ti"], list(self.callback_tasks.values()))
            answer_abandoned(AwsClients(self.pipeline.connection), arn, self.callback_tasks, states)

    def _unexplained(self, event: Mapping[str, Any]) -> str:
        """Return the failed tasks whose steps have not failed."""
        explained = {self.pipeline.task_id(name) for name in event["failed"]}
        return ", ".join(name for name in event["failed_tasks"] if name not in explained)

    def _stop(self, arn: str) -> None:
        from airflow_sagemaker_pipelines.executions.control import stop  # noqa: PLC0415
        from airflow_sagemaker_pipelines.executions.errors import PipelineError  # noqa: PLC0415

        if not self.pipeline.stop_on_kill:
            return
        try:
            stop(AwsClients(self.pipeline.connection), arn)
        except PipelineError as error:
            self.log.warning("The execution may go on: %s", error)


def _message(event: Mapping[str, Any]) -> str:
    from airflow_sagemaker_pipelines.triggers.pipeline_execution import failures_of  # noqa: PLC0415

    outcome = "was stopped" if event["verdict"] == "stopped" else "failed"
    reason = event["reason"] or "AWS gives no reason"
    steps = f". {failures_of(event['failed'])}" if event["failed"] else ""
    return f"Execution {event['execution_arn']} {outcome} ({event['status']}): {reason}{steps}"
