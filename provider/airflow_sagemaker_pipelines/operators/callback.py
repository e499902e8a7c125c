"""The task of a Callback step that a worker outside Airflow answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.operators.base import PipelineStepOperator
from airflow_sagemaker_pipelines.operators.leftovers import forget_running
from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.steps.status import Verdict
    from airflow_sagemaker_pipelines.triggers.step import StepTrigger

#: The XCom key of outputs that the step does not declare: kept for people, out of reach of references.
UNDECLARED_KEY = "undeclared_outputs"


class SageMakerCallbackOperator(SageMakerStepOperator):
    """Sends a Callback step's message, and waits in the triggerer for the reply.

    The result is ``{"OutputParameters": {…}}``, typed as declared. A reply that says ``Failed`` fails the try.

    * A retry sends the message again with the same token, so workers get it at least once.
    * Killing the task, or its timeout, sends the message again with ``"status": "Stopping"``.
    """

    template_fields: Sequence[str] = (*SageMakerStepOperator.template_fields, "reply_queue_url")
    author_fields: Sequence[str] = (*SageMakerStepOperator.author_fields, "reply_queue_url")
    operator_extra_links = ()

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reply_queue_url = self.pipeline.callback_reply_queue_url

    def _start(self, context: Context, *, waited_since: float | None, waits: int) -> Any:
        if not self.reply_queue_url:
            name = self.step.name
            raise AirflowFailException(
                f"Step '{name}' is a Callback step, and nothing says who answers it. Pass callback_reply_queue_url=, "
                f"the SQS queue that its worker replies to, or callbacks={{'{name}': …}}, a task or function that "
                "fulfils it inside the DAG"
            )
        return super()._start(context, waited_since=waited_since, waits=waits)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the worker has replied."""
        forget_running(context)
        return super().resume(context, event)

    def may_end_in_triggerer(self) -> bool:
        """Whether a success leaves nothing for a worker to do: it does not."""
        # The outputs of a reply are checked against what the step declares.
        return False

    def _trigger(self, **arguments: Any) -> StepTrigger:
        from airflow_sagemaker_pipelines.triggers.callback import CallbackTrigger  # noqa: PLC0415

        return CallbackTrigger(reply_queue_url=str(self.reply_queue_url), **arguments)

    def _finish(
        self, context: Context, verdict: Verdict, reason: str | None, outputs: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        return super()._finish(context, verdict, reason, lambda: output_parameters(self, context, outputs()))


def output_parameters(task: PipelineStepOperator, context: Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a Callback step, and note the values that it does not declare.

    :raises StepRequestError: if a value does not have its declared type.
    """
    from airflow_sagemaker_pipelines.steps.outputs import declared_outputs  # noqa: PLC0415

    step = task.step
    undeclared = {name: value for name, value in values.items() if name not in step.output_parameters}
    if undeclared:
        task.log.warning(
            "Step '%s' does not declare %s; no other step can refer to them", step.name, ", ".join(sorted(undeclared))
        )
        context["ti"].xcom_push(key=UNDECLARED_KEY, value=undeclared)
    if missing := [name for name in step.output_parameters if name not in values]:
        task.log.warning("Step '%s' got no value for %s", step.name, ", ".join(missing))
    return {"OutputParameters": declared_outputs(step, values)}
