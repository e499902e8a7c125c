"""Holds what there is at the end against what was planned."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.soak.executions import Execution, owners
from tests.soak.kills import Kill
from tests.soak.plan import Made, Outcome, Run
from tests.soak.records import End, Job, jobs
from tests.soak.watched_plan import WatchedRun

#: Seconds before somebody marks a task failed in which its worker may have died without Airflow having noticed.
_UNNOTICED = 20.0
#: Seconds within which a worker or triggerer hears of it.
_HEARS_WITHIN = 8.0
#: Seconds for which a trigger tries to stop something, see ``triggers/kills.py``.
_STOPS_WITHIN = 30.0
#: What is to end a job, or the execution.
STOPS = frozenset({Outcome.IS_KILLED, Outcome.RUN_IS_FAILED})


class Kind(StrEnum):
    """What can be wrong."""

    DUPLICATE = "duplicate jobs"
    ORPHAN = "orphans"
    WRONG = "wrong verdicts"
    STUCK = "stuck tasks"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One thing that must not be."""

    kind: Kind
    run: Run | None
    step: str
    text: str

    def __str__(self) -> str:
        where = f"{self.run} {self.step}" if self.run else ""
        return f"[{self.kind}] {where}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Interference:
    """That somebody has marked a task or a run failed, or cleared a task.

    :param state: at that moment, that of the task which is to hear of it.
    :param triggerer: the id of the job of the triggerer that had its trigger, if one had.
    """

    run: Run
    step: str
    outcome: Outcome
    time: float
    state: str
    triggerer: int | None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What there is at the end.

    :param states: of the runs.
    :param tasks: by run, its task instances.
    :param records: the endpoint's.
    :param heartbeats: by the id of a triggerer's job, its last sign of life.
    :param scheduler_kills: when the scheduler was killed with all its workers.
    :param heard: by run, when Airflow told a trigger that its task was ended.
    :param forgotten: those after which nobody but the soak has stopped what ran.
    :param executions: SageMaker's.
    :param versions: how many each pipeline has.
    """

    runs: Sequence[Run]
    states: Mapping[str, str]
    tasks: Mapping[str, Sequence[Mapping[str, Any]]]
    records: Sequence[Mapping[str, Any]]
    interferences: Sequence[Interference]
    kills: Sequence[Kill]
    heartbeats: Mapping[int, float]
    scheduler_kills: Sequence[float]
    heard: Mapping[str, float] = field(default_factory=dict)
    forgotten: Sequence[Interference] = ()
    executions: Sequence[Execution] = ()
    versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def owners(self) -> dict[str, Run]:
        """The runs by the ids in the names of what they have made."""
        return owners(self.runs, self.executions)


def violations(ended: Ended) -> tuple[list[Violation], list[str]]:
    """Return what is wrong, and the jobs that Airflow has told nobody to stop."""
    found, strange = jobs(ended.owners, ended.records)
    wrong = [Violation(kind=Kind.ORPHAN, run=None, step="", text=f"belongs to no step: {record}") for record in strange]
    by_run: dict[str, list[Job]] = defaultdict(list)
    for job in found:
        by_run[job.run.run_id].append(job)
    for run in ended.runs:
        wrong += _of_tasks(run, ended)
        wrong += _of_jobs(run, by_run[run.run_id])
        if isinstance(run, WatchedRun):
            wrong += _of_executions(run, [each for each in ended.executions if each.name == run.run_id])
    wrong += _of_pipelines(ended)
    wrong += [
        Violation(kind=Kind.ORPHAN, run=it.run, step=it.step, text=f"nobody has stopped what ran when {it.outcome}")
        for it in ended.forgotten
    ]
    left = [(violation, reason) for violation in wrong if (reason := _excuse(violation, ended))]
    excused = {id(violation) for violation, _ in left}
    return [it for it in wrong if id(it) not in excused], [f"{violation} — {reason}" for violation, reason in left]


def _of_tasks(run: Run, ended: Ended) -> Iterator[Violation]:
    state, expected = run.expected()
    found = ended.states.get(run.run_id)
    if found not in {"success", "failed"}:
        yield Violation(kind=Kind.STUCK, run=run, step="", text=f"the run is {found}")
    elif found != state:
        yield Violation(kind=Kind.WRONG, run=run, step="", text=f"the run is {found}, not {state}")
    tasks = {(it["task_id"], it["map_index"]): it["state"] for it in ended.tasks.get(run.run_id, ())}
    # A task whose map is not known yet has no instance of its own.
    for key in sorted({*expected, *tasks}):
        has, wants = tasks.get(key), expected.get(key)
        if has in {"success", "failed", "skipped", "upstream_failed", "removed"}:
            if has != wants:
                yield Violation(
                    kind=Kind.WRONG, run=run, step=key[0], text=f"the task{_index(key)} is {has}, not {wants}"
                )
        elif wants is not None and found in {"success", "failed"}:
            yield Violation(kind=Kind.STUCK, run=run, step=key[0], text=f"the task{_index(key)} is {has}, not {wants}")


def _index(key: tuple[str, int]) -> str:
    return f" of item {key[1]}" if key[1] >= 0 else ""


def _of_jobs(run: Run, found: Iterable[Job]) -> Iterator[Violation]:
    by_step: dict[str, dict[str, list[Job]]] = defaultdict(lambda: defaultdict(list))
    for job in found:
        by_step[job.step][job.life].append(job)
    expected = run.expected_jobs()
    for step in sorted({*by_step, *expected}):
        lives, made = list(by_step[step].values()), expected.get(step, ())
        told = "; ".join(str(job) for life in lives for job in life)
        if len(lives) > len(made):
            text = f"{len(lives)} lives instead of {len(made)}: {told}"
            yield Violation(kind=Kind.DUPLICATE, run=run, step=step, text=text)
        for life, wants in zip(lives, made, strict=False):
            for kind, text in _differences(Counter(job.end for job in life), wants):
                yield Violation(kind=kind, run=run, step=step, text=f"{text}: {told}")
        if len(lives) < len(made):
            text = f"{len(lives)} lives instead of {len(made)}: {told}"
            yield Violation(kind=Kind.WRONG, run=run, step=step, text=text)


def _differences(has: Counter[End], wants: Made) -> Iterator[tuple[Kind, str]]:
    if has[End.RUNS]:
        yield Kind.ORPHAN, f"{has[End.RUNS]} in progress"
    wanted = has[End.WANTED] + (has[End.RUNS] if wants.wanted else 0)
    if wanted > wants.wanted:
        yield Kind.DUPLICATE, f"{wanted} wanted instead of {wants.wanted}"
    if has[End.FAILED] > wants.failed:
        yield Kind.DUPLICATE, f"{has[End.FAILED]} have failed instead of {wants.failed}"
    if wanted < wants.wanted:
        yield Kind.WRONG, f"{wanted} wanted instead of {wants.wanted}"
    if has[End.FAILED] < wants.failed:
        yield Kind.WRONG, f"{has[End.FAILED]} have failed instead of {wants.failed}"
    if has[End.STOPPED] > wants.stopped:
        yield Kind.WRONG, f"{has[End.STOPPED]} were stopped instead of {wants.stopped}"


def _of_executions(run: WatchedRun, found: Sequence[Execution]) -> Iterator[Violation]:
    expected = run.expected_walks()
    told = "; ".join(map(str, found))
    if len(found) != len(expected):
        kind = Kind.DUPLICATE if len(found) > len(expected) else Kind.WRONG
        text = f"{len(found)} executions instead of {len(expected)}: {told}"
        yield Violation(kind=kind, run=run, step="", text=text)
    for execution, walk in zip(found, expected, strict=False):
        if not execution.is_over:
            yield Violation(kind=Kind.ORPHAN, run=run, step="", text=f"an execution is in progress: {told}")
        elif execution.status != walk.status:
            text = f"an execution is {execution.status}, not {walk.status}: {told}"
            yield Violation(kind=Kind.WRONG, run=run, step="", text=text)
        if execution.retries != walk.retries:
            kind = Kind.DUPLICATE if execution.retries > walk.retries else Kind.WRONG
            text = f"an execution was retried {execution.retries} times instead of {walk.retries}: {told}"
            yield Violation(kind=kind, run=run, step="", text=text)


def _of_pipelines(ended: Ended) -> Iterator[Violation]:
    for name, count in ended.versions.items():
        if count > 1:
            text = f"pipeline {name} has {count} versions, although its definition has never changed"
            yield Violation(kind=Kind.DUPLICATE, run=None, step="", text=text)


def _excuse(violation: Violation, ended: Ended) -> str | None:
    """Return why nobody could stop a job whose task was marked failed; ``None`` if somebody could.

    Airflow tells the process that has the task, or its trigger, and nobody when that process dies or there is none.
    """
    if violation.kind is not Kind.ORPHAN or violation.run is None:
        return None
    it = next((it for it in ended.interferences if it.run is violation.run), None)
    if it is None or it.outcome not in STOPS:
        return None
    if it.state == "deferred":
        if it.triggerer is None:
            return "no triggerer had taken up the task's trigger yet"
        # A triggerer on a busy machine hears late.
        heard = ended.heard.get(it.run.run_id, it.time)
        if ended.heartbeats[it.triggerer] - heard < _HEARS_WITHIN:
            return f"its triggerer was last alive at {ended.heartbeats[it.triggerer] - it.time:+.1f} s"
        # A triggerer shows signs of life for a while after the death of its process that runs triggers.
        died = [kill for kill in ended.kills if kill.role == "triggerer" and 0 <= kill.time - heard <= _STOPS_WITHIN]
        return f"{died[0]} at {died[0].time - it.time:+.1f} s" if died else None
    deaths = [(at, "kill -9 of the scheduler with all its workers") for at in ended.scheduler_kills]
    deaths += [(kill.time, str(kill)) for kill in ended.kills if concerns(kill, it.run, ended)]
    near = [(at - it.time, death) for at, death in deaths if -_UNNOTICED <= at - it.time <= _HEARS_WITHIN]
    return (
        f"{near[0][1]} at {near[0][0]:+.1f} s" if near else "its worker was refused the deferral, and not asked to stop"
    )


def concerns(kill: Kill, run: Run, ended: Ended) -> bool:
    """Whether a kill struck a call about what a run has made."""
    return any(owner is run and execution in kill.resource for execution, owner in ended.owners.items())
