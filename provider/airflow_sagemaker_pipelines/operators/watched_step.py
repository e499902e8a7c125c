"""The tasks of steps that SageMaker runs: each watches one step of the run's execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow_sagemaker_pipelines._compat import (
    AirflowFailException,
    AirflowSkipException,
)
from airflow_sagemaker_pipelines.definition import Step, StepType
from airflow_sagemaker_pipelines.execution_notes import Notes, SeenEnd
from airflow_sagemaker_pipelines.operators.admission import look_upstream
from airflow_sagemaker_pipelines.operators.base import PipelineStepOperator
from airflow_sagemaker_pipelines.operators.condition import SkipsBranch
from airflow_sagemaker_pipelines.operators.lives import life_of
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.operators.retried_calls import RetriedCallsOperator
from airflow_sagemaker_pipelines.operators.watcher import WatchingOperator
from airflow_sagemaker_pipelines.steps.errors import (
    FailStepError,
    StepCallError,
    StepError,
    StepRequestError,
    StepTimeoutError,
)
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.xcom_keys import CACHE_HIT_KEY, OUTCOME_KEY, STOPPED

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.executions.ends import StepEnd, StepKey
    from airflow_sagemaker_pipelines.executions.snapshot import StepRecord
    from airflow_sagemaker_pipelines.operators.tries import Watched


class WatchedStepOperator(WatchingOperator, RetriedCallsOperator, PipelineStepOperator):
    """Watches one step of an execution, and ends as the step does.

    The first try needs no worker. The result is the step's entry in ListPipelineExecutionSteps, or, with
    ``describe_steps`` of the pipeline, the Describe answer of what the step has made.

    * Another try does what :mod:`~airflow_sagemaker_pipelines.executions.decision` says: it resumes a failed execution
      in place, or, for a step that has succeeded, starts a selective one with all tasks that are cleared.
    * Killing the task (marked failed) stops the step's job; clearing it while the step runs lets the job run on.
    * ``execution_timeout`` counts while the task waits, too; when it passes, the step's job is stopped.

    :param step: the step.
    :param pipeline: what all tasks of the pipeline share.
    :param looks_upstream: whether the task starts in any case when those before it have ended, and then looks at
        each of them; for steps whose ``DependsOn`` has triggers.
    :param item: the item of the iteration, for a step in a loop's body.
    """

    trigger = "airflow_sagemaker_pipelines.triggers.pipeline_step.PipelineStepTrigger"
    #: Whether the result is the list of the items of the step, which is a loop.
    gives_items = False

    def __init__(
        self, *, step: Step, pipeline: Pipeline, looks_upstream: bool = False, item: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.pipeline = pipeline
        self.looks_upstream = looks_upstream
        self.item = item
        self._is_made = True

    # --- without a worker

    def needs_no_worker(self) -> bool:
        """Whether a worker has nothing to do before the wait."""
        return self.step.loop is None and not self.looks_upstream

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the arguments of the trigger that are known before a run."""
        return {
            **super().trigger_arguments(),
            "digest": self.pipeline.definition.digest,
            "ends_task": self.may_end_in_triggerer(),
            "step": self.step.name,
            "gives_items": self.gives_items,
            "describes": self.pipeline.describe_steps,
        }

    # --- on a worker

    def execute(self, context: Context) -> Any:
        """Find out what this try does, and do it."""
        if self.looks_upstream:
            look_upstream(self.step, self.pipeline, context["ti"])
        return self._try(context)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the trigger saw, or do what this try is for.

        :param event: the event of :class:`~airflow_sagemaker_pipelines.triggers.pipeline_step.PipelineStepTrigger`.
        """
        from airflow_sagemaker_pipelines.executions.ends import EndState, StepEnd  # noqa: PLC0415
        from airflow_sagemaker_pipelines.executions.snapshot import StepRecord  # noqa: PLC0415
        from airflow_sagemaker_pipelines.triggers.pipeline import AGAIN  # noqa: PLC0415
        from airflow_sagemaker_pipelines.triggers.pipeline_step import CHANGED  # noqa: PLC0415
        from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT  # noqa: PLC0415

        # Airflow 3.1.0 resumes a new try with the event of the try before.
        if event.get(AGAIN) or event.get("try_number") not in {None, context["ti"].try_number}:
            return self._try(context)
        if event["verdict"] == CHANGED:
            self.refuse_change(event["execution_arn"])
        if event["verdict"] == TIMED_OUT:
            self._stop(event["execution_arn"], context)
            raise self.failure(StepTimeoutError("the task's time is up", step=self.step.name))
        if event["verdict"] == REFUSED:
            raise self.failure(StepRequestError(f"AWS does not tell its state: {event['reason']}", step=self.step.name))
        record = None if event.get("entry") is None else StepRecord(event["entry"])
        end = StepEnd(state=EndState(event["verdict"]), reason=event["reason"], record=record)
        return self._finish(context, end, event["execution_arn"], event.get("result"))

    def _try(self, context: Context) -> Any:
        from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineError  # noqa: PLC0415
        from airflow_sagemaker_pipelines.operators.tries import decide_try  # noqa: PLC0415

        try:
            return self.watch(context, decide_try(self, context))
        except PipelineError as error:
            cls = StepCallError if isinstance(error, PipelineCallError) else StepRequestError
            raise self.failure(cls(str(error), step=self.step.name, code=error.code)) from error

    def watch(self, context: Context, watched: Watched) -> Any:
        """Wait, unless there is nothing to wait for."""
        from airflow_sagemaker_pipelines.executions import ends, snapshot  # noqa: PLC0415

        if self.step.loop is not None and not watched.until_over:
            # The tasks of a loop's iterations come when the loop has ended: no deferral for each.
            seen = snapshot.read(self.clients, watched.execution.arn)
            end = ends.end_of(self.key(context), seen, stale_end=watched.stale_end)
            if end is not None:
                return self._finish(context, end, watched.execution.arn, self._result(end))
        return self.wait(
            watched.execution,
            try_number=context["ti"].try_number,
            stale_end=watched.stale_end,
            until_over=watched.until_over,
            loop=self.step.loop,
            index=context["ti"].map_index if self.step.loop else None,
        )

    def _result(self, end: StepEnd) -> dict[str, Any] | None:
        """Return what the trigger would: the step's entry or, if that is asked for, the description of what it made."""
        from airflow_sagemaker_pipelines.executions.ends import EndState  # noqa: PLC0415
        from airflow_sagemaker_pipelines.executions.resources import described  # noqa: PLC0415

        if end.record is None or end.state is not EndState.SUCCEEDED:
            return None
        answer = described(self.clients, end.record) if self.pipeline.describe_steps else None
        return answer or dict(end.record.entry)

    def has_seen(self, context: Context, arn: str, record: StepRecord | None) -> bool:
        """Whether an earlier try has seen how the step has ended, and nothing has run it since.

        :param arn: the run's present execution.
        :param record: the step in it.
        """
        # What runs at present was begun since.
        is_open = record is not None and not record.verdict.is_final
        seen = self.notes(context).seen()
        if is_open or seen is None or seen.last_of_life == life_of(context["ti"]):
            return False
        return (seen.execution, seen.ended) == (arn, None if record is None else record.ended)

    def _finish(self, context: Context, end: StepEnd, arn: str, result: Any) -> Any:
        from airflow_sagemaker_pipelines.executions.ends import EndState  # noqa: PLC0415
        from airflow_sagemaker_pipelines.executions.resources import resource_of  # noqa: PLC0415

        if end.state is EndState.SKIPPED:
            raise AirflowSkipException(f"Step '{self.step.name}' has not run: {end.reason}")
        resource = None if end.record is None else resource_of(end.record)
        self._handle = None if resource is None else resource[1]
        if result is not None:
            self._see(context, end, arn)
            self._note_reuse(context, end.record)
            return result
        if end.state is not EndState.FAILED:
            context["ti"].xcom_push(key=OUTCOME_KEY, value=STOPPED)
        verdict = Verdict.FAILED if end.state is EndState.FAILED else Verdict.STOPPED
        error: StepError = self.step_error(verdict, end.reason, attempt=_attempt(end.record))
        if self.step.type is StepType.FAIL:
            error = FailStepError(end.reason or "", step=self.step.name)
        failure = self.failure(error)
        is_retried = not isinstance(failure, AirflowFailException) and self.decide_retry(failure, context).retry
        self._see(context, end, arn, is_retried=is_retried)
        raise failure

    def _see(self, context: Context, end: StepEnd, arn: str, *, is_retried: bool = False) -> None:
        """Note the end as the last thing, so that a try after the death of a worker does not take it for told."""
        if not self.gives_items:
            life = None if is_retried else life_of(context["ti"])
            self.notes(context).see(SeenEnd(execution=arn, ended=end.ended, last_of_life=life))

    def _note_reuse(self, context: Context, record: StepRecord | None) -> None:
        if record is None:
            return
        if record.cache_source:
            self.log.info("Step '%s' was found in the cache of %s", self.step.name, record.cache_source)
            context["ti"].xcom_push(key=CACHE_HIT_KEY, value={"source_execution": record.cache_source})
        elif record.reused_from:
            self.log.info("Step '%s' is reused from %s", self.step.name, record.reused_from)

    def refuse_change(self, arn: str) -> NoReturn:
        """Fail because the execution runs another definition than the DAG has now."""
        from airflow_sagemaker_pipelines.executions.deployment import (  # noqa: PLC0415
            changes_from,
            definition_of_execution,
        )

        changes = changes_from(self.pipeline.definition, definition_of_execution(self.clients, arn))
        raise AirflowFailException(
            f"Step '{self.step.name}': the pipeline's definition was changed while this run was under way ({changes}), "
            "and its execution runs by the earlier one. Clear all tasks of the run to run them by the new definition"
        )

    @staticmethod
    def failure(error: StepError) -> Exception:
        """Return what fails the task; for good where another try would end the same way."""
        if not isinstance(error, StepRequestError | FailStepError):
            return error
        final = AirflowFailException(str(error))
        final.__cause__ = error
        return final

    def _stop(self, arn: str, context: Context) -> None:
        from airflow_sagemaker_pipelines.executions.control import stop_step  # noqa: PLC0415
        from airflow_sagemaker_pipelines.executions.errors import PipelineError  # noqa: PLC0415

        if not self.pipeline.stop_on_kill:
            return
        try:
            stop_step(self.clients, arn, self.key(context))
        except (PipelineError, StepError) as error:
            self.log.warning("Step '%s' may still run: %s", self.step.name, error)

    def notes(self, context: Context) -> Notes:
        """What the tasks of the run have noted."""
        return Notes(context["ti"], self.pipeline.start_task_id)

    def key(self, context: Context) -> StepKey:
        """What is watched."""
        from airflow_sagemaker_pipelines.executions.ends import StepKey  # noqa: PLC0415

        loop = self.step.loop
        return StepKey(step=self.step.name, loop=loop, index=context["ti"].map_index if loop else None)


def _attempt(record: StepRecord | None) -> int:
    """Return which attempt of SageMaker's own has failed."""
    return int(record.entry.get("AttemptCount") or 1) if record else 1


class WatchedConditionOperator(WatchedStepOperator, SkipsBranch):
    """Watches a Condition step, and skips the steps of the branch that is not taken.

    Skipping is a worker's matter, so each Condition step takes one for a moment.
    """

    operator_extra_links = ()

    def may_end_in_triggerer(self) -> bool:
        """Whether a success leaves nothing for a worker to do: it does not."""
        return False

    def _finish(self, context: Context, end: StepEnd, arn: str, result: Any) -> Any:
        result = super()._finish(context, end, arn, result)
        outcome = None if end.record is None else end.record.outcome
        if outcome is not None:
            self.skip_branch(context, outcome=outcome, result=result)
        return result


class WatchedItemsOperator(WatchedStepOperator):
    """Waits until a loop has ended; its result is the list of the loop's items, whatever has become of them."""

    operator_extra_links = ()
    gives_items = True


class WatchedLoopOperator(WatchedStepOperator):
    """Watches a loop; it ends after the tasks of its iterations."""

    operator_extra_links = ()
