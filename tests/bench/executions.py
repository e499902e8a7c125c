"""A hundred executions of a pipeline at once, with a task per step: AWS calls, and what they take of the triggerer."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from threading import Thread

from airflow_sagemaker_pipelines.local.demo.processes import Components
from tests.bench import workload
from tests.bench.airflow_runs import BenchAirflow, Case, bench_airflow
from tests.bench.execution_waits import PIPELINE, ExecutionWaits, WaitingForExecutions, create_pipeline
from tests.bench.part import Part, Table, Target, Value, ratio
from tests.bench.trigger_host import POLL_SECONDS
from tests.bench.waits import lag_rows, lag_target

SEED = 6
STEPS = 20
COLUMNS = ("ours", "Amazon, deferrable", "ratio")
START_TASK = "start-pipeline-execution"
#: The other side's poll is two calls.
FEWER_CALLS = 0.6


def measure(*, quick: bool) -> Part:
    """Let both sides wait at the same time, each on an endpoint of its own; then run some DAGs on a real Airflow."""
    executions, seconds, runs = (10, (80.0, 100.0), 2) if quick else (100, (180.0, 300.0), 5)
    ours, theirs = _wait(executions, seconds)
    our_runs, their_runs = _run(runs, 20.0 if quick else 60.0)
    shortest, longest = seconds
    return Part(
        title=f"{executions} executions of {STEPS} steps at once",
        how=(
            f"{executions} executions of a pipeline of {STEPS} training steps, which run side by side for "
            f"{shortest:.0f} to {longest:.0f} s. Both sides wait at the same time, each in a process of Airflow's own "
            f"runner of triggers, with {POLL_SECONDS} s between two polls at most: ours with a trigger for each step "
            "and one for the execution, the other side with one for the execution. *A poll* is what is called for an "
            f"execution in {POLL_SECONDS} s while its steps run, on average. Below, {runs} runs of a DAG at once, on "
            "a real Airflow: ours has a task per step, the other side's one task starts the execution and waits for "
            "it. So few executions are looked at more often than so many: every 3 s after a step has begun or ended."
        ),
        tables=[
            Table(title="waiting", columns=COLUMNS, rows=_rows(ours, theirs)),
            Table(title="lag of the loop, p50 / p99 / max ms", columns=COLUMNS[:2], rows=lag_rows(ours, theirs)),
            Table(title="a run of the DAG", columns=COLUMNS, rows=_run_rows(our_runs, their_runs)),
        ],
        targets=[
            Target(name="AWS calls a look, ours: the pages", value=ours.calls_a_look, most=1, counted=True),
            Target(
                name="AWS calls a poll, ours / Amazon",
                value=ours.a_poll() / theirs.a_poll(),
                most=FEWER_CALLS,
                counted=True,
            ),
            lag_target(ours),
            Target(
                name="task processes that wait, a run, ours",
                value=our_runs.processes - our_runs.processes_that_start,
                most=0,
                counted=True,
            ),
        ],
    )


# --- in one triggerer


def _wait(executions: int, seconds: tuple[float, float]) -> tuple[ExecutionWaits, ExecutionWaits]:
    draw = random.Random(SEED)
    lengths = [draw.uniform(*seconds) for _ in range(STEPS)]
    with tempfile.TemporaryDirectory(prefix="bench-") as home, Components(Path(home) / "logs") as processes:
        sides = [
            WaitingForExecutions(
                processes, Path(home), side, executions=executions, seconds=lengths, watched=side == "ours"
            )
            for side in ("ours", "amazon")
        ]
        for side in sides:
            side.prepare()
        starts = [Thread(target=side.start, daemon=True) for side in sides]
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        ours, theirs = (side.finish() for side in sides)
        return ours, theirs


def _rows(ours: ExecutionWaits, theirs: ExecutionWaits) -> dict[str, Sequence[Value]]:
    rows: dict[str, Sequence[Value]] = {"triggers": _compared(len(ours.late), len(theirs.late))}
    for operation in sorted(ours.calls_meanwhile | theirs.calls_meanwhile):
        rows[f"{operation}, a poll"] = _compared(ours.a_poll(operation), theirs.a_poll(operation))
    return rows | {
        "AWS calls a poll": _compared(ours.a_poll(), theirs.a_poll()),
        "AWS calls a look": _compared(ours.calls_a_look, theirs.calls_a_look),
        "AWS calls in all, an execution": _compared(
            _each(ours, ours.calls.total()), _each(theirs, theirs.calls.total())
        ),
        "a step's end noticed after, mean s": (fmean(ours.late_of(steps=True)), None, None),
        "an execution's end noticed after, mean s": _compared(
            fmean(ours.late_of(steps=False)), fmean(theirs.late_of(steps=False))
        ),
        "an execution's end noticed after, most s": _compared(
            max(ours.late_of(steps=False)), max(theirs.late_of(steps=False))
        ),
        "memory an execution, kB": _compared(
            _each(ours, ours.measured.memory / 1024), _each(theirs, theirs.measured.memory / 1024)
        ),
        "CPU of the triggerer an execution, ms": _compared(
            _each(ours, ours.measured.cpu * 1000), _each(theirs, theirs.measured.cpu * 1000)
        ),
    }


def _each(waits: ExecutionWaits, figure: float) -> float:
    return figure / waits.executions


def _compared(ours: float, theirs: float) -> Sequence[Value]:
    return ours, theirs, ratio(ours, theirs)


# --- on a real Airflow


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What runs of a DAG have taken, on average.

    :param processes: how often a worker started a process for one of its tasks.
    :param processes_that_start: those of the task that starts the execution, and does not wait.
    :param calls: the AWS calls.
    """

    processes: float
    processes_that_start: float
    calls: Mapping[str, float]


def _run(runs: int, seconds: float) -> tuple[Runs, Runs]:
    durations = [seconds] * STEPS
    cases = [
        Case(
            name="executions_ours",
            side="ours",
            durations=durations,
            chained=False,
            arguments={"orchestrator": "sagemaker", "role_arn": workload.ROLE, "poll_interval": POLL_SECONDS},
        ),
        Case(
            name="executions_amazon",
            side="amazon_pipeline",
            durations=durations,
            chained=False,
            arguments={"pipeline_name": PIPELINE, "check_interval": POLL_SECONDS},
        ),
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as home, bench_airflow(Path(home), cases) as airflow:
        for case in cases:
            airflow.endpoints[case.name].prepare(case.rules)
        # Ours deploys its pipeline itself.
        their_endpoint = airflow.endpoints["executions_amazon"]
        create_pipeline(their_endpoint, PIPELINE, workload.definition(STEPS, chained=False))
        their_endpoint.clear_calls()
        started = {case.name: [airflow.api.trigger(case.name, {}) for _ in range(runs)] for case in cases}
        ours, theirs = (_finish(airflow, case, started[case.name]) for case in cases)
        return ours, theirs


def _finish(airflow: BenchAirflow, case: Case, run_ids: Sequence[str]) -> Runs:
    states = [airflow.end_of(case, run_id) for run_id in run_ids]
    if set(states) != {"success"}:
        raise RuntimeError(f"The runs of {case.name} are {states}")
    runs = len(run_ids)
    calls = airflow.endpoints[case.name].calls()
    return Runs(
        processes=sum(airflow.task_processes(case.name, run_id) for run_id in run_ids) / runs,
        processes_that_start=sum(airflow.task_processes(case.name, run_id, START_TASK) for run_id in run_ids) / runs,
        calls={operation: number / runs for operation, number in calls.items()},
    )


def _run_rows(ours: Runs, theirs: Runs) -> dict[str, Sequence[Value]]:
    rows: dict[str, Sequence[Value]] = {"task processes": _compared(ours.processes, theirs.processes)}
    for operation in sorted(ours.calls | theirs.calls):
        rows[operation] = _compared(ours.calls.get(operation, 0), theirs.calls.get(operation, 0))
    return rows
