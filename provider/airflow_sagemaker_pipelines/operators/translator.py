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

    from airflow_sagemaker_pipelines.operators.base import PipelineStepOperator
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

    @property
    def all_tasks(self) -> tuple[Any, ...]:
        """The same, with a loop's iterations."""
        return (*self.before, *self.inner, self.task, *self.after)


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

    def operator_class(self, step: Step) -> type[PipelineStepOperator]:
        """Return the class of a step's operator."""
        return _OPERATORS.get(step.type, SageMakerStepOperator)

    def loop_classes(self) -> tuple[type[PipelineStepOperator], type[PipelineStepOperator]]:
        """Return the classes of the operator that reads a loop's items, and of the loop's own."""
        # Few pipelines have loops or fulfilled callbacks; the others need not import what makes them.
        from airflow_sagemaker_pipelines.operators.for_each import (  # noqa: PLC0415
            SageMakerForEachItemsOperator,
            SageMakerForEachOperator,
        )

        return SageMakerForEachItemsOperator, SageMakerForEachOperator

    def callback_classes(self) -> tuple[type[PipelineStepOperator], type[PipelineStepOperator]]:
        """Return the classes of the operator that gives a fulfilled callback's arguments, and of the step's own."""
        from airflow_sagemaker_pipelines.operators.fulfilment import (  # noqa: PLC0415
            CallbackArgumentsOperator,
            FulfilledCallbackOperator,
        )

        return CallbackArgumentsOperator, FulfilledCallbackOperator

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
            from airflow_sagemaker_pipelines.operators.for_each import loop_tasks  # noqa: PLC0415

            items_class, loop_class = self.loop_classes()
            items, iterations, task = loop_tasks(
                step,
                pipeline,
                arguments=arguments,
                body_arguments=body,
                operator_class=self.operator_class,
                items_class=items_class,
                loop_class=loop_class,
            )
            return StepTasks(task=task, before=[items], inner=iterations)
        if step.name in pipeline.callbacks:
            from airflow_sagemaker_pipelines.operators.fulfilment import fulfilled_tasks  # noqa: PLC0415

            first, answer, last = fulfilled_tasks(step, pipeline, arguments, *self.callback_classes())
            return StepTasks(task=last, before=[first, answer])
        return StepTasks(task=self.operator_class(step)(step=step, pipeline=pipeline, **arguments))


class WatchedStepTranslator(StepTranslator):
    """Turns steps into tasks that watch them, where SageMaker walks the graph."""

    def operator_class(self, step: Step) -> type[PipelineStepOperator]:
        """Return the class of a step's operator."""
        from airflow_sagemaker_pipelines.operators.watched_step import (  # noqa: PLC0415
            WatchedConditionOperator,
            WatchedStepOperator,
        )

        return WatchedConditionOperator if step.type is StepType.CONDITION else WatchedStepOperator

    def loop_classes(self) -> tuple[type[PipelineStepOperator], type[PipelineStepOperator]]:
        """Return the classes of the operator that waits for a loop's items, and of the loop's own."""
        from airflow_sagemaker_pipelines.operators.watched_step import (  # noqa: PLC0415
            WatchedItemsOperator,
            WatchedLoopOperator,
        )

        return WatchedItemsOperator, WatchedLoopOperator

    def callback_classes(self) -> tuple[type[PipelineStepOperator], type[PipelineStepOperator]]:
        """Return the classes of the operator that waits for a callback's message, and of the step's own."""
        from airflow_sagemaker_pipelines.operators.watched_callback import (  # noqa: PLC0415
            AnsweredCallbackOperator,
            CallbackMessageOperator,
        )

        return CallbackMessageOperator, AnsweredCallbackOperator


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


def refuse_replacements(overrides: Mapping[str, Override]) -> None:
    """Refuse other operators for steps where SageMaker runs them.

    :raises OverrideError: naming all of them.
    """
    problems = [
        Problem(f"overrides['{name}']", "SageMaker runs the step, so no other operator can", "Give a dict of arguments")
        for name, override in overrides.items()
        if not isinstance(override, Mapping)
    ]
    if problems:
        raise OverrideError(problems)
