"""One run, one definition: a file that was edited must not reach a run that is under way.

Airflow reads the DAG file anew for every task, unless the DAG bundle has versions. So every task leaves in XCom by
which definition it ran, and a task whose definition is another one than that of those before it fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition.changes import describe_changes, step_digests
from airflow_sagemaker_pipelines.operators.admission import REUSE_FROM_RUN, SELECTED_STEPS
from airflow_sagemaker_pipelines.xcom_keys import DEFINITION_KEY

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import Step
    from airflow_sagemaker_pipelines.operators.pipeline import Pipeline

#: Hexadecimal digits that are enough to tell definitions apart.
_DIGEST_LENGTH = 16


def pin(step: Step, pipeline: Pipeline, ti: Any) -> None:
    """Check that the tasks before this one ran by the same definition, and leave word for those after it.

    :raises AirflowFailException: if one ran by another definition.
    """
    digest = pipeline.definition.digest[:_DIGEST_LENGTH]
    marks = list(_marks_above(pipeline, ti))
    if any(mark["digest"] != digest for mark in marks):
        raise AirflowFailException(_message(step, pipeline, ti, digest))
    # Only the first tasks of a run tell the steps apart: there are few of them, and the digests may be many.
    mark = {"digest": digest} if marks else {"digest": digest, "steps": step_digests(pipeline.definition)}
    ti.xcom_push(key=DEFINITION_KEY, value=mark)


def _message(step: Step, pipeline: Pipeline, ti: Any, digest: str) -> str:
    changes = describe_changes(_noted_steps(pipeline, ti, digest), step_digests(pipeline.definition))
    reuse = (
        f"; or start a run with {SELECTED_STEPS} and {REUSE_FROM_RUN} = '{ti.run_id}', which takes over these results"
    )
    return (
        f"Step '{step.name}': the pipeline's definition was changed while this run was under way ({changes}), so the "
        "results before this step do not belong to it. Clear all tasks of the run to run them by the new definition"
        f"{reuse if pipeline.reads_conf else ''}"
    )


def _noted_steps(pipeline: Pipeline, ti: Any, digest: str) -> Mapping[str, str] | None:
    """Return the digests of the steps that a first task of another definition has noted."""
    notes = (mark for mark in _marks_above(pipeline, ti, beyond=True) if mark["digest"] != digest)
    return next((mark["steps"] for mark in notes if "steps" in mark), None)


def _marks_above(pipeline: Pipeline, ti: Any, *, beyond: bool = False) -> Iterator[Mapping[str, Any]]:
    """Go up from a task to what those before it have left; in between may be tasks of the author's, or skipped ones.

    :param beyond: whether to go on where something was left, up to the first tasks of the run.
    """
    seen, level = set[str](), [ti.task]
    while level:
        above = {up.task_id: up for task in level for up in task.get_direct_relatives(upstream=True)}
        level = []
        for task_id, task in above.items():
            if task_id in seen:
                continue
            mark = _mark_of(task, pipeline, ti)
            if mark:
                yield mark
            if beyond or not mark:
                level.append(task)
        seen.update(above)


def _mark_of(task: Any, pipeline: Pipeline, ti: Any) -> Any:
    # The DAG may hold another pipeline. The iterations of a loop have marks as well, but so has the task above them.
    if getattr(task, "pipeline", None) is not pipeline:
        return None
    index = ti.map_index if task.get_closest_mapped_task_group() else -1
    return ti.xcom_pull(task_ids=task.task_id, key=DEFINITION_KEY, map_indexes=index)
