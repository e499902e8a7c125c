"""What the soak says at its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.faults import name
from tests.soak.kills import Boundary, Kill
from tests.soak.plan import Run
from tests.soak.records import jobs
from tests.soak.verdicts import STOPS, Ended, Kind, Violation, concerns

_LEAST_SHARE_OF_FAULTS = 0.15
#: The share of marks that may come to nothing because Airflow tells nobody: else nothing is known of stops.
_MOST_LEFT = 0.6
#: A boundary that so many calls have crossed must have been struck.
_OFTEN = 10
_LOG_LINES = 12
_LOG_WIDTH = 400
_LOG_NOISE = ("::group::", "::endgroup::", "DagBag", "DAG bundles", "Worker startup", "credentials retrieved")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What there is at the end.

    :param left: jobs that nobody has stopped because Airflow has told nobody.
    :param calls: the endpoint's own counts.
    :param logs: where Airflow's logs are.
    """

    seed: int
    seconds: float
    ended: Ended
    violations: Sequence[Violation]
    left: Sequence[str]
    calls: Mapping[str, Mapping[str, Any]]
    faults: Sequence[Mapping[str, Any]]
    crossed: Counter[Boundary]
    revived: Counter[str]
    logs: Path

    @property
    def counts(self) -> dict[Kind, int]:
        """How many there are of each kind of violation."""
        found = Counter(it.kind for it in self.violations)
        return {kind: found[kind] for kind in Kind}

    @property
    def is_clean(self) -> bool:
        """Whether there is none."""
        return not self.violations

    @property
    def shortfalls(self) -> list[str]:
        """What was too little for a soak: calm seas prove nothing."""
        found = [f"no answer was struck by {name(dict(fault))}" for fault in self.faults if not fault["struck"]]
        calls = sum(each["calls"] for each in self.calls.values())
        if sum(fault["struck"] for fault in self.faults) < _LEAST_SHARE_OF_FAULTS * calls:
            found.append(f"fewer than {_LEAST_SHARE_OF_FAULTS:.0%} of all answers were faulty")
        left_out = [each for each in self.uncovered if self.crossed[each] > _OFTEN]
        found += [f"nobody was killed {phase} {operation}" for operation, phase in left_out]
        marks = sum(it.outcome in STOPS for it in self.ended.interferences)
        if len(self.left) > _MOST_LEFT * marks:
            found.append(f"of {marks} marks Airflow told nobody, or a triggerer that died, {len(self.left)} times")
        roles = {kill.role for kill in self.ended.kills}
        found += [f"no {role} was killed" for role in ("worker", "triggerer") if role not in roles]
        return found

    @property
    def uncovered(self) -> list[Boundary]:
        """The boundaries that calls have crossed and no kill has struck."""
        return sorted(set(self.crossed) - {kill.boundary for kill in self.ended.kills})

    def __str__(self) -> str:
        return "\n".join([*self._violations(), *self._table()])

    def _table(self) -> Iterator[str]:
        ended, kills = self.ended, self.ended.kills
        tries = [it["try_number"] for tasks in ended.tasks.values() for it in tasks]
        calls = sum(each["calls"] for each in self.calls.values())
        struck = sum(each["struck"] for each in self.faults)
        yield f"seed {self.seed}; {self.seconds:.0f} s; Airflow's logs: {self.logs}"
        yield f"{'runs':<44}{len(ended.states):>7}"
        retries, selective = (
            sum(it.retries for it in ended.executions),
            sum(bool(it.selected) for it in ended.executions),
        )
        yield f"{'executions, their retries, selective ones':<44}{len(ended.executions):>7}{retries:>7}{selective:>7}"
        yield f"{'task instances, and their tries':<44}{len(tries):>7}{sum(tries):>7}"
        yield f"{'calls, and faulty answers':<44}{calls:>7}{struck:>7}  {struck / max(1, calls):.0%}"
        for operation, each in self.calls.items():
            yield f"  {operation:<42}{each['calls']:>7}{sum(each['struck'].values()):>7}"
        yield "faulty answers by kind"
        for fault in self.faults:
            yield f"  {name(dict(fault)):<49}{fault['struck']:>7}"
        yield f"{'kill -9, and boundaries struck of crossed':<44}{len(kills):>7}{self._covered():>12}"
        for (operation, phase, role), count in sorted(Counter(map(_place, kills)).items()):
            yield f"  {f'{phase} {operation}, a {role}':<49}{count:>7}"
        for victim, count in sorted(Counter(kill.victim for kill in kills).items()):
            yield f"  {f'of a {victim}':<49}{count:>7}"
        yield f"  {'of the scheduler with all its workers':<49}{len(self.ended.scheduler_kills):>7}"
        yield f"components started again: {json.dumps(self.revived)}"
        yield f"boundaries not struck: {self.uncovered or 'none'}"
        interferences = Counter(f"{it.outcome}, {it.state}" for it in ended.interferences)
        yield f"tasks and runs marked failed, tasks cleared: {json.dumps(interferences)}"
        yield self._functions()
        yield f"jobs that ran on because Airflow told nobody of a mark: {len(self.left)}"
        yield from (f"  {line}" for line in self.left)
        for kind, count in self.counts.items():
            yield f"{kind:<44}{count:>7}"

    def _covered(self) -> str:
        return f"{len(self.crossed) - len(self.uncovered)}/{len(self.crossed)}"

    def _functions(self) -> str:
        invoked = sum(record["kind"] == "LambdaInvocation" for record in self.ended.records)
        tasks = [it for tasks in self.ended.tasks.values() for it in tasks if it["task_id"] == "Call"]
        wanted = sum(it["state"] == "success" for it in tasks)
        return f"Lambda steps run at least once, as AWS allows no better: {wanted} steps, {invoked} invocations"

    def _violations(self) -> Iterator[str]:
        by_run: dict[Run | None, list[Violation]] = {}
        for violation in self.violations:
            by_run.setdefault(violation.run, []).append(violation)
        for run, violations in by_run.items():
            yield ""
            yield from map(str, violations)
            if run is not None:
                yield from self._story(run, {violation.step for violation in violations})

    def _story(self, run: Run, steps: set[str]) -> Iterator[str]:
        """Tell what is known about a run: its plan, kills of its calls, what it made, its tasks, some of their logs.

        :param steps: whose tasks' logs are shown.
        """
        yield f"  planned: {json.dumps(run.outcomes)}, {run.is_accurate=}"
        found, _ = jobs(self.ended.owners, self.ended.records)
        timeline = [(job.record["created"], f"created: {job}") for job in found if job.run is run]
        timeline += [(each.started, str(each)) for each in self.ended.executions if each.name == run.run_id]
        timeline += [(kill.time, str(kill)) for kill in self.ended.kills if concerns(kill, run, self.ended)]
        timeline += [(at, "kill -9 of the scheduler") for at in self.ended.scheduler_kills]
        timeline += [
            (it.time, f"{it.step} {it.outcome} in state {it.state}, triggerer {it.triggerer}")
            for it in self.ended.interferences
            if it.run is run
        ]
        yield from (f"  {at:.2f} {text}" for at, text in sorted(timeline))
        for task in self.ended.tasks.get(run.run_id, ()):
            yield f"  {task['task_id']} {task['map_index']}: {task['state']}, try {task['try_number']}"
        base = self.logs / "airflow" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        for log in sorted(base.glob("**/*.log*")):
            if any(f"task_id={step.partition('-')[0]}/" in str(log) for step in steps if step):
                yield f"  {log}"
                yield from (f"    {line[:_LOG_WIDTH]}" for line in _last_lines(log))


def _last_lines(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if not any(word in line for word in _LOG_NOISE)][-_LOG_LINES:]


def _place(kill: Kill) -> tuple[str, str, str]:
    return kill.operation, kill.phase, kill.role
