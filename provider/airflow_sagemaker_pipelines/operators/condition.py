"""The task of a Condition step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import SkipMixin
from airflow_sagemaker_pipelines.definition import ConditionStep
from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

    from airflow_sagemaker_pipelines.definition import Step
    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline


class SkipsBranch(SkipMixin):
    """The task of a Condition step, whoever evaluates it: it skips the steps of the branch that is not taken.

    What depends on a skipped step is skipped in turn, by the trigger rule. Clearing a skipped step alone skips it
    again.
    """

    #: By step, the tasks that run before the step's own and must be skipped with it.
    tasks_before: Mapping[str, Sequence[str]] = MappingProxyType({})

    if TYPE_CHECKING:
        step: Step
        pipeline: Pipeline
        task_id: str
        get_dag: Callable[[], DAG | None]

    def skip_branch(self, context: Context, *, outcome: bool, result: Any) -> None:
        """Skip.

        :param outcome: the condition's.
        :param result: the task's result: skipping ends the task before it could be returned.
        """
        step = self.step
        if not isinstance(step, ConditionStep):
            raise TypeError(f"{step.name} is not a Condition step")
        skipped = step.else_steps if outcome else step.if_steps
        self.log.info("Condition '%s' is %s", step.name, outcome)
        if not skipped:
            return
        context["ti"].xcom_push(key="return_value", value=result)
        dag = self.get_dag()
        if dag is None:
            raise TypeError(f"task '{self.task_id}' has no DAG")
        task_ids = [
            task_id
            for child in skipped
            for task_id in (*self.tasks_before.get(child.name, ()), self.pipeline.task_id(child.name))
        ]
        self.skip(ti=context["ti"], tasks=[dag.get_task(task_id) for task_id in task_ids])


class SageMakerConditionOperator(SageMakerStepOperator, SkipsBranch):
    """Evaluates a condition, and skips the branch that is not taken."""

    operator_extra_links = ()

    def execute(self, context: Context) -> Any:
        """Evaluate, and skip."""
        result = super().execute(context)
        self.skip_branch(context, outcome=result["Outcome"], result=result)
        return result
