"""Whether a task's success may be left to the triggerer."""

from __future__ import annotations

from airflow.sdk import BaseOperator

from airflow_sagemaker_pipelines._compat import has_success_listeners


def may_end_in_triggerer(task: BaseOperator) -> bool:
    """Whether a success leaves nothing for a worker to do, which spares its start."""
    return task.do_xcom_push and not (
        task.outlets
        or task.on_success_callback
        or task._post_execute_hook
        or type(task).post_execute is not BaseOperator.post_execute
        or task.multiple_outputs
        or task.map_index_template
        or any(task.iter_mapped_dependants())
        or getattr(task, "returns_dag_result", False)
        or has_success_listeners()
    )
