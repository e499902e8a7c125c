"""One execution of a pipeline: it starts steps as soon as they can, and ends when no more can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import ExpressionError, PipelineDefinition, Step, StepType
from airflow_sagemaker_pipelines.definition.expressions import Scalar

from ..errors import AwsError, JobError
from . import cache, events, failures, fates, loops, work
from .calls import CallError, StepError
from .context import Context
from .experiment import Experiment
from .step_run import EXECUTING, FAILED, STARTING, STOPPED, STOPPING, SUCCEEDED, Outcome, StepRun

if TYPE_CHECKING:
    from .settings import PipelineSettings
    from .store import Pipeline, Pipelines, Version

_LIVE = frozenset({EXECUTING, STOPPING})
STEPS_FAILED = "Step failure: One or multiple steps failed."
# What takes no time, and a loop, whose steps take their own slots.
_INSTANT = frozenset({StepType.CONDITION, StepType.FAIL})


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a start asks for."""

    execution_id: str
    display_name: str
    parameters: Mapping[str, Scalar]
    given: Mapping[str, str]
    description: str | None = None
    parallelism: int | None = None
    selective: Mapping[str, Any] | None = None
    reused: Mapping[str, StepRun] | None = None
    wanted: frozenset[str] | None = None
    mlflow_experiment: str | None = None


class Execution:
    """An execution. Everything that changes it holds its lock; times are epoch seconds."""

    def __init__(self, home: Pipelines, pipeline: Pipeline, version: Version, start: Start) -> None:
        self.home = home
        self.pipeline = pipeline
        self.version = version
        self.start = start
        self.id = start.execution_id
        self.arn = f"{pipeline.arn}/execution/{start.execution_id}"
        self.display_name = start.display_name
        self.description = start.description
        self.parallelism = start.parallelism
        self.parameters = start.parameters
        self.role_arn = pipeline.role_arn
        self.lock = threading.RLock()
        self.runs: dict[str, StepRun] = {}
        self.status = EXECUTING
        self.failure_reason: str | None = None
        self.started = self.modified = self.start_date_time = time.time()
        self.ended: float | None = None
        self.experiment = Experiment(self)
        self._number = 0
        self._is_woken = False

    @property
    def definition(self) -> PipelineDefinition:
        """The definition, which never changes."""
        return self.version.definition

    @property
    def settings(self) -> PipelineSettings:
        """What AWS does not document."""
        return self.home.engine.state.pipelines

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more happens by itself."""
        return self.status not in _LIVE

    @property
    def live(self) -> list[StepRun]:
        """The steps that have started and not ended."""
        return [run for run in self.runs.values() if not run.is_over]

    # --- what users ask for

    def begin(self) -> None:
        """Start; the steps that are reused from another execution are there at once."""
        with self.lock:
            events.execution_changed(self, None)
            source = (self.start.selective or {}).get("SourcePipelineExecutionArn", "")
            for name, reused in (self.start.reused or {}).items():
                run = self._add(self.definition.all_steps[name], name)
                run.metadata, run.outputs, run.failure_reason = reused.metadata, reused.outputs, reused.failure_reason
                run.resource_arn, run.selective_source = reused.resource_arn, source
                self._change(run, reused.status)
        self.wake()

    def stop(self) -> None:
        """Stop: what runs is asked to stop, nothing else starts. Asking twice does nothing more.

        :raises AwsError: ConflictException for an execution that is over.
        """
        with self.lock:
            if self.status == STOPPING:
                return
            if self.is_over:
                raise AwsError(
                    "ConflictException",
                    f"Pipeline execution '{self.arn}' is in status {self.status} and cannot be stopped.",
                )
            self._set_status(STOPPING)
            for run in self.live:
                self._stop_run(run)
        self.wake()

    def retry(self, parallelism: int | None) -> None:
        """Go on: steps that have succeeded stay, the others run again.

        :raises AwsError: ConflictException unless the execution has failed or been stopped.
        """
        with self.lock:
            allowed = {FAILED, fates.COMPLETED_WITH_FAILURES} | ({STOPPED} if self.settings.retry_stopped else set())
            if self.status not in allowed:
                raise AwsError(
                    "ConflictException",
                    f"Pipeline execution '{self.arn}' is in status {self.status} and cannot be retried.",
                )
            if any(run.step.type is StepType.FAIL for run in self.runs.values()):
                raise AwsError(
                    "ConflictException",
                    f"Pipeline execution '{self.arn}' was ended by a Fail step and cannot be retried.",
                )
            self.runs = {name: run for name, run in self.runs.items() if self._is_kept(run)}
            if parallelism is not None:
                self.parallelism = parallelism
            if not self.settings.retry_keeps_start_time:
                self.start_date_time = time.time()
            self.failure_reason = self.ended = None
            self._set_status(EXECUTING)
        self.wake()

    def _is_kept(self, run: StepRun) -> bool:
        if run.step.type is StepType.CONDITION and not self.settings.retry_keeps_outcomes:
            return False
        return run.status == SUCCEEDED or run.selective_source is not None

    def wake(self) -> None:
        """Have a worker look what can start; one look is enough for all that has happened before it."""
        with self.lock:
            if self._is_woken:
                return
            self._is_woken = True
        self.home.submit(self.advance)

    # --- the walk

    def advance(self) -> None:
        """Start every step that can start, and end if there is nothing left to do."""
        with self.lock:
            self._is_woken = False
            if self.is_over:
                return
            while self.status == EXECUTING and self._start_some():
                pass
            while self.status == STOPPING and self._close_loops():
                pass
            if not self.live:
                self._conclude()

    def _start_some(self) -> bool:
        """Start what can start now; tell whether something has ended at once, so that more may start."""
        begun: list[StepRun] = []
        for name, fate in fates.of(self).items():
            step = self.definition.all_steps[name]
            if fate is fates.Fate.READY and self._has_slot(step):
                begun.append(self._add(step, name))
                self._begin(begun[-1])
        for loop in [run for run in self.live if run.items is not None]:
            for child in loops.ready(self, loop):
                if not self._has_slot(child.step) or not loops.has_slot(self, loop):
                    break
                run = self._add(child.step, child.name)
                run.iteration = child.iteration
                begun.append(run)
                self._begin(run)
        return self._close_loops() or any(run.is_over for run in begun)

    def _close_loops(self) -> bool:
        """End the loops in which nothing goes on any more; tell whether there was one."""
        closed = [loops.close(self, run) for run in self.live if run.items is not None]
        return any(closed)

    def _has_slot(self, step: Step) -> bool:
        limit = self.parallelism or self.settings.default_parallelism
        if limit is None or step.type is StepType.FOR_EACH:
            return True
        if step.type in _INSTANT and not self.settings.instant_steps_take_slots:
            return True
        return sum(run.step.type is not StepType.FOR_EACH for run in self.live) < limit

    def _conclude(self) -> None:
        self.ended = time.time()
        status = fates.conclusion(self)
        if status == FAILED:
            self.failure_reason = STEPS_FAILED
        self._set_status(status)

    # --- steps

    def _add(self, step: Step, name: str) -> StepRun:
        self._number += 1
        run = StepRun(step=step, name=name, number=self._number, started=time.time())
        self.runs[name] = run
        return run

    def _begin(self, run: StepRun) -> None:
        """Begin an attempt; what takes no time has ended when this returns."""
        if run.attempt == 1:
            events.step_changed(self, run, None)
        context = Context(self, run)

        def attempt() -> Outcome | None:
            found = cache.find(context) if run.attempt == 1 else None
            return found or work.begin(context)

        outcome = self._judge(run, attempt)
        if outcome is None or outcome.status == SUCCEEDED:
            self._change(run, EXECUTING)
        if outcome is not None:
            self._end_attempt(run, outcome)

    def settle(self, run: StepRun, turn: int, judge: Callable[[], Outcome | None]) -> None:
        """Take the outcome of an attempt in, unless it is one that nobody waits for any more."""
        with self.lock:
            if run.turn != turn or run.is_over or self.runs.get(run.name) is not run:
                return
            outcome = self._judge(run, judge)
            if outcome is None:
                return
            self._end_attempt(run, outcome)
        self.wake()

    def _judge(self, run: StepRun, judge: Callable[[], Outcome | None]) -> Outcome | None:
        try:
            return judge()
        except CallError as error:
            return failures.refused(self, run, error)
        except (ExpressionError, StepError, JobError) as error:
            text = str(error)
            return Outcome(status=FAILED, reason=text if text.startswith("ClientError") else f"ClientError: {text}")

    def _end_attempt(self, run: StepRun, outcome: Outcome) -> None:
        """End a step, or try it again."""
        run.turn += 1
        run.stop = None
        stopping = run.status == STOPPING
        if outcome.status == FAILED and not stopping:
            delay = failures.delay_before_retry(self, run, outcome)
            if delay is not None:
                self._try_again(run, delay)
                return
        self.end(run, outcome)

    def end(self, run: StepRun, outcome: Outcome) -> None:
        """End a step."""
        run.outputs, run.timed_out = outcome.outputs, outcome.timed_out
        run.failure_reason = outcome.reason if outcome.status != SUCCEEDED else None
        run.ended = time.time()
        self._change(run, outcome.status)
        cache.keep(self, run)

    def _try_again(self, run: StepRun, delay: float) -> None:
        run.attempt += 1
        turn = run.turn
        run.stop = lambda: self._cancel(run, turn)
        self._change(run, EXECUTING)

        def again() -> None:
            with self.lock:
                if run.turn != turn or run.is_over:
                    return
                self._begin(run)
            self.advance()

        self.home.engine.later(delay, lambda: self.home.submit(again))

    def _cancel(self, run: StepRun, turn: int) -> None:
        """End a step that waits for its next attempt."""
        self.home.submit(lambda: self.settle(run, turn, lambda: Outcome(status=STOPPED)))

    def _stop_run(self, run: StepRun) -> None:
        """Ask a step to stop; one that cannot ends by itself."""
        self._change(run, STOPPING)
        if run.stop is not None:
            run.stop()

    def _change(self, run: StepRun, status: str) -> None:
        previous = run.status
        run.status = status
        if run.is_over:
            run.ended = run.ended or time.time()
        self.modified = time.time()
        if status != previous or status == STARTING:
            events.step_changed(self, run, previous)

    def _set_status(self, status: str) -> None:
        previous, self.status = self.status, status
        self.modified = time.time()
        events.execution_changed(self, previous)
