"""Callback steps that are fulfilled inside the DAG: the ``callbacks`` of a pipeline.

Such a step has three tasks, one after the other:

* ``<step>.arguments`` resolves the step's arguments; they are its XCom result.
* The task that fulfils the step: the author's operator, or ``<step>.answer`` around the author's function.
* The step's own task turns the result of the second into the step's typed output parameters.

A step's name has no dot, so these ids never clash with another step's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow.sdk import BaseOperator, TriggerRule, XComArg

from airflow_sagemaker_pipelines._compat import AirflowFailException, AirflowSkipException
from airflow_sagemaker_pipelines.definition import Problem, StepType
from airflow_sagemaker_pipelines.definition.errors import ProblemsError
from airflow_sagemaker_pipelines.definition.reader import nearest
from airflow_sagemaker_pipelines.operators.admission import handled_steps
from airflow_sagemaker_pipelines.operators.callback import output_parameters
from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator
from airflow_sagemaker_pipelines.steps.errors import StepError, StepFailedError
from airflow_sagemaker_pipelines.task_states import task_states

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.definition import Step
    from airflow_sagemaker_pipelines.operators.base import PipelineStepOperator
    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
    from airflow_sagemaker_pipelines.steps.runner import StepRun

#: What fulfils a Callback step: an operator; a function ``(step, **arguments)`` that makes one; or a function that is
#: called with the step's arguments, a dict, and returns a dict of its outputs.
Fulfilment: TypeAlias = "BaseOperator | XComArg | Callable[..., Any]"

ARGUMENTS_SUFFIX = ".arguments"
ANSWER_SUFFIX = ".answer"


class CallbackError(ProblemsError):
    """``callbacks`` does not fit the pipeline's Callback steps."""

    title = "The callbacks cannot be used"


class CallbackArgumentsOperator(SageMakerStepOperator):
    """Resolves the arguments of a Callback step; its result is what a worker would get as ``arguments``."""

    operator_extra_links = ()

    def make_request(self, run: StepRun) -> dict[str, Any]:
        """Return the arguments."""
        return dict(run.resolve(run.step.arguments))

    def execute(self, context: Context) -> Any:
        """Return the arguments, unless the step does not run."""
        if self._reuse is not None:
            raise AirflowSkipException(f"Step '{self.step.name}' is not selected; nothing has to fulfil it")
        return self.request


class CallbackFunctionOperator(BaseOperator):
    """Fulfils a Callback step by a function of the DAG's author.

    :param function: called with the step's arguments; returns its outputs by name.
    :param arguments_task: the task whose result the arguments are.
    """

    def __init__(
        self, *, function: Callable[[dict[str, Any]], Mapping[str, Any]], arguments_task: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.arguments_task = arguments_task

    @property
    def custom_operator_name(self) -> str:
        """Show the function's name in the UI."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def execute(self, context: Context) -> Any:
        """Call the function."""
        return self.function(context["ti"].xcom_pull(task_ids=self.arguments_task))


class FulfilledCallbackOperator(SageMakerStepOperator):
    """Stands for a Callback step that another task of the DAG fulfils, and types that task's result as declared.

    The result of a human-in-the-loop operator offers the fields of its form, and ``chosen_options``, the chosen option
    (several as a JSON list), ``responded_by_user`` and ``responded_at``.

    :param answer_task: the task that fulfils the step.
    """

    operator_extra_links = ()

    def __init__(self, *, answer_task: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.answer_task = answer_task

    def make_request(self, run: StepRun) -> dict[str, Any]:
        """Return nothing: the request is the other tasks' matter, and has no values when the step does not run."""
        return {}

    def _start(self, context: Context, *, waited_since: float | None, waits: int) -> Any:
        try:
            return output_parameters(self, context, answer_of(self, context))
        except StepError as error:
            self._fail(error, context)


def answer_of(task: Any, context: Context) -> Mapping[str, Any]:
    """Return what the task that fulfils a Callback step has answered, by output.

    :param task: the step's own task, with ``answer_task``.
    :raises AirflowSkipException: if the task was skipped.
    :raises AirflowFailException: if it has not run.
    :raises StepFailedError: if it has failed, or its result is of no use.
    """
    ti = context["ti"]
    state = task_states(ti, [task.answer_task]).get(task.answer_task)
    if state == "skipped":
        raise AirflowSkipException(f"Task '{task.answer_task}', which fulfils step '{task.step.name}', was skipped")
    if state == "upstream_failed":
        raise AirflowFailException(f"Task '{task.answer_task}', which fulfils step '{task.step.name}', has not run")
    if state != "success":
        raise StepFailedError(f"task '{task.answer_task}', which fulfils it, is {state}", step=task.step.name)
    return _values(task, ti.xcom_pull(task_ids=task.answer_task))


def _values(task: Any, result: Any) -> Mapping[str, Any]:
    from airflow_sagemaker_pipelines.steps.replies import output_values  # noqa: PLC0415

    if result is None and not task.step.output_parameters:
        return {}
    if not isinstance(result, Mapping):
        expected = ", ".join(task.step.output_parameters) or "no outputs"
        raise StepFailedError(
            f"the result of task '{task.answer_task}' must be a dict with {expected}; it is {str(result)[:200]}",
            step=task.step.name,
        )
    if "chosen_options" in result and "params_input" in result:
        return _human_answer(task, result)
    if "OutputParameters" in result and "OutputParameters" not in task.step.output_parameters:
        try:
            return output_values(result["OutputParameters"])
        except ValueError as error:
            raise StepFailedError(f"task '{task.answer_task}': {error}", step=task.step.name) from error
    return result


def _human_answer(task: Any, result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Flatten what a human-in-the-loop operator returns, as far as it is declared or was typed into the form."""
    chosen = result["chosen_options"]
    about = {name: value for name, value in result.items() if name in task.step.output_parameters}
    if "chosen_options" in about and len(chosen) == 1:
        about["chosen_options"] = chosen[0]
    return {**about, **(result["params_input"] or {})}


def fulfilled_tasks(
    step: Step,
    pipeline: Pipeline,
    arguments: Mapping[str, Any],
    arguments_class: type[PipelineStepOperator],
    step_class: type[PipelineStepOperator],
) -> tuple[BaseOperator, BaseOperator, BaseOperator]:
    """Make the tasks of a step that is named in ``callbacks``.

    :param arguments: of the step's own operator.
    :param arguments_class: the operator whose result the step's arguments are.
    :param step_class: the step's own operator; it takes ``answer_task``.
    :returns: the task of the arguments, the one that fulfils the step, and the step's own.
    """
    common = {key: arguments[key] for key in ("default_args", "dag") if key in arguments}
    first_rule = {key: arguments[key] for key in ("trigger_rule", "looks_upstream") if key in arguments}
    first = arguments_class(
        step=step, pipeline=pipeline, **common, **first_rule, task_id=f"{step.name}{ARGUMENTS_SUFFIX}"
    )
    answer = _answer_task(step, pipeline.callbacks[step.name], first.task_id, common)
    # The step's task must also run when nothing had to fulfil it, because its outputs come from an earlier run; and,
    # where another step handles its failure, when that has failed.
    handled = step.name in handled_steps(pipeline.definition.graph)
    own = {**arguments, "trigger_rule": TriggerRule.ALL_DONE if handled else TriggerRule.NONE_FAILED}
    own.pop("looks_upstream", None)
    return first, answer, step_class(step=step, pipeline=pipeline, answer_task=answer.task_id, **own)


def _answer_task(step: Step, fulfilment: Fulfilment, arguments_task: str, common: Mapping[str, Any]) -> BaseOperator:
    if isinstance(fulfilment, XComArg):
        fulfilment = next(operator for operator, _ in fulfilment.iter_references())  # type: ignore[assignment]
    if isinstance(fulfilment, BaseOperator):
        return fulfilment
    arguments = {**common, "task_id": f"{step.name}{ANSWER_SUFFIX}"}
    if not makes_operator(fulfilment):
        return CallbackFunctionOperator(function=fulfilment, arguments_task=arguments_task, **arguments)  # type: ignore[arg-type]
    operator = fulfilment(step, **arguments)  # type: ignore[operator]
    if not isinstance(operator, BaseOperator):
        problem = f"the function for step '{step.name}' returned {type(operator).__name__}, not an operator"
        raise CallbackError([Problem(f"callbacks['{step.name}']", problem, "Return an operator")])
    return operator


def makes_operator(function: Any) -> bool:
    """Whether a function makes an operator: it takes ``task_id``, which a function of the arguments alone does not."""
    try:
        inspect.signature(function).bind(None, task_id="")
    except (TypeError, ValueError):
        return False
    return True


def check_callbacks(pipeline: Pipeline, replaced: Mapping[str, Any]) -> None:
    """Refuse callbacks that fit no step.

    :param replaced: the author's overrides.
    :raises CallbackError: naming all of them.
    """
    steps = pipeline.definition.all_steps
    callbacks = [name for name, step in steps.items() if step.type is StepType.CALLBACK]
    problems = []
    for name, fulfilment in pipeline.callbacks.items():
        at, step = f"callbacks['{name}']", steps.get(name)
        if step is None:
            problems.append(Problem(at, "the pipeline has no such step", nearest(name, callbacks)))
        elif step.type is not StepType.CALLBACK:
            problems.append(Problem(at, f"the step is of type {step.type}", "Use overrides= for it"))
        elif step.loop is not None:
            hint = "Use callback_reply_queue_url= for it"
            problems.append(Problem(at, f"the step runs once per item of '{step.loop}'", hint))
        elif callable(replaced.get(name)):
            problems.append(Problem(at, "overrides= replaces the step's operator, too", "Remove one of the two"))
        elif hasattr(fulfilment, "expand"):
            hint = "Give the function without @task, or the result of calling it"
            problems.append(Problem(at, "is a @task function", hint))
        elif not (isinstance(fulfilment, BaseOperator | XComArg) or callable(fulfilment)):
            kind = type(fulfilment).__name__
            problems.append(Problem(at, f"is of type {kind}", "Give an operator or a function"))
    if problems:
        raise CallbackError(problems)
