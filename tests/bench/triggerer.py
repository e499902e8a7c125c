"""Five thousand waits in one triggerer: memory, and whether the event loop stays free."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from airflow_sagemaker_pipelines.local.demo.processes import Components
from tests.bench.job_waits import JobWaits, WaitingForJobs
from tests.bench.part import Part, Table, Value
from tests.bench.trigger_host import AT_A_TIME
from tests.bench.waits import lag_rows, lag_target

SEED = 5
#: The jobs end in so many seconds.
END_SECONDS = 60.0


def measure(*, quick: bool) -> Part:
    """Run one side after the other; the other side only with as many waits as it can hold."""
    counts = {"ours": 100, "amazon": 20} if quick else {"ours": 5000, "amazon": 500}
    results = {}
    for side, count in counts.items():
        draw = random.Random(SEED)
        # Long enough for all triggers to begin, at fifty a second, and to wait together for two minutes.
        shortest = 30.0 if quick else 120.0 + 1.5 * count / AT_A_TIME
        lengths = [shortest + draw.uniform(0, END_SECONDS) for _ in range(count)]
        with tempfile.TemporaryDirectory(prefix="bench-") as home, Components(Path(home) / "logs") as processes:
            waiting = WaitingForJobs(processes, Path(home), side, lengths)
            waiting.start()
            results[side] = waiting.finish()
    ours = results["ours"]
    return Part(
        title=f"{counts['ours']:,} waits in one triggerer",
        how=(
            f"As above, with {counts['ours']:,} jobs that all end within {END_SECONDS:.0f} s, and, for comparison, "
            f"{counts['amazon']:,} of the other side's. *Lag* is by how much the event loop is late for somebody who "
            "wants to be woken every 20 ms."
        ),
        tables=[
            Table(
                title="",
                columns=[f"ours, {counts['ours']:,}", f"Amazon, {counts['amazon']:,}"],
                rows=_rows(ours, results["amazon"]),
            )
        ],
        targets=[lag_target(ours)],
    )


def _rows(*sides: JobWaits) -> dict[str, list[Value]]:
    rows: dict[str, list[Value]] = {
        "memory a wait, kB": [waits.memory / 1024 for waits in sides],
        "CPU a wait, ms": [waits.measured.cpu / len(waits.late) * 1000 for waits in sides],
        "noticed after, mean s": [waits.mean_late for waits in sides],
        "noticed after, most s": [max(waits.late.values()) for waits in sides],
        "AWS calls": [waits.calls.total() for waits in sides],
    }
    return rows | {f"lag p50 / p99 / max {words}, ms": lags for words, lags in lag_rows(*sides).items()}
