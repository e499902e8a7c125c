"""Many executions of a pipeline that are waited for in one triggerer, and what came of it."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from airflow_sagemaker_pipelines.local.demo.processes import Components
from tests.bench import workload
from tests.bench.endpoint import CountingEndpoint
from tests.bench.trigger_host import POLL_SECONDS, execution_and_step
from tests.bench.waits import WARM_UP_SECONDS, Waiting, Waits

#: So many executions begin in a second, lest they all end together.
STARTS_A_SECOND = 2.0
#: What a triggerer may take to begin, for each wait.
BEGIN_SECONDS_A_WAIT = 0.1
LIST = "sagemaker.ListPipelineExecutionSteps"
PIPELINE = "bench"
_WARM_UP = "Warm"


class CallLog:
    """The calls of an endpoint as time goes by, which it does not tell afterwards."""

    def __init__(self, endpoint: CountingEndpoint) -> None:
        self._endpoint = endpoint
        self._times: list[float] = []
        self._counts: list[Counter[str]] = []
        self._over = Event()
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while True:
            self._counts.append(self._endpoint.calls())
            self._times.append(time.time())
            if self._over.wait(1.0):
                return

    def end(self) -> None:
        """Look for the last time."""
        self._over.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> tuple[Counter[str], float]:
        """Return the calls of a time, and its seconds between the first and the last look at them."""
        first, last = bisect_left(self._times, begin), bisect_right(self._times, end) - 1
        return self._counts[last] - self._counts[first], self._times[last] - self._times[first]


@dataclass(frozen=True, kw_only=True)
class ExecutionWaits(Waits):
    """What it took to wait for some executions at once, by their ARNs, and for their steps.

    :param executions: how many.
    :param calls_meanwhile: those while everybody waited and no execution was over yet.
    :param seconds: how long that was.
    """

    executions: int
    calls_meanwhile: Counter[str]
    seconds: float

    def a_poll(self, operation: str | None = None) -> float:
        """Return the calls for an execution in the time between two polls.

        :param operation: by default all of them.
        """
        calls = self.calls_meanwhile[operation] if operation else self.calls_meanwhile.total()
        return calls / self.executions / self.seconds * POLL_SECONDS

    @property
    def calls_a_look(self) -> float:
        """The calls for each listing of an execution's steps, which takes one page."""
        return self.calls_meanwhile.total() / self.calls_meanwhile[LIST]

    def late_of(self, *, steps: bool) -> Sequence[float]:
        """Return how late the ends of all steps, or of all executions, were noticed."""
        return [late for name, late in self.late.items() if bool(execution_and_step(name)[1]) == steps]


class WaitingForExecutions(Waiting):
    """Triggers of one side that wait for executions.

    :param executions: how many.
    :param seconds: of each step of the pipeline, which all begin at once.
    :param watched: whether each step has a trigger that waits for it.
    """

    def __init__(
        self,
        processes: Components,
        home: Path,
        side: str,
        *,
        executions: int,
        seconds: Sequence[float],
        watched: bool,
    ) -> None:
        super().__init__(processes, home, side, f"{side}-executions")
        self._executions = executions
        self._seconds = seconds
        self._watched = watched

    def prepare(self) -> None:
        """Have the pipeline."""
        rules = [
            {"kind": "Training", "name": rf"\b{workload.step_name(index)}\b", "duration": seconds}
            for index, seconds in enumerate(self._seconds)
        ]
        self._endpoint.prepare([*rules, {"kind": "Training", "name": _WARM_UP, "duration": WARM_UP_SECONDS}])
        create_pipeline(self._endpoint, PIPELINE, workload.definition(len(self._seconds), chained=False))
        create_pipeline(self._endpoint, _WARM_UP, workload.definition(1).replace(workload.step_name(0), _WARM_UP))

    def start(self) -> None:
        """Start the executions one after the other, then begin to wait for all of them."""
        arns = list(self._start_executions())
        # Last, lest it has ended before it is waited for.
        warm_up = self._start_execution(_WARM_UP)
        self._endpoint.clear_calls()
        self._calls = CallLog(self._endpoint)
        self._begin(warm_up, [(name, 0.0) for arn in arns for name in self._waits_of(arn)])

    def _start_executions(self) -> Iterator[str]:
        first = time.time()
        for index in range(self._executions):
            time.sleep(max(0.0, first + index / STARTS_A_SECOND - time.time()))
            yield self._start_execution(PIPELINE)

    def _start_execution(self, pipeline: str) -> str:
        return str(self._endpoint.sagemaker().start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"])

    def _waits_of(self, arn: str) -> list[str]:
        steps = range(len(self._seconds)) if self._watched else ()
        return [arn, *(f"{arn}-{workload.step_name(index)}" for index in steps)]

    def finish(self) -> ExecutionWaits:
        """Wait until every execution is over and every trigger has fired."""
        begin = self._executions * len(self._seconds) * BEGIN_SECONDS_A_WAIT
        measured = self._measured(timeout=max(self._seconds) + begin)
        self._calls.end()
        arns = {execution_and_step(name)[0] for name in measured.fired}
        ends = {name: end for arn in arns for name, end in self._ends_of(arn)}
        calls, _ = self._calls.between(measured.warm, time.time())
        meanwhile, seconds = self._calls.between(measured.all_wait, min(ends[arn] for arn in arns))
        return ExecutionWaits(
            executions=self._executions,
            measured=measured,
            late=measured.late(ends),
            calls=calls,
            calls_meanwhile=meanwhile,
            seconds=seconds,
        )

    def _ends_of(self, arn: str) -> Iterator[tuple[str, float]]:
        sagemaker = self._endpoint.sagemaker()
        yield arn, _time(sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["LastModifiedTime"])
        answer = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=100)
        for step in answer["PipelineExecutionSteps"]:
            yield f"{arn}-{step['StepName']}", _time(step["EndTime"])


def create_pipeline(endpoint: CountingEndpoint, name: str, text: str) -> None:
    """Make a pipeline of a definition."""
    endpoint.sagemaker().create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=workload.ROLE)


def _time(value: Any) -> float:
    return float(value.timestamp())
