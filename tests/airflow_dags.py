"""What tests need of Airflow, in all its supported versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG


def serialized(dag: DAG) -> dict[str, Any]:
    """Serialize a DAG as the dag-processor does."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
    return DagSerialization.to_dict(dag)


def run_dag(dag: DAG, conf: dict[str, Any] | None = None, **arguments: Any) -> DagRun:
    """Run a DAG to its end in this process with ``dag.test()``; needs the metadata database.

    A DAG that stands in no file must first be written to the database, which ``dag.test()`` leaves to its caller.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    try:
        from airflow.serialization.definitions.dag import SerializedDAG
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import SerializedDAG
    lazy = LazyDeserializedDAG.from_dag(dag)
    DagBundlesManager().sync_bundles_to_db()
    SerializedDAG.bulk_write_to_db("dags-folder", None, [lazy])
    SerializedDagModel.write_dag(lazy, bundle_name="dags-folder")
    return dag.test(run_conf=conf, **arguments)


def states(run: DagRun) -> dict[str, str]:
    """Return the state of every task of a run."""
    return {ti.task_id: getattr(ti.state, "value", ti.state) for ti in run.get_task_instances()}
