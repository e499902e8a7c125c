"""Builds one DAG in a fresh process and prints what that cost, as JSON.

    python -m tests.bench.dag_build ours|amazon <number of tasks>

Both sides make the same chain of training jobs.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from importlib import import_module

from tests.bench import workload

MODULES = {"ours": "airflow_sagemaker_pipelines.dags", "amazon": "airflow.providers.amazon.aws.operators.sagemaker"}


def main() -> None:
    """Print the figures of one side."""
    import airflow.sdk
    from airflow.sdk import DAG, BaseOperator, Param, TaskGroup  # noqa: F401  both sides need them; they are not what is compared

    # Nor is what Airflow imports and remembers at the first DAG and the first task of a process.
    BaseOperator(task_id="first", dag=DAG("first"))

    side, count = sys.argv[1], int(sys.argv[2])
    text = workload.definition(count)
    start = time.process_time()
    import_module(MODULES[side])
    imported = time.process_time()
    _set_aside_garbage()
    building = time.process_time()
    dag = workload.ours("bench", text) if side == "ours" else workload.amazon("bench", count, deferrable=True)
    built = time.process_time()
    boto3 = "boto3" in sys.modules
    from airflow.serialization.serialized_objects import DagSerialization

    _set_aside_garbage()
    serializing = time.process_time()
    size = len(json.dumps(DagSerialization.to_dict(dag)))
    figures = {
        "airflow": airflow.sdk.__version__,
        "import_ms": (imported - start) * 1000,
        "build_ms": (built - building) * 1000,
        "serialize_ms": (time.process_time() - serializing) * 1000,
        "serialized_bytes": size,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "imports_boto3": boto3,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _set_aside_garbage() -> None:
    """Keep Python from looking for garbage in all of Airflow, in the midst of one measurement and not of another."""
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main()
