"""Many jobs that are waited for in one triggerer: makes them, runs the triggers, and reads what came of it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from threading import Thread

from airflow_sagemaker_pipelines.local.demo.processes import Components
from tests.bench import workload
from tests.bench.endpoint import DESCRIBE, job_times
from tests.bench.waits import WARM_UP_SECONDS, Waiting, Waits

#: The jobs are those of runs of a pipeline of so many steps.
STEPS = 10
#: What a triggerer may take to begin, for each wait.
BEGIN_SECONDS_A_JOB = 0.5
#: How long it takes until the triggers can begin, and from a job's creation to its task's trigger.
HEAD_START_SECONDS = 30.0
JOB_TO_WAIT_SECONDS = 2.0
CREATE = "sagemaker.CreateTrainingJob"
_WARM_UP_JOB = "pipelines-abcdefghijkl-Warm-0123456789"


@dataclass(frozen=True, kw_only=True)
class JobWaits(Waits):
    """What it took to wait for some jobs at once."""

    @property
    def memory(self) -> float:
        """Bytes of the process for each wait."""
        return self.measured.memory / len(self.measured.fired)

    @property
    def calls_while_waiting(self) -> int:
        """The calls except for one Describe for each job, which tells that it has ended."""
        return self.calls.total() - min(len(self.late), self.calls[DESCRIBE])

    @property
    def mean_late(self) -> float:
        """The mean."""
        return fmean(self.late.values())


class WaitingForJobs(Waiting):
    """Triggers of one side that wait for jobs.

    :param seconds: of each job.
    :param a_second: how many jobs are made and begin to be waited for in a second, as if tasks did so; by default
        they are all there from the beginning.
    """

    def __init__(
        self, processes: Components, home: Path, side: str, seconds: Sequence[float], a_second: float | None = None
    ) -> None:
        super().__init__(processes, home, side)
        self._seconds = seconds
        self._a_second = a_second
        self._jobs = [_job_name(index) for index in range(len(seconds))]

    def start(self) -> None:
        """Make the jobs, and begin to wait."""
        rules = [{"kind": "Training", "name": "Warm", "duration": WARM_UP_SECONDS}]
        rules += [{"kind": "Training", "duration": seconds, "times": 1} for seconds in self._seconds]
        self._endpoint.prepare(rules)
        if self._a_second is None:
            begins = [time.time()] * len(self._jobs)
            self._create(begins)
            self._wait(begins)
        else:
            first = time.time() + HEAD_START_SECONDS
            begins = [first + index / self._a_second for index in range(len(self._jobs))]
            self._wait([begin + JOB_TO_WAIT_SECONDS for begin in begins])
            Thread(target=self._create, args=(begins,), daemon=True).start()

    def _create(self, begins: Sequence[float]) -> None:
        sagemaker = self._endpoint.sagemaker()
        for job, begin in zip(self._jobs, begins, strict=True):
            time.sleep(max(0.0, begin - time.time()))
            sagemaker.create_training_job(TrainingJobName=job, **workload.training_request())

    def _wait(self, begins: Sequence[float]) -> None:
        # Last, lest it has ended before it is waited for.
        self._endpoint.sagemaker().create_training_job(TrainingJobName=_WARM_UP_JOB, **workload.training_request())
        self._begin(_WARM_UP_JOB, list(zip(self._jobs, begins, strict=True)))

    def finish(self) -> JobWaits:
        """Wait until every job has ended and its trigger has fired."""
        pacing = len(self._seconds) / self._a_second if self._a_second else 0.0
        measured = self._measured(timeout=pacing + max(self._seconds) + len(self._seconds) * BEGIN_SECONDS_A_JOB)
        calls = self._endpoint.calls()
        del calls[CREATE]
        ends = {job: end for job, (_, end) in job_times(self._endpoint).items()}
        return JobWaits(measured=measured, late=measured.late(ends), calls=calls)


def _job_name(index: int) -> str:
    """Return a name like those of this package's jobs; no two runs have the same beginning."""
    run, step = divmod(index, STEPS)
    return f"pipelines-{random.Random(run).randrange(36**8):012d}-{workload.step_name(step)}-{index:010d}"
