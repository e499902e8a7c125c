"""What each run of a pipeline that SageMaker walks is to do, and how it is to end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_sagemaker_pipelines.operators.pipeline_run import END_TASK, START_TASK
from tests.soak.pipelines import VARIANTS, WATCHED, Scenario
from tests.soak.plan import Made, Outcome, Run

#: Seconds of a job that is to be stopped.
_FOR_EVER = 3600.0
#: Seconds of a job whose task is cleared while it runs.
_WHILE_CLEARED = 30.0
_DURATIONS = (1.0, 2.5, 5.0, 8.0)
_KINDS = {"Prep": "Processing", "Eval": "Processing", "Join": "Processing"}

#: What ends the first execution before its end.
_STOPPED = frozenset({Outcome.RUN_IS_FAILED, Outcome.IS_RESTARTED})
_FAILED = frozenset({Outcome.FAILS, Outcome.IS_KILLED})
_FAILED_ONCE = frozenset({Outcome.FAILS_ONCE, Outcome.IS_RETRIED, Outcome.IS_RESUMED})
#: The failures after which an execution is retried.
_RETRIES = frozenset({Outcome.FAILS_ONCE, Outcome.IS_RESUMED})
#: What makes a second execution; the first has not run the steps after this one if it was stopped.
_SECOND = frozenset({Outcome.IS_REDONE, Outcome.IS_RESTARTED})
#: By scenario, what may become of one of its jobs besides its completion.
_CHOICES = {
    "watched-chain": (
        Outcome.FAILS_ONCE,
        Outcome.IS_RETRIED,
        Outcome.IS_KILLED,
        Outcome.IS_CLEARED,
        Outcome.IS_REDONE,
        Outcome.IS_RESTARTED,
        Outcome.RUN_IS_FAILED,
    ),
    "watched-strict": (Outcome.FAILS, Outcome.IS_RESUMED, Outcome.IS_RETRIED, Outcome.IS_KILLED),
    "watched-parallel": (Outcome.FAILS_ONCE, Outcome.IS_KILLED, Outcome.IS_CLEARED, Outcome.IS_REDONE),
    "watched-branch": (Outcome.FAILS_ONCE, Outcome.IS_RETRIED, Outcome.IS_KILLED, Outcome.IS_REDONE),
}


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One execution as it is to be.

    :param status: at its end.
    :param retries: how often it goes on after a failure.
    """

    status: str
    retries: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class WatchedRun(Run):
    """One run whose steps SageMaker runs.

    :param durations: of the jobs, by step.
    """

    durations: dict[str, float]

    def __str__(self) -> str:
        return f"{self.dag_id} {self.run_id}"

    @property
    def _has_branch(self) -> bool:
        return self.scenario.name == "watched-branch"

    @property
    def _changed(self) -> tuple[str, Outcome]:
        """The first step whose job does not simply complete, and what becomes of it."""
        found = [(step, it) for step, it in self.outcomes.items() if it is not Outcome.COMPLETES]
        return found[0] if found else ("", Outcome.COMPLETES)

    @property
    def awaited_task(self) -> str:
        """The task that must wait in a triggerer before somebody interferes: it is the one that hears of it."""
        step, outcome = self._changed
        return END_TASK if outcome in _STOPPED else step

    def rules(self) -> Iterator[dict[str, Any]]:
        """Yield the endpoint's rules for the run's jobs."""
        for step, duration in self.durations.items():
            outcome = self.outcomes.get(step, Outcome.COMPLETES)
            rule = {"kind": _KINDS.get(step, "Training"), "name": f"-{step}-", "image": f"/soak:{self.run_id}$"}
            failure = rule | {"duration": duration, "outcome": "Failed", "reason": "AlgorithmError: the soak wants it"}
            if outcome is Outcome.FAILS:
                yield failure
            elif outcome in _RETRIES:
                yield failure | {"times": 1}
            elif outcome is Outcome.IS_RETRIED:
                yield failure | {"times": 1, "reason": "CapacityError: no such instances"}
            elif outcome in {Outcome.IS_KILLED, *_STOPPED}:
                yield rule | {"duration": _FOR_EVER, "times": 1}
            elif outcome is Outcome.IS_CLEARED:
                yield rule | {"duration": _WHILE_CLEARED, "times": 1}
            outputs = {"out": {"evaluation.json": {"accuracy": 0.9 if self.is_accurate else 0.1}}}
            yield rule | {"duration": duration} | ({"outputs": outputs} if step == "Eval" else {})

    def expected(self) -> tuple[str, dict[tuple[str, int], str]]:
        """Return how the run ends, and the state of each task by its id and map index."""
        states = dict.fromkeys(self.scenario.names, "success")
        step, outcome = self._changed
        if outcome in {*_FAILED, Outcome.RUN_IS_FAILED}:
            after = "skipped" if outcome is Outcome.RUN_IS_FAILED else "upstream_failed"
            states |= {step: "failed"} | dict.fromkeys(self._after(step), after)
        if self._has_branch:
            is_open = states["Check"] == "success"
            chosen = (
                {"Good": "success", "Reject": "skipped"}
                if self.is_accurate
                else {"Good": "skipped", "Reject": "failed"}
            )
            states |= chosen if is_open else dict.fromkeys(chosen, "upstream_failed")
        verdict = "success" if self.expected_walks()[-1].status == "Succeeded" else "failed"
        states |= {START_TASK: "success", END_TASK: verdict}
        return verdict, {(task, -1): state for task, state in states.items()}

    def _after(self, step: str) -> tuple[str, ...]:
        """Return the steps that wait for a step; those of branches are not among them."""
        if self.scenario.name == "watched-parallel":
            return ("Join",) if step != "Join" else ()
        names = self.scenario.names
        return names[names.index(step) + 1 :]

    def expected_walks(self) -> tuple[Walk, ...]:
        """Return the executions, in their order."""
        _, outcome = self._changed
        end = "Failed" if self._has_branch and not self.is_accurate else "Succeeded"
        if outcome in _FAILED:
            return (Walk(status="Failed"),)
        if outcome is Outcome.RUN_IS_FAILED:
            return (Walk(status="Stopped"),)
        if outcome is Outcome.IS_RESTARTED:
            return Walk(status="Stopped"), Walk(status=end)
        if outcome is Outcome.IS_REDONE:
            return Walk(status=end), Walk(status=end)
        # Of those that fail at once, one retry sees to all.
        return (Walk(status=end, retries=1 if outcome in _RETRIES else 0),)

    def expected_jobs(self) -> dict[str, tuple[Made, ...]]:
        """Return what each of the steps leaves behind, by the executions that have run it."""
        step, outcome = self._changed
        made = {name: (_made(self.outcomes.get(name, Outcome.COMPLETES)),) for name in self.durations}
        after = {*self._after(step), *(("Good",) if self._has_branch else ())} if step else set()
        if outcome in {*_FAILED, Outcome.RUN_IS_FAILED}:
            made = {name: lives for name, lives in made.items() if name not in after}
        if self._has_branch and not self.is_accurate:
            made.pop("Good", None)
        if outcome in _SECOND:
            again = {step, *(after if outcome is Outcome.IS_REDONE else set(made) - after)} & set(made)
            made |= {name: (*made[name], Made(wanted=1)) for name in again}
        return made


def _made(outcome: Outcome) -> Made:
    if outcome is Outcome.FAILS:
        return Made(failed=1)
    if outcome in {Outcome.IS_KILLED, *_STOPPED}:
        return Made(stopped=1)
    return Made(wanted=1, failed=1 if outcome in _FAILED_ONCE else 0)


def watched_plan(seed: int, count: int) -> list[WatchedRun]:
    """Return the runs in the order in which they start: the DAGs in turn."""
    rng = random.Random(f"watched {seed}")
    dags = [(scenario, variant) for variant in VARIANTS for scenario in WATCHED]
    return [_run(rng, seed, number, *dags[number % len(dags)]) for number in range(count)]


def _run(rng: random.Random, seed: int, number: int, scenario: Scenario, variant: str) -> WatchedRun:
    outcomes = dict.fromkeys(scenario.jobs, Outcome.COMPLETES)
    is_accurate = rng.random() < 0.7
    if rng.random() < 0.75:
        outcome = rng.choice(_CHOICES[scenario.name])
        # Where botocore repeats no calls and nobody else does, one that fails is the end.
        if outcome is Outcome.IS_RESUMED and variant == "once":
            outcome = Outcome.FAILS
        # What a Fail step has ended, nobody runs again in part.
        is_accurate = is_accurate or outcome is Outcome.IS_REDONE
        outcomes[rng.choice(scenario.jobs)] = outcome
        if outcome is Outcome.FAILS_ONCE and {"Left", "Right"} <= set(outcomes) and rng.random() < 0.7:
            outcomes |= dict.fromkeys(("Left", "Right"), outcome) | {"Join": Outcome.COMPLETES}
    jobs = (*scenario.jobs, "Good") if scenario.name == "watched-branch" else scenario.jobs
    return WatchedRun(
        run_id=f"soak-{seed}-w{number:04d}",
        scenario=scenario,
        variant=variant,
        outcomes=outcomes,
        is_accurate=is_accurate,
        delay=rng.choice((0.0, 0.5, 2.0, 4.0, 8.0)),
        durations={step: rng.choice(_DURATIONS) for step in jobs},
    )
