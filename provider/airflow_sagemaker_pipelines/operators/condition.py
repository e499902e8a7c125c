"""The task of a Condition step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import SkipMixin
from airflow_sagemaker_pipelines.definition import ConditionStep
from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class SageMakerConditionOperator(SageMakerStepOperator, SkipMixin):
    """Evaluates a condition and skips the steps of the branch that is not taken.

    What depends on a skipped step is skipped in turn, by the trigger rule. Clearing a skipped step alone skips it
    again.
    """

    operator_extra_links = ()
    #: By step, the tasks that run before the step's own and must be skipped with it.
    tasks_before: Mapping[str, Sequence[str]] = MappingProxyType({})

    def execute(self, context: Context) -> Any:
        """Evaluate, and skip."""
        result = super().execute(context)
        skip_branch(self, context, result["Outcome"], result)
        return result


def skip_branch(task: Any, context: Context, outcome: bool, result: Any) -> None:
    """Skip the steps of the branch that a Condition step does not take.

    :param task: the step's task, with ``skip`` and ``tasks_before``.
    :param result: the task's result: skipping ends the task before it could be returned.
    """
    step = task.step
    if not isinstance(step, ConditionStep):
        raise TypeError(f"{step.name} is not a Condition step")
    skipped = step.else_steps if outcome else step.if_steps
    task.log.info("Condition '%s' is %s", step.name, outcome)
    if not skipped:
        return
    context["ti"].xcom_push(key="return_value", value=result)
    dag = task.get_dag()
    if dag is None:
        raise TypeError(f"task '{task.task_id}' has no DAG")
    task_ids = [
        task_id
        for child in skipped
        for task_id in (*task.tasks_before.get(child.name, ()), task.pipeline.task_id(child.name))
    ]
    task.skip(ti=context["ti"], tasks=[dag.get_task(task_id) for task_id in task_ids])
