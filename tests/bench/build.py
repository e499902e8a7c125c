"""Building a DAG of 10 to 2,000 steps, beside one of the same tasks written by hand.

Each figure is the least of fresh processes: whatever else a machine does only ever adds to what a build takes. What
counts is the ratio.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.bench.part import Part, Table, Target, ratio

SIDES = ("ours", "amazon")
#: A task of the biggest DAG may cost so much more than one of a DAG with a hundred.
LINEAR = 1.3


def _build(side: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.dag_build", side, str(count)]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(output.stdout.splitlines()[-1]))


def measure(*, quick: bool) -> Part:
    """Build the DAGs in processes of their own."""
    sizes, repeats = ((10, 100), 1) if quick else ((10, 100, 500, 2000), 9)
    runs: dict[tuple[str, int], list[dict[str, float]]] = {}
    for count in sizes:
        for _ in range(repeats):
            for side in SIDES:
                runs.setdefault((side, count), []).append(_build(side, count))

    def least(side: str, count: int, figure: str) -> float:
        return min(run[figure] for run in runs[side, count])

    tables, targets = [], []
    for figure, title, unit in (
        ("build_ms", "build", "ms of CPU"),
        ("serialize_ms", "serialize", "ms of CPU"),
        ("serialized_bytes", "serialized, bytes a task", "task"),
        ("import_ms", "import beyond `airflow.sdk`", "ms of CPU"),
        ("peak_mb", "peak memory", "MB"),
    ):
        rows = {}
        for count in sizes:
            ours, theirs = (least(side, count, figure) / (count if unit == "task" else 1) for side in SIDES)
            rows[f"{count} steps"] = (ours, theirs, ratio(ours, theirs))
            if figure == "build_ms":
                targets.append(Target(name=f"build of {count} steps, ours / by hand", value=ours / theirs, most=1.0))
        name = title if unit == "task" else f"{title}, {unit}"
        tables.append(Table(title=name, columns=("from a definition", "by hand", "ratio"), rows=rows))
    growth = least("ours", sizes[-1], "build_ms") / sizes[-1] / (least("ours", 100, "build_ms") / 100)
    targets.append(Target(name=f"build of a step among {sizes[-1]} / among 100", value=growth, most=LINEAR))
    boto3 = sum(run["imports_boto3"] for run in runs["ours", sizes[0]])
    targets.append(Target(name="builds from a definition that import boto3", value=boto3, most=0, counted=True))
    how = (
        "A chain of training steps, each with a request of 1.8 kB: the DAG from a definition's JSON, and the DAG of "
        f"`SageMakerTrainingOperator`s written by hand. The least of {repeats} fresh processes a side."
    )
    return Part(title="Building a DAG", how=how, tables=tables, targets=targets)
