"""How a try of a step's task ends, and whether another one follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_sagemaker_pipelines._compat import HAS_RETRY_POLICIES, AirflowFailException, TaskDeferralError
from airflow_sagemaker_pipelines.operators.base import PipelineStepOperator
from airflow_sagemaker_pipelines.operators.kills import stop_if_over
from airflow_sagemaker_pipelines.operators.lives import failures_before, first_try_age, note_told
from airflow_sagemaker_pipelines.operators.retries import Decision, decide, retries_of
from airflow_sagemaker_pipelines.steps.errors import FailStepError, StepError, StepRequestError
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY, OUTCOME_KEY, STOPPED

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.definition import Step


class RetriedStepOperator(PipelineStepOperator):
    """The task of a step whose tries are Airflow's.

    A failed try is repeated as the step's ``RetryPolicies`` say, then as often as the author's ``retries``. What runs
    is stopped when the task is killed, and before it fails for good.
    """

    author_retries: int
    # Kept on the class until there is something to keep.
    _ti: Any = None

    @staticmethod
    def retries_for(step: Step) -> int:
        """Return how many retries a step's policies may need in all."""
        return retries_of(step)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, or end what runs if its trigger has crashed and no retry is left to wait for it."""
        self._ti = context["ti"]
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralError as error:
            ti = context["ti"]
            if not (self.decide_retry(error, context).retry and ti.try_number <= ti.max_tries):
                self._handle = ti.xcom_pull(task_ids=self.task_id, key=HANDLE_KEY, map_indexes=ti.map_index)
                self._give_up()
            raise

    def _finish(
        self, context: Context, verdict: Verdict, reason: str | None, outputs: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        if verdict is Verdict.SUCCEEDED:
            return outputs()
        if verdict is Verdict.STOPPED:
            context["ti"].xcom_push(key=OUTCOME_KEY, value=STOPPED)
        error = self.step_error(verdict, reason, attempt=context["ti"].try_number)
        # Without a retry no other try should come; if one does, the worker has died with the news.
        if self.decide_retry(error, context).retry:
            note_told(context, self._handle or {})
        raise error

    def decide_retry(self, error: BaseException, context: Context) -> Decision:
        """Decide whether a failed try is followed by another one."""
        return decide(
            error,
            self.step,
            failures=failures_before(context["ti"]),
            author_retries=self.author_retries,
            running_for=first_try_age(context),
        )

    def _fail(self, error: StepError, context: Context) -> NoReturn:
        """Fail the task; for good where another try would end the same way."""
        if isinstance(error, StepRequestError | FailStepError):
            raise AirflowFailException(str(error)) from error
        if not HAS_RETRY_POLICIES and not self.decide_retry(error, context).retry:
            raise AirflowFailException(str(error)) from error
        raise error

    def _give_up(self) -> None:
        """Stop what runs, unless ``stop_on_kill`` is off. A refusal must not hide why the task ends."""
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS  # noqa: PLC0415

        if not self._handle or not self.pipeline.stop_on_kill:
            return
        self.log.info("Stopping %s", self.runner.resource(self._handle))
        try:
            self.runner.stop(self.clients, self._handle)
        except AWS_ERRORS as error:
            self.log.warning("%s may still run: %s", self.runner.resource(self._handle), error)

    def on_kill(self) -> None:
        """Stop what the step started if somebody has ended or cleared the task, or its time is up.

        A worker that is killed for any other reason leaves it to the next try.
        """
        if self._handle and self.pipeline.stop_on_kill:
            stop_if_over(self._ti, self._give_up, self.log)
