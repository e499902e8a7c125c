"""What each run is to do and how it is to end, known from the seed before anything has started."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_sagemaker_pipelines.steps.names import execution_id
from tests.soak.pipelines import SCENARIOS, VARIANTS, Scenario

#: Seconds of a job that is killed before it can end by itself.
_FOR_EVER = 3600.0
#: By the last character of jobs' names, which is any of 36: how long they take.
_DURATIONS = {"[0-9]$": 1.0, "[a-h]$": 2.5, "[i-p]$": 5.0, "[q-z]$": 8.0}
_RULE_KINDS = {"Prep": "Processing", "Eval": "Processing", "Score": "Transform", "Tune": "Tuning", "Auto": "AutoML"}
_RULE_KINDS |= {"Train": "Training", "Body-0": "Training", "Spark": "EMRServerless"}


class Outcome(StrEnum):
    """What becomes of a step's job."""

    COMPLETES = "completes"
    FAILS_ONCE = "fails once"
    FAILS = "fails"
    IS_KILLED = "is killed"
    IS_CLEARED = "is cleared"
    # The others only where SageMaker walks the graph.
    IS_RETRIED = "is retried by SageMaker"
    IS_REDONE = "is cleared after its success"
    IS_RESUMED = "is cleared after its failure"
    IS_RESTARTED = "the start is cleared"
    RUN_IS_FAILED = "the run is marked failed"


@dataclass(frozen=True, kw_only=True)
class Made:
    """The jobs that one life of a step leaves behind."""

    wanted: int = 0
    failed: int = 0
    stopped: int = 0


#: By outcome: the jobs of each of a step's lives, in their order.
JOBS = {
    Outcome.COMPLETES: (Made(wanted=1),),
    Outcome.FAILS_ONCE: (Made(wanted=1, failed=1),),
    Outcome.FAILS: (Made(failed=1),),
    Outcome.IS_KILLED: (Made(stopped=1),),
    Outcome.IS_CLEARED: (Made(stopped=1), Made(wanted=1)),
}
_BAD = frozenset({Outcome.FAILS, Outcome.IS_KILLED})
#: Those that somebody brings about.
_INTERFERENCES = frozenset(
    {
        Outcome.IS_KILLED,
        Outcome.IS_CLEARED,
        Outcome.IS_REDONE,
        Outcome.IS_RESUMED,
        Outcome.IS_RESTARTED,
        Outcome.RUN_IS_FAILED,
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One run.

    :param outcomes: by step that runs a job.
    :param is_accurate: what the branch's condition finds.
    :param delay: for a run that is interfered with, the seconds after the job's creation.
    """

    run_id: str
    scenario: Scenario
    variant: str
    outcomes: dict[str, Outcome]
    is_accurate: bool
    delay: float

    @property
    def dag_id(self) -> str:
        """The DAG."""
        return self.scenario.dag_id(self.variant)

    @property
    def execution(self) -> str:
        """The execution's id, which is in the names of all that the run makes."""
        return execution_id(self.dag_id, self.run_id, "")

    @property
    def interference(self) -> tuple[str, Outcome] | None:
        """The step whose task is marked failed or cleared, or with whose job something else is done."""
        found = [(step, it) for step, it in self.outcomes.items() if it in _INTERFERENCES]
        return found[0] if found else None

    def __str__(self) -> str:
        return f"{self.dag_id} {self.run_id} ({self.execution})"

    def rules(self) -> Iterator[dict[str, Any]]:
        """Yield the endpoint's rules for the run's jobs, before the general ones."""
        for step, outcome in self.outcomes.items():
            kind, name = _RULE_KINDS[step], f"{self.execution}-{step}-"
            rule: dict[str, Any] = {"kind": kind, "name": name, "duration": 2.0}
            if outcome is Outcome.FAILS_ONCE:
                yield rule | {"outcome": "Failed", "reason": "CapacityError: no such instances", "times": 1}
            elif outcome is Outcome.FAILS:
                yield rule | {"outcome": "Failed", "reason": "AlgorithmError: the soak wants it so"}
            elif outcome in {Outcome.IS_KILLED, Outcome.IS_CLEARED}:
                # A tuning job takes as long as the two training jobs that it starts.
                own = {"kind": "Training", "times": 2} if kind == "Tuning" else {"times": 1}
                yield rule | {"duration": _FOR_EVER} | own
        if "Eval" in self.outcomes:
            outputs = {"out": {"evaluation.json": {"accuracy": 0.9 if self.is_accurate else 0.1}}}
            yield {"kind": "Processing", "name": f"{self.execution}-Eval-", "outputs": outputs, "duration": 1.5}

    def expected(self) -> tuple[str, dict[tuple[str, int], str]]:
        """Return how the run ends, and the state of each task by its id and map index."""
        states: dict[tuple[str, int], str] = {}
        if self.scenario.name == "loop":
            fails = self.outcomes.get("Body-0") in _BAD
            states = {("Loop.items", -1): "success", ("Body", 1): "success"}
            states |= {("Body", 0): "failed" if fails else "success", ("Loop", -1): "failed" if fails else "success"}
        else:
            broken = False
            for name in self.scenario.names:
                states[name, -1] = "upstream_failed" if broken else "success"
                if self.outcomes.get(name) in _BAD:
                    states[name, -1], broken = "failed", True
            if self.scenario.name == "branch":
                taken, skipped = ("Call", "Reject") if self.is_accurate else ("Reject", "Call")
                ends = "failed" if taken == "Reject" else "success"
                states[taken, -1] = "upstream_failed" if broken else ends
                states[skipped, -1] = "upstream_failed" if broken else "skipped"
        good = set(states.values()) <= {"success", "skipped"}
        return ("success" if good else "failed"), states

    def expected_jobs(self) -> dict[str, tuple[Made, ...]]:
        """Return what each of the steps leaves behind, by its lives."""
        _, states = self.expected()
        if self.scenario.name == "loop":
            steps = ["Body-0", "Body-1"]
        else:
            own = {"Check", "Call", "Reject"}
            steps = [name for name in self.scenario.names if name not in own and states[name, -1] != "upstream_failed"]
        return {step: JOBS[self.outcomes.get(step, Outcome.COMPLETES)] for step in steps}


GENERAL_RULES = [
    {"kind": "EMRServerlessApplication", "duration": 1.0},
    *({"name": name, "duration": seconds} for name, seconds in _DURATIONS.items()),
]


def plan(seed: int, count: int) -> list[Run]:
    """Return the runs in the order in which they start: the DAGs in turn."""
    rng = random.Random(seed)
    dags = [(scenario, variant) for variant in VARIANTS for scenario in SCENARIOS]
    return [_run(rng, seed, number, *dags[number % len(dags)]) for number in range(count)]


def _run(rng: random.Random, seed: int, number: int, scenario: Scenario, variant: str) -> Run:
    steps = ("Body-0",) if scenario.name == "loop" else scenario.jobs
    outcomes = dict.fromkeys(steps, Outcome.COMPLETES)
    if outcomes and rng.random() < 0.5:
        outcomes[rng.choice(steps)] = rng.choice(_choices(scenario))
    return Run(
        run_id=f"soak-{seed}-{number:04d}",
        scenario=scenario,
        variant=variant,
        outcomes=outcomes,
        is_accurate=rng.random() < 0.7,
        delay=rng.choice((0.0, 0.5, 2.0, 4.0, 8.0)),
    )


def _choices(scenario: Scenario) -> list[Outcome]:
    may_fail = [Outcome.FAILS, Outcome.IS_KILLED, Outcome.IS_CLEARED]
    if scenario.name == "loop":
        # Clearing one iteration clears the loop's gathering, too, which is no kill of a job.
        return [Outcome.FAILS, Outcome.FAILS_ONCE]
    # EMR's jobs have no policy for failures.
    return may_fail if scenario.name == "spark" else [*may_fail, Outcome.FAILS_ONCE]
