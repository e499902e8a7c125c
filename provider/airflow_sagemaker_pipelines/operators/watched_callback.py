"""The tasks of a Callback step that the DAG fulfils while SageMaker walks the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.operators.callback import output_parameters
from airflow_sagemaker_pipelines.operators.fulfilment import ARGUMENTS_SUFFIX, answer_of
from airflow_sagemaker_pipelines.operators.watched_step import WatchedStepOperator
from airflow_sagemaker_pipelines.steps.errors import StepError
from airflow_sagemaker_pipelines.xcom_keys import CALLBACK_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.executions.snapshot import StepRecord
    from airflow_sagemaker_pipelines.operators.tries import Watched


class CallbackMessageOperator(WatchedStepOperator):
    """Waits for the message of a Callback step; its result is the step's arguments.

    Clearing it once the step has ended makes SageMaker run the step, and ask, again.
    """

    operator_extra_links = ()
    trigger = "airflow_sagemaker_pipelines.triggers.callback_arguments.CallbackArgumentsTrigger"

    def has_seen(self, context: Context, arn: str, record: StepRecord | None) -> bool:
        """Whether an earlier try has seen the end of the step: if it has ended, this task is to have it run again."""
        return record is not None and record.verdict.is_final

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the arguments, or end as the step has."""
        from airflow_sagemaker_pipelines.triggers.callback_arguments import ASKED  # noqa: PLC0415

        if event.get("verdict") != ASKED or event.get("try_number") not in {None, context["ti"].try_number}:
            return super().resume(context, event)
        message = {"token": event["token"], "arguments": event["arguments"]}
        context["ti"].xcom_push(key=CALLBACK_KEY, value=message)
        return event["arguments"]


class AnsweredCallbackOperator(WatchedStepOperator):
    """Answers a Callback step with the result of the task that fulfils it, then watches the step.

    A retry gives the same answer again, which AWS takes for the first.

    :param answer_task: the task that fulfils the step.
    """

    operator_extra_links = ()

    def __init__(self, *, answer_task: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.answer_task = answer_task

    #: The first try begins with the answer, a worker's matter.
    start_from_trigger = False

    def watch(self, context: Context, watched: Watched) -> Any:
        """Answer, then wait."""
        if not watched.until_over and not watched.execution.stands_in_for(self.step.name):
            try:
                self._answer(context)
            except StepError as error:
                raise self.failure(error) from error
        return super().watch(context, watched)

    def _answer(self, context: Context) -> None:
        from airflow_sagemaker_pipelines.executions.callbacks import send_success  # noqa: PLC0415
        from airflow_sagemaker_pipelines.executions.control import request_token  # noqa: PLC0415

        arguments_task = f"{self.pipeline.task_id(self.step.name)}{ARGUMENTS_SUFFIX}"
        message = context["ti"].xcom_pull(task_ids=arguments_task, key=CALLBACK_KEY)
        if message is None:
            raise AirflowFailException(
                f"Step '{self.step.name}': task '{arguments_task}' has left no message; clear it to run it again"
            )
        outputs = output_parameters(self, context, answer_of(self, context))["OutputParameters"]
        send_success(
            self.clients,
            message["token"],
            outputs,
            step=self.step.name,
            client_request_token=request_token("answer", message["token"]),
        )
