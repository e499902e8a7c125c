"""Chains of ten jobs: what is added to the jobs' own time when each step waits for the one before."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.airflow_runs import Case, Run, bench_airflow
from tests.bench.part import Part, Table, Target, ratio

POLL_SECONDS = 15
BLOCKING_POLL_SECONDS = 5
SEED = 4
EVENTS_SECONDS = 4.0
LOOKS = ("sagemaker.Describe", "sagemaker.List", "sqs.Receive")
#: Each way to run a chain: its name in the tables, its side, its arguments.
WAYS = {
    "ours": ("ours, 15 s", "ours", {"poll_interval": POLL_SECONDS}),
    "events": ("ours, events", "ours", {"poll_interval": POLL_SECONDS}),
    "deferrable": ("Amazon, deferrable, 15 s", "amazon", {"deferrable": True, "check_interval": POLL_SECONDS}),
    "blocking": (
        "Amazon, blocking, 5 s",
        "amazon",
        {"deferrable": False, "check_interval": BLOCKING_POLL_SECONDS},
    ),
}


def measure(*, quick: bool) -> Part:
    """Run the chains, all at the same time, each on an endpoint of its own."""
    jobs = 2 if quick else 10
    draw = random.Random(SEED)
    lengths = {
        "same": [20.0] * jobs,
        "random": [round(draw.uniform(5, 60), 1) for _ in range(jobs)],
    }
    cases = {
        (length, way): Case(
            name=f"{length}_{way}",
            side=side,
            durations=durations,
            chained=True,
            events=way == "events",
            arguments=arguments,
        )
        for length, durations in lengths.items()
        for way, (_, side, arguments) in WAYS.items()
    }
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as home,
        bench_airflow(Path(home), list(cases.values())) as airflow,
    ):
        started = {length: [airflow.start(cases[length, way]) for way in WAYS] for length in lengths}
        runs = {length: [run.finish() for run in started[length]] for length in lengths}
    titles = {"same": f"{jobs} jobs of 20 s", "random": f"{jobs} jobs of {_spread(lengths['random'])}"}
    ways = list(WAYS)
    targets = []
    for length, measured in runs.items():
        ours, theirs = measured[ways.index("ours")], measured[ways.index("deferrable")]
        targets += [
            Target(
                name=f"{titles[length]}: time beyond the jobs', ours / Amazon deferrable",
                value=ours.beyond / theirs.beyond,
                most=1 / 3,
            ),
            Target(
                name=f"{titles[length]}: seconds a job beyond its own, ours with events",
                value=measured[ways.index("events")].beyond / jobs,
                most=EVENTS_SECONDS,
            ),
            *(
                Target(
                    name=f"{titles[length]}: task processes a job, {WAYS[way][0]}",
                    value=run.task_processes / jobs,
                    most=1,
                    counted=True,
                )
                for way, run in zip(ways, measured, strict=True)
                if way in {"ours", "events"}
            ),
        ]
    how = (
        f"{jobs} training jobs, each after the one before, on a real Airflow (Postgres, LocalExecutor). The columns "
        "run at the same time. *Start* is from the end of a task to the creation of the next one's job, *end* from the "
        "end of a job to that of its task. A blocking task holds a worker slot while its job runs."
    )
    columns = [name for name, _, _ in WAYS.values()]
    return Part(
        title="Chains",
        how=how,
        tables=[
            Table(title=titles[length], columns=columns, rows=_rows(measured)) for length, measured in runs.items()
        ],
        targets=targets,
    )


def _looks(run: Run) -> int:
    return sum(number for operation, number in run.calls.items() if operation.startswith(LOOKS))


def _spread(durations: Sequence[float]) -> str:
    return f"{min(durations)} to {max(durations)} s, {sum(durations):.0f} s in all"


def _rows(runs: Sequence[Run]) -> dict[str, Sequence[float | None]]:
    jobs = len(runs[0].case.durations)
    theirs = runs[list(WAYS).index("deferrable")].beyond
    return {
        "wall, s": [run.wall for run in runs],
        "beyond the jobs' own time, s": [run.beyond for run in runs],
        "… a job": [run.beyond / jobs for run in runs],
        "… in terms of Amazon deferrable": [ratio(run.beyond, theirs) for run in runs],
        "start, median s": [run.start for run in runs],
        "end, median s": [run.end for run in runs],
        "task processes a job": [run.task_processes / jobs for run in runs],
        "AWS calls": [run.calls.total() for run in runs],
        "… to look at jobs": [_looks(run) for run in runs],
    }
