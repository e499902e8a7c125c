"""The process of :mod:`tests.bench.trigger_host`: how it is started, and what it has measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_sagemaker_pipelines.local.demo.endpoint import clean_environment
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components, python
from tests.bench.airflow_runs import ROOT
from tests.bench.endpoint import CountingEndpoint
from tests.bench.trigger_host import LAG_PERIOD


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What triggers in one process have taken. Times are Unix times; the first trigger, which warms up, is left out.

    :param fired: when each trigger had its event.
    :param warm: when the first trigger had its event, so that the others could begin.
    :param all_wait: when the last one began.
    :param lags: seconds by which the event loop was late, one for each 20 ms; by phase: ``begin``, ``wait``, until the
        first event, and ``end``.
    :param memory: bytes by which the process has grown while they waited.
    :param cpu: seconds of the process.
    """

    fired: Mapping[str, float]
    warm: float
    all_wait: float
    lags: Mapping[str, Sequence[float]]
    memory: float
    cpu: float

    def late(self, ends: Mapping[str, float]) -> dict[str, float]:
        """Return how many seconds after the end of what was waited for each trigger had its event.

        :param ends: by what is waited for, when it ended, as Unix times.
        """
        return {name: at - ends[name] for name, at in self.fired.items()}

    def lag(self, part: float, phase: str | None = None) -> float:
        """Return a quantile of the loop's lag.

        :param part: from 0 to 1.
        :param phase: ``begin``, ``wait`` or ``end``; by default all the time.
        """
        chosen = sorted(self.lags[phase] if phase else [lag for lags in self.lags.values() for lag in lags])
        return chosen[min(len(chosen) - 1, int(part * len(chosen)))]


class HostProcess:
    """Triggers that wait in a process of their own.

    :param side: which triggers, of :data:`tests.bench.trigger_host.TRIGGERS`.
    :param waits: what each waits for, and the Unix time from which on; the first one warms up.
    """

    def __init__(
        self,
        processes: Components,
        home: Path,
        side: str,
        waits: Sequence[tuple[str, float]],
        endpoint: CountingEndpoint,
    ) -> None:
        self._side = side
        self._warm_up = waits[0][0]
        self._processes = processes
        self._result = home / f"{side}.result.json"
        file = home / f"{side}.jobs.json"
        file.write_text(json.dumps(waits))
        env = clean_environment() | {
            "AIRFLOW_HOME": str(home / f"airflow-{side}"),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(endpoint.connection),
            "PYTHONPATH": str(ROOT),
        }
        command = python("-m", "tests.bench.trigger_host", side, str(file), str(self._result))
        self._process = processes.start(f"triggers {side}", command, env=env, cwd=home)

    def finish(self, *, timeout: float) -> Measured:
        """Wait until every trigger has fired.

        :param timeout: the seconds that it may take.
        """
        what = f"{self._side}: triggers have not fired"
        Interrupts().wait_until(what, lambda: self._processes.finished(self._process), timeout=timeout, poll=1.0)
        return _measured(json.loads(self._result.read_text()), self._warm_up)


def _measured(result: Mapping[str, Any], warm_up: str) -> Measured:
    fired = {name: at for name, at in result["fired"].items() if name != warm_up}
    warm, first, all_wait = result["fired"][warm_up], min(fired.values()), result["all_wait"]
    lags: dict[str, list[float]] = {"begin": [], "wait": [], "end": []}
    for at, lag in result["lags"]:
        if at > warm:
            phase = "begin" if at <= all_wait else "wait" if at <= first else "end"
            lags[phase] += uncoordinated(lag)
    before = max(rss for at, rss in result["memory"] if at <= warm + 1)
    waiting = max(rss for at, rss in result["memory"] if at <= first)
    return Measured(fired=fired, warm=warm, all_wait=all_wait, lags=lags, memory=waiting - before, cpu=result["cpu"])


def uncoordinated(lag: float) -> list[float]:
    """Return the lags that would have been seen, had the loop's being late not kept anybody from looking."""
    return [lag - step * LAG_PERIOD for step in range(max(1, int(lag / LAG_PERIOD)))]
