"""Fifty jobs of a minute at once: wall time, AWS calls, CPU."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.airflow_runs import PARALLELISM, Case, Run, bench_airflow
from tests.bench.part import Part, Table, Target, Value, ratio

POLL_SECONDS = 15
SIDES = {"ours": {"poll_interval": POLL_SECONDS}, "amazon": {"deferrable": True, "check_interval": POLL_SECONDS}}


def measure(*, quick: bool) -> Part:
    """Run each side alone, by turns."""
    jobs, seconds, repeats = (10, 20.0, 1) if quick else (50, 60.0, 2)
    cases = {
        side: Case(name=f"parallel_{side}", side=side, durations=[seconds] * jobs, chained=False, arguments=arguments)
        for side, arguments in SIDES.items()
    }
    runs: dict[str, list[Run]] = {side: [] for side in SIDES}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as home,
        bench_airflow(Path(home), list(cases.values())) as airflow,
    ):
        for _ in range(repeats):
            for side, case in cases.items():
                runs[side].append(airflow.start(case).finish())
    ours, theirs = runs["ours"], runs["amazon"]
    columns = ("ours", "Amazon, deferrable", "ratio")
    return Part(
        title=f"{jobs} jobs at once",
        how=(
            f"{jobs} training jobs of {seconds:.0f} s that do not wait for each other, with {POLL_SECONDS} s between "
            f"two polls at most, on a real Airflow with {PARALLELISM} worker slots; medians of {repeats} runs a side, "
            "alone and by turns. CPU is that of all of Airflow's processes, without Postgres and the endpoint."
        ),
        tables=[
            Table(title="a run", columns=columns, rows=_rows(ours, theirs, jobs)),
            Table(title="AWS calls", columns=columns, rows=_calls(ours, theirs)),
        ],
        targets=[
            Target(name=f"{name}, ours / Amazon", value=ratio, most=1.0, counted=counted)
            for name, ratio, counted in (
                ("wall time beyond the jobs'", _median(ours, "beyond") / _median(theirs, "beyond"), False),
                ("AWS calls", _total(ours) / _total(theirs), True),
                ("CPU seconds", _median(ours, "cpu") / _median(theirs, "cpu"), False),
            )
        ]
        + [
            Target(
                name="task processes a job, ours", value=_median(ours, "task_processes") / jobs, most=1, counted=True
            )
        ],
    )


def _median(runs: Sequence[Run], figure: str) -> float:
    return statistics.median(getattr(run, figure) for run in runs)


def _total(runs: Sequence[Run]) -> float:
    return statistics.median(run.calls.total() for run in runs)


def _rows(ours: Sequence[Run], theirs: Sequence[Run], jobs: int) -> dict[str, Sequence[Value]]:
    figures = {
        "wall beyond the jobs' time, s": ("beyond", 1),
        "CPU s a job": ("cpu", jobs),
        "task processes a job": ("task_processes", jobs),
        "start, s": ("start", 1),
        "end, s": ("end", 1),
    }
    rows: dict[str, Sequence[Value]] = {}
    for name, (figure, divisor) in figures.items():
        values = [_median(runs, figure) / divisor for runs in (ours, theirs)]
        rows[name] = (*values, ratio(*values))
    return rows


def _calls(ours: Sequence[Run], theirs: Sequence[Run]) -> dict[str, Sequence[Value]]:
    operations = sorted({operation for run in (*ours, *theirs) for operation in run.calls})
    counts = {
        name: [statistics.median(run.calls[name] for run in runs) for runs in (ours, theirs)] for name in operations
    }
    counts["all"] = [_total(ours), _total(theirs)]
    return {name: (*(int(count) for count in values), ratio(*values)) for name, values in counts.items()}
