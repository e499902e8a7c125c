"""Whose is what the endpoint has made: the run, the step and the step's life, told by its name or token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.soak.plan import Run
from tests.soak.watched_plan import WatchedRun

_NAME = re.compile(r"(?:pipelines-)?(?P<execution>[0-9a-z]{12})-(?P<step>.+)-(?P<life>[0-9a-z]{10})(?:-\d+)?")
_OWN_NAME = re.compile(r"soak-(?P<execution>[0-9a-z]{12})(?:/\d+)?")
#: What a step needs besides what it is to make, or what is counted apart.
_ASIDE = frozenset({"EMRServerlessApplication", "ModelPackageGroup", "LambdaInvocation"})
#: What is made on something else, unlike a tuning job's training jobs, which the tuning job makes itself.
_PARTS = frozenset({"EMRServerless"})
_BY_OWN_NAME = {"ModelPackage": "Register", "Endpoint": "Deploy"}


class End(StrEnum):
    """What became of something."""

    WANTED = "wanted"
    FAILED = "failed"
    STOPPED = "stopped"
    RUNS = "runs"


_ENDS = {
    None: End.WANTED,
    "Completed": End.WANTED,
    "InService": End.WANTED,
    "SUCCESS": End.WANTED,
    "Failed": End.FAILED,
    "FAILED": End.FAILED,
    "Stopped": End.STOPPED,
    "CANCELLED": End.STOPPED,
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something that a step has made."""

    run: Run
    step: str
    life: str
    record: Mapping[str, Any]

    @property
    def end(self) -> End:
        """What became of it."""
        return _ENDS.get(self.record["status"], End.RUNS)

    def __str__(self) -> str:
        record = self.record
        return f"{record['kind']} {record['name']} is {record['status']} ({record['created']:.1f} to {record['ended']})"


def jobs(owners: Mapping[str, Run], records: Iterable[Mapping[str, Any]]) -> tuple[list[Job], list[Mapping[str, Any]]]:
    """Return what steps have made, oldest first, and the records that belong to no step of the runs.

    :param owners: the runs by the ids in the names of what they make.
    """
    found, strange = [], []
    for record in records:
        kind = record["kind"]
        if kind in _ASIDE or (record["parent"] and kind not in _PARTS):
            continue
        name = record["name"]
        if (step := _BY_OWN_NAME.get(kind)) is not None:
            match, life = _OWN_NAME.fullmatch(name), record["token"] or ""
        else:
            match = _NAME.fullmatch(name)
            step, life = (match["step"], match["life"]) if match else ("", "")
        run = owners.get(match["execution"]) if match else None
        if match is None or run is None:
            strange.append(record)
        else:
            # SageMaker's own names tell no life, and a step has one in each execution.
            life = match["execution"] if isinstance(run, WatchedRun) else life
            found.append(Job(run=run, step=step, life=life, record=record))
    return found, strange
