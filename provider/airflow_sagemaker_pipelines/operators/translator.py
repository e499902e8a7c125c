"""How a step becomes Airflow tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_sagemaker_pipelines.definition import ForEachStep, PipelineDefinition, Problem, Step, StepType
from airflow_sagemaker_pipelines.definition.errors import ProblemsError
from airflow_sagemaker_pipelines.definition.reader import nearest
from airflow_sagemaker_pipelines.operators.callback import SageMakerCallbackOperator
from airflow_sagemaker_pipelines.operators.condition import SageMakerConditionOperator
from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline

#: For one step: arguments of its operator, or a function that makes the operator to use instead.
Override: TypeAlias = "Mapping[str, Any] | Callable[..., BaseOperator]"


_OPERATORS: Mapping[StepType, type[SageMakerStepOperator]] = {
    StepType.CALLBACK: SageMakerCallbackOperator,
    StepType.CONDITION: SageMakerConditionOperator,
}


class OverrideError(ProblemsError):
    """``overrides`` names steps that do not exist."""

    title = "The overrides cannot be used"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTasks:
    """The tasks of one step.

    :param task: stands for the step; its id is the step's name, its XCom result what other steps refer to.
    :param before: run first, in this order, after everything that the step waits for.
    :param after: run next, in this order; what waits for the step waits for them, too.
    :param inner: other tasks, between ``before`` and ``task``, whose edges are drawn already: a loop's iterations.
    """

    task: BaseOperator
    before: Sequence[BaseOperator] = ()
    after: Sequence[BaseOperator] = ()
    inner: Sequence[Any] = ()

    @property
    def chain(self) -> tuple[BaseOperator, ...]:
        """All tasks in their order."""
        return (*self.before, self.task, *self.after)


class StepTranslator:
    """Turns steps into tasks. Subclass it and pass an instance as ``translator=`` to change how.

    ::

        class Audited(StepTranslator):
            def arguments(self, step, pipeline):
                return {**super().arguments(step, pipeline), "pool": "sagemaker"}

            def translate(self, step, pipeline, **arguments):
                tasks = super().translate(step, pipeline, **arguments)
                if step.type != "RegisterModel":
                    return tasks
                return StepTasks(task=tasks.task, before=[ApprovalOperator(task_id=f"approve-{step.name}", ...)])
    """

    def operator_class(self, step: Step) -> type[SageMakerStepOperator]:
        """Return the class of a step's operator."""
        return _OPERATORS.get(step.type, SageMakerStepOperator)

    def arguments(self, step: Step, pipeline: Pipeline) -> dict[str, Any]:
        """Return the arguments of a step's operator, beside ``step`` and ``pipeline``. Overrides win over them."""
        arguments: dict[str, Any] = {"task_id": step.name}
        if step.display_name:
            arguments["task_display_name"] = step.display_name
        return arguments

    def translate(self, step: Step, pipeline: Pipeline, **arguments: Any) -> StepTasks:
        """Make the tasks of a step.

        :param arguments: what :meth:`arguments` returned, with the author's overrides; for a ForEach step also
            ``body_arguments``, the author's overrides by body step.
        """
        if isinstance(step, ForEachStep):
            body = arguments.pop("body_arguments", {})
            # Few pipelines have loops or fulfilled callbacks; the others need not import what makes them.
            from airflow_sagemaker_pipelines.operators.for_each import loop_tasks  # noqa: PLC0415

            items, iterations, task = loop_tasks(
                step, pipeline, arguments=arguments, body_arguments=body, operator_class=self.operator_class
            )
            return StepTasks(task=task, before=[items], inner=iterations)
        if step.name in pipeline.callbacks:
            from airflow_sagemaker_pipelines.operators.fulfilment import fulfilled_tasks  # noqa: PLC0415

            first, answer, last = fulfilled_tasks(step, pipeline, arguments)
            return StepTasks(task=last, before=[first, answer])
        return StepTasks(task=self.operator_class(step)(step=step, pipeline=pipeline, **arguments))


def check_overrides(overrides: Mapping[str, Override], definition: PipelineDefinition) -> None:
    """Refuse overrides of steps that do not exist.

    :raises OverrideError: naming all of them.
    """
    names = definition.all_steps
    problems = [
        Problem(f"overrides['{name}']", "the pipeline has no such step", nearest(name, names))
        for name in overrides
        if name not in names
    ]
    if problems:
        raise OverrideError(problems)
