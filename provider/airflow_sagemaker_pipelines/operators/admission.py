"""Whether a step runs in the present DAG run: selection of steps, and what became of the steps before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException, AirflowSkipException
from airflow_sagemaker_pipelines.definition import Problem, Selection, Step, StepSelectionError, Trigger
from airflow_sagemaker_pipelines.task_states import task_states
from airflow_sagemaker_pipelines.xcom_keys import OUTCOME_KEY, STOPPED

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import Graph
    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline

#: The params by which a run selects steps; also fields of the trigger form.
SELECTED_STEPS = "selected_steps"
REUSE_FROM_RUN = "reuse_from_run"


@dataclass(frozen=True, slots=True)
class Reuse:
    """The step does not run: an earlier run's outputs stand in."""

    run_id: str
    outputs: Any
    """``None`` if it has left none."""


def handled_steps(graph: Graph) -> frozenset[str]:
    """Return the steps whose failure or stop some other step waits for."""
    return frozenset(
        upstream
        for edges in graph.upstreams.values()
        for upstream, trigger in edges.items()
        if trigger is not Trigger.COMPLETED
    )


def looks_upstream(graph: Graph, step: str, handled: frozenset[str]) -> bool:
    """Whether a step must look at what became of each step before it, instead of leaving that to a trigger rule."""
    edges = graph.upstreams[step]
    return any(trigger is not Trigger.COMPLETED or upstream in handled for upstream, trigger in edges.items())


def admit(step: Step, pipeline: Pipeline, context: Mapping[str, Any], *, looks: bool) -> Reuse | None:
    """Let a step run, or say what happens instead.

    :param looks: whether the task starts whatever became of those before it, and so has to look itself.
    :returns: ``None`` if the step is to run.
    :raises AirflowSkipException: if the run leaves it out.
    :raises AirflowFailException: if a step that it waits for has failed, and nothing handles that.
    :raises StepSelectionError: if the selected steps do not fit together.
    """
    ti, conf = context["ti"], context["dag_run"].conf or {}
    if pipeline.reads_conf and conf.get(SELECTED_STEPS):
        selection = select(pipeline, conf)
        if step.name in selection.selected:
            return None
        run_id = conf.get(REUSE_FROM_RUN)
        if run_id and _is_above(step.name, pipeline, selection):
            outputs = ti.xcom_pull(task_ids=pipeline.task_id(step.name), run_id=run_id, key="return_value")
            if outputs is None and step.name in selection.reused:
                raise AirflowFailException(
                    f"Step '{step.name}' has left no result in run '{run_id}' that could be reused"
                )
            return Reuse(run_id, outputs)
        raise AirflowSkipException(f"Step '{step.name}' is not among the selected steps")
    if looks:
        look_upstream(step, pipeline, ti)
    return None


def select(pipeline: Pipeline, conf: Mapping[str, Any]) -> Selection:
    """Return what a run selects.

    :raises StepSelectionError: if that is impossible, or nothing is named to take the other outputs from.
    """
    names = conf[SELECTED_STEPS]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise StepSelectionError([Problem(SELECTED_STEPS, "is not a list of names", "Write a list of step names")])
    selection = pipeline.definition.graph.select(names)
    if selection.reused and not conf.get(REUSE_FROM_RUN):
        # In SageMaker's words, but for the name of the setting.
        raise StepSelectionError(
            [
                Problem(
                    REUSE_FROM_RUN,
                    f"Invalid {REUSE_FROM_RUN}: null. The selected steps [{', '.join(selection.selected)}] have "
                    f"dependencies on [{', '.join(selection.reused)}]",
                    "Name the run whose outputs they use",
                )
            ]
        )
    return selection


def _is_above(name: str, pipeline: Pipeline, selection: Selection) -> bool:
    """Whether a selected step waits, directly or not, for a step.

    All of these succeed in the new run: a skipped task would have those after it skipped, too.
    """
    return bool(pipeline.definition.graph.reach(name, up=False).intersection(selection.selected))


def look_upstream(step: Step, pipeline: Pipeline, ti: Any) -> None:
    """Check every dependency of a step against the state that it waits for.

    :raises AirflowFailException: if a step that it waits for has failed, and nothing handles that.
    :raises AirflowSkipException: if one is not in the state that it waits for.
    """
    edges = {
        pipeline.task_id(name): trigger for name, trigger in pipeline.definition.graph.upstreams[step.name].items()
    }
    states = task_states(ti, list(edges))
    handled = handled_steps(pipeline.definition.graph)
    unmet = {
        task_id.removeprefix(pipeline.prefix): (state, trigger)
        for task_id, trigger in edges.items()
        if not _satisfies(state := states.get(task_id), trigger, task_id, ti)
    }
    for upstream, (state, _) in unmet.items():
        # Before any skip: a skip would hide a failure that nothing handles from the run's verdict.
        if state == "upstream_failed" or (state == "failed" and upstream not in handled):
            raise AirflowFailException(f"Step '{upstream}' has not succeeded, and nothing handles that")
    for upstream, (state, trigger) in unmet.items():
        raise AirflowSkipException(f"Step '{upstream}' is {state}; step '{step.name}' runs when it is {trigger}")


def _satisfies(state: str | None, trigger: Trigger, task_id: str, ti: Any) -> bool:
    if trigger is Trigger.COMPLETED:
        return state == "success"
    if trigger is Trigger.ANY:
        # A step that was skipped or never started has reached no state; AWS does not say.
        return state in {"success", "failed"}
    stopped = state == "failed" and ti.xcom_pull(task_ids=task_id, key=OUTCOME_KEY) == STOPPED
    return stopped if trigger is Trigger.STOPPED else state == "failed" and not stopped
