"""Many waits at once in one triggerer, whatever is waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_sagemaker_pipelines.local.demo.processes import Components
from tests.bench.endpoint import start_endpoint
from tests.bench.host_process import HostProcess, Measured
from tests.bench.part import Target, Value

#: What the wait that warms up waits for takes so long.
WARM_UP_SECONDS = 8.0
#: What a triggerer may take to begin.
BEGIN_SECONDS = 120.0
LAG_MS = 100.0
PHASES = {"begin": "while they begin", "wait": "while all wait", "end": "while they end"}


@dataclass(frozen=True, kw_only=True)
class Waits:
    """What it took to wait at once.

    :param measured: in the triggerer.
    :param late: by what was waited for, seconds from its end to its trigger's event.
    :param calls: the AWS calls since the first wait, without those that make what is waited for.
    """

    measured: Measured
    late: Mapping[str, float]
    calls: Counter[str]


class Waiting:
    """Triggers of one side that wait on an endpoint of their own.

    :param side: ``ours`` or ``amazon``.
    :param triggers: which of that side's, if not those that wait for jobs.
    """

    def __init__(self, processes: Components, home: Path, side: str, triggers: str | None = None) -> None:
        self._processes = processes
        self._home = home
        self._triggers = triggers or side
        self._endpoint = start_endpoint(processes, home, side)

    def _begin(self, warm_up: str, waits: Sequence[tuple[str, float]]) -> None:
        """Begin to wait.

        :param warm_up: what the trigger that warms up waits for.
        :param waits: what the others wait for, and the Unix time from which on.
        """
        begin = [(warm_up, 0.0), *waits]
        self._host = HostProcess(self._processes, self._home, self._triggers, begin, self._endpoint)

    def _measured(self, *, timeout: float) -> Measured:
        """Wait until every trigger has fired.

        :param timeout: the seconds that it may take from the triggerer's beginning.
        """
        return self._host.finish(timeout=BEGIN_SECONDS + timeout)


def lag_rows(*sides: Waits) -> dict[str, list[Value]]:
    """Return by how many milliseconds the loops were late, in all and by phase: the median, p99 and the most."""
    return {
        words: [
            " / ".join(f"{side.measured.lag(part, phase) * 1000:.0f}" for part in (0.5, 0.99, 1.0)) for side in sides
        ]
        for phase, words in ((None, "in all"), *PHASES.items())
    }


def lag_target(ours: Waits) -> Target:
    """Return what our loop's lag may be."""
    return Target(name="lag of the loop, p99, ours, ms", value=ours.measured.lag(0.99) * 1000, most=LAG_MS)
