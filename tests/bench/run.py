"""Compares building a DAG from a definition with a hand-written DAG of the Amazon provider's operators.

Each figure is the median over fresh processes; the two sides alternate, so that whatever else the machine does
touches both. What counts is the ratio.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

SIZES = (10, 100, 500, 2000)
RUNS = 5
SIDES = ("ours", "amazon")


def measure(side: str, count: int) -> dict[str, float]:
    """Run one side once."""
    script = Path(__file__).with_name("dag_build.py")
    output = subprocess.run([sys.executable, str(script), side, str(count)], capture_output=True, text=True, check=True)
    return json.loads(output.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print the tables."""
    runs: dict[tuple[str, int], list[dict[str, float]]] = {}
    for count in SIZES:
        for _ in range(RUNS):
            for side in SIDES:
                runs.setdefault((side, count), []).append(measure(side, count))
    table = Table(title=f"A chain of training jobs, request of {runs['ours', 10][0]['request_bytes']} bytes")
    for heading in ("tasks", "figure", "from a definition", "by hand", "ratio"):
        table.add_column(heading, justify="right")
    for count in SIZES:
        for name, unit, divisor in (
            ("import_ms", "import beyond airflow.sdk, ms", 1),
            ("build_ms", "build, ms a task", count),
            ("serialized_bytes", "serialized, bytes a task", count),
            ("peak_mb", "peak memory, MB", 1),
        ):
            ours, amazon = (statistics.median(run[name] for run in runs[side, count]) / divisor for side in SIDES)
            table.add_row(str(count), unit, f"{ours:.3f}", f"{amazon:.3f}", f"{ours / amazon:.2f}")
    console = Console(width=110)
    console.print(table)
    console.print(
        f"boto3 is imported: from a definition {runs['ours', 10][0]['imports_boto3']}, "
        f"by hand {runs['amazon', 10][0]['imports_boto3']}; medians of {RUNS} processes each"
    )


if __name__ == "__main__":
    main()
