"""Many waits in one triggerer: makes the jobs, runs the triggers, and reads what came of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from threading import Thread

from airflow_sagemaker_pipelines.local.demo.processes import Components
from tests.bench import workload
from tests.bench.endpoint import DESCRIBE, job_times, start_endpoint
from tests.bench.host_process import HostProcess, quantile

WARM_UP_SECONDS = 8.0
#: The jobs are those of runs of a pipeline of so many steps.
STEPS = 10
#: What a triggerer may take to begin, in all and for each wait.
BEGIN_SECONDS = 120.0
BEGIN_SECONDS_A_JOB = 0.5
#: How long it takes until the triggers can begin, and from a job's creation to its task's trigger.
HEAD_START_SECONDS = 30.0
JOB_TO_WAIT_SECONDS = 2.0
CREATE = "sagemaker.CreateTrainingJob"
_WARM_UP_JOB = "pipelines-abcdefghijkl-Warm-0123456789"


@dataclass(frozen=True, kw_only=True)
class Waits:
    """What it took to wait for some jobs at once.

    :param late: seconds from the end of a job to its trigger's event.
    :param lags: seconds by which the event loop was late, one for each 20 ms.
    :param memory: bytes of the process for each wait.
    :param cpu: seconds of the process.
    :param calls: the AWS calls since the first wait, without those that make the jobs.
    """

    late: Sequence[float]
    lags: Mapping[str, Sequence[float]]
    memory: float
    cpu: float
    calls: Counter[str]

    @property
    def calls_while_waiting(self) -> int:
        """The calls except for one Describe for each job, which tells that it has ended."""
        return self.calls.total() - min(len(self.late), self.calls[DESCRIBE])

    @property
    def mean_late(self) -> float:
        """The mean."""
        return fmean(self.late)

    def lag(self, part: float, phase: str | None = None) -> float:
        """Return a quantile of the loop's lag.

        :param part: from 0 to 1.
        :param phase: ``begin``, ``wait`` or ``end``; by default all the time.
        """
        return quantile(self.lags, part, phase)


class Waiting:
    """Triggers of one side that wait on an endpoint of their own.

    :param seconds: of each job.
    :param a_second: how many jobs are made and begin to be waited for in a second, as if tasks did so; by default
        they are all there from the beginning.
    """

    def __init__(
        self, processes: Components, home: Path, side: str, seconds: Sequence[float], a_second: float | None = None
    ) -> None:
        self._side = side
        self._home = home
        self._seconds = seconds
        self._a_second = a_second
        self._processes = processes
        self._endpoint = start_endpoint(processes, home, side)
        self._jobs = [_job_name(index) for index in range(len(seconds))]

    def start(self) -> None:
        """Make the jobs, and begin to wait."""
        rules = [{"kind": "Training", "name": "Warm", "duration": WARM_UP_SECONDS}]
        rules += [{"kind": "Training", "duration": seconds, "times": 1} for seconds in self._seconds]
        self._endpoint.prepare(rules)
        if self._a_second is None:
            begins = [time.time()] * len(self._jobs)
            self._create(begins)
            self._start_host(begins)
        else:
            first = time.time() + HEAD_START_SECONDS
            begins = [first + index / self._a_second for index in range(len(self._jobs))]
            self._start_host([begin + JOB_TO_WAIT_SECONDS for begin in begins])
            Thread(target=self._create, args=(begins,), daemon=True).start()

    def _create(self, begins: Sequence[float]) -> None:
        sagemaker = self._endpoint.sagemaker()
        for job, begin in zip(self._jobs, begins, strict=True):
            time.sleep(max(0.0, begin - time.time()))
            sagemaker.create_training_job(TrainingJobName=job, **workload.training_request())

    def _start_host(self, begins: Sequence[float]) -> None:
        # Last, lest it has ended before it is waited for.
        self._endpoint.sagemaker().create_training_job(TrainingJobName=_WARM_UP_JOB, **workload.training_request())
        waits = [(_WARM_UP_JOB, 0.0), *zip(self._jobs, begins, strict=True)]
        self._host = HostProcess(self._processes, self._home, self._side, waits, self._endpoint)

    def finish(self) -> Waits:
        """Wait until every job has ended and its trigger has fired."""
        pacing = len(self._seconds) / self._a_second if self._a_second else 0.0
        timeout = pacing + max(self._seconds) + BEGIN_SECONDS + len(self._seconds) * BEGIN_SECONDS_A_JOB
        measured = self._host.finish(timeout=timeout)
        calls = self._endpoint.calls()
        del calls[CREATE]
        ends = {job: end for job, (_, end) in job_times(self._endpoint).items()}
        return Waits(
            late=[at - ends[job] for job, at in measured.fired.items()],
            lags=measured.lags,
            memory=measured.memory / len(measured.fired),
            cpu=measured.cpu,
            calls=calls,
        )


def _job_name(index: int) -> str:
    """Return a name like those of this package's jobs; no two runs have the same beginning."""
    run, step = divmod(index, STEPS)
    return f"pipelines-{random.Random(run).randrange(36**8):012d}-{workload.step_name(step)}-{index:010d}"
