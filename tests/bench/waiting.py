"""Five hundred jobs that are waited for at once, for five minutes: AWS calls, and how late their ends are noticed."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from airflow_sagemaker_pipelines.local.demo.processes import Components
from tests.bench.job_waits import STEPS, WaitingForJobs
from tests.bench.part import Part, Table, Target, Value, ratio
from tests.bench.trigger_host import POLL_SECONDS

SEED = 4
SIDES = ("ours", "amazon")
JOBS_A_SECOND = 5.0
FEWER_CALLS = 1 / 50


def measure(*, quick: bool) -> Part:
    """Let both sides wait at the same time, each on an endpoint of its own."""
    jobs, seconds = (50, 60.0) if quick else (500, 300.0)
    draw = random.Random(SEED)
    # They end at all times between two polls.
    lengths = [seconds + draw.uniform(0, POLL_SECONDS) for _ in range(jobs)]
    with tempfile.TemporaryDirectory(prefix="bench-") as home, Components(Path(home) / "logs") as processes:
        waiting = [WaitingForJobs(processes, Path(home), side, lengths, a_second=JOBS_A_SECOND) for side in SIDES]
        for side in waiting:
            side.start()
        ours, theirs = [side.finish() for side in waiting]
    figures = {
        "AWS calls while waiting": lambda waits: waits.calls_while_waiting,
        "all AWS calls": lambda waits: waits.calls.total(),
        "noticed after, mean s": lambda waits: waits.mean_late,
        "noticed after, most s": lambda waits: max(waits.late.values()),
        "CPU of the triggerer, s": lambda waits: waits.measured.cpu,
    }
    rows: dict[str, list[Value]] = {
        name: [figure(ours), figure(theirs), ratio(figure(ours), figure(theirs))] for name, figure in figures.items()
    }
    for operation in sorted(ours.calls | theirs.calls):
        rows[operation] = [ours.calls[operation], theirs.calls[operation], None]
    return Part(
        title=f"{jobs} jobs waited for at once",
        how=(
            f"{jobs} training jobs of {jobs // STEPS} runs of a pipeline, {seconds:.0f} to "
            f"{seconds + POLL_SECONDS:.0f} s long, {JOBS_A_SECOND:.0f} of which begin in a second. Both sides wait at "
            "the same time, each in a process of Airflow's own runner of triggers, with "
            f"{POLL_SECONDS} s between two polls at most. *While waiting* is all calls but one Describe for each job, "
            "which tells of its end."
        ),
        tables=[Table(title="", columns=("ours", "Amazon, deferrable", "ratio"), rows=rows)],
        targets=[
            Target(
                name="AWS calls while waiting, ours / Amazon",
                value=ours.calls_while_waiting / theirs.calls_while_waiting,
                most=FEWER_CALLS,
                counted=True,
            ),
            Target(name="noticed after, mean, ours / Amazon", value=ours.mean_late / theirs.mean_late, most=1.0),
        ],
    )
