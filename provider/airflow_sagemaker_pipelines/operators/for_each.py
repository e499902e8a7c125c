"""The tasks of a ForEach step: its items, a mapped task per body step, and the step itself, which gathers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition import ExpressionError, ForEachStep
from airflow_sagemaker_pipelines.operators.documentation import documentation
from airflow_sagemaker_pipelines.operators.step import SageMakerStepOperator
from airflow_sagemaker_pipelines.steps.errors import StepFailedError
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.task_states import instance_name, task_states
from airflow_sagemaker_pipelines.xcom_keys import OUTCOME_KEY, STOPPED

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_sagemaker_pipelines.definition import Step
    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
    from airflow_sagemaker_pipelines.steps.for_each import ChildStep
    from airflow_sagemaker_pipelines.steps.runner import StepRun

#: A step's name has no dot, so this suffix never makes the id of another step's task.
ITEMS_SUFFIX = ".items"


class SageMakerForEachItemsOperator(SageMakerStepOperator):
    """Resolves the items of a loop; its result is the list."""

    operator_extra_links = ()

    def make_request(self, run: StepRun) -> dict[str, Any]:
        """Return the items."""
        from airflow_sagemaker_pipelines.steps.for_each import loop_items  # noqa: PLC0415

        return {"IterableItems": loop_items(run)}

    def execute(self, context: Context) -> Any:
        """Return the items."""
        return (self.request or {})["IterableItems"]


class SageMakerForEachOperator(SageMakerStepOperator):
    """Gathers what a loop's iterations have made, once all of them have ended.

    Its result has ``Status``, the counts, ``IterationOutputs`` and ``Selected``. It fails if a child step has failed.
    """

    operator_extra_links = ()

    def make_request(self, run: StepRun) -> dict[str, Any]:
        """Return nothing: this task makes no request."""
        return {}

    def execute(self, context: Context) -> Any:
        """Gather."""
        from airflow_sagemaker_pipelines.steps.for_each import loop_outputs  # noqa: PLC0415

        step, ti = self.step, context["ti"]
        if not isinstance(step, ForEachStep):
            raise TypeError(f"{step.name} is not a ForEach step")
        items = ti.xcom_pull(task_ids=f"{self.pipeline.task_id(step.name)}{ITEMS_SUFFIX}", key="return_value")
        if items is None:
            raise AirflowFailException(f"Step '{step.name}': its items could not be read")
        try:
            outputs = loop_outputs(step, self._children(step, ti, len(items)), len(items))
        except ExpressionError as error:
            raise AirflowFailException(f"Step '{step.name}' failed: {error}") from error
        if outputs["Status"] != "Succeeded":
            counts = f"{outputs['FailedStepCount']} of {outputs['TotalStepCount']} child steps have failed"
            raise StepFailedError(f"{counts}, {outputs['StoppedStepCount']} were stopped", step=step.name)
        return outputs

    def _children(self, step: ForEachStep, ti: Any, count: int) -> list[ChildStep]:
        from airflow_sagemaker_pipelines.steps.for_each import ChildStep  # noqa: PLC0415

        task_ids = {child.name: self.pipeline.task_id(child.name) for child in step.body}
        states = task_states(ti, list(task_ids.values()))
        children = []
        for name, task_id in task_ids.items():
            for index in range(count):
                outputs = ti.xcom_pull(task_ids=task_id, key="return_value", map_indexes=index)
                verdict = _verdict(states.get(instance_name(task_id, index)), task_id, index, ti)
                children.append(ChildStep(step=name, index=index, verdict=verdict, outputs=outputs))
        return children


def _verdict(state: str | None, task_id: str, index: int, ti: Any) -> Verdict:
    if state == "success":
        return Verdict.SUCCEEDED
    stopped = ti.xcom_pull(task_ids=task_id, key=OUTCOME_KEY, map_indexes=index) == STOPPED
    return Verdict.STOPPED if stopped else Verdict.FAILED


def loop_tasks(
    step: ForEachStep,
    pipeline: Pipeline,
    *,
    arguments: Mapping[str, Any],
    body_arguments: Mapping[str, Mapping[str, Any]],
    operator_class: Callable[[Step], type[Any]],
    items_class: type[Any],
    loop_class: type[Any],
) -> tuple[BaseOperator, list[Any], BaseOperator]:
    """Make the tasks of a loop, with the edges among them.

    :param arguments: of the step's own operator; tasks of a loop are made inside their DAG.
    :param body_arguments: by body step, of its operator.
    :param operator_class: gives the class of a body step's operator.
    :param items_class: the operator that reads the items.
    :param loop_class: the step's own operator.
    :returns: the task that reads the items, one mapped task per body step, and the task of the step itself.
    """
    shared = {key: value for key, value in arguments.items() if key not in {"trigger_rule", "task_display_name"}}
    first_rule = {key: arguments[key] for key in ("trigger_rule", "looks_upstream") if key in arguments}
    items = items_class(
        step=step, pipeline=pipeline, **{**shared, **first_rule, "task_id": f"{arguments['task_id']}{ITEMS_SUFFIX}"}
    )
    last = loop_class(
        step=step, pipeline=pipeline, **{**arguments, "trigger_rule": "all_done", "looks_upstream": False}
    )
    mapped = {}
    for child in step.body:
        own = dict(body_arguments.get(child.name, {}))
        author_retries = own.pop("retries", None)
        if author_retries is None:
            author_retries = items.author_retries
        mapped[child.name] = (
            operator_class(child)
            .partial(
                task_id=child.name,
                step=child,
                pipeline=pipeline,
                author_retries=author_retries,
                # The scheduler wants a mapped task's retries before there is an operator to work them out.
                retries=max(author_retries, operator_class(child).retries_for(child)),
                doc_md=documentation(child),
                max_active_tis_per_dagrun=step.max_concurrency,
                **({"dag": arguments["dag"]} if "dag" in arguments else {}),
                **own,
            )
            .expand(item=items.output)
        )
    for child in step.body:
        task = mapped[child.name]
        before = [mapped[name] for name in pipeline.definition.body_upstreams(step)[child.name]]
        if before:
            task.set_upstream(before)
        task.set_downstream(last)
    items.set_downstream(last)
    return items, list(mapped.values()), last
