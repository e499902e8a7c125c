"""``kill -9`` of the very process that is making an AWS call."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from airflow_sagemaker_pipelines.local.calls import ApiCall, Phase

#: The chance of a call at a boundary that no kill has struck yet; after some calls it is certain.
_FIRST = 0.4
_CERTAIN_AFTER = 4
#: Seconds between two kills, so that what was killed can come back; and where a boundary has not been struck yet.
_PAUSE = {"worker": 0.7, "triggerer": 40.0}
_FIRST_PAUSE = {"worker": 0.0, "triggerer": 15.0}
#: What dies, by its share: a task's process, the executor's process that supervises it, or both; the triggerer's
#: process that runs triggers, or the whole of it.
_VICTIMS = {
    "worker": ((0.8, "task"), (0.9, "supervisor"), (1.0, "task and supervisor")),
    "triggerer": ((0.7, "runner"), (1.0, "triggerer")),
}

Boundary = tuple[str, Phase]


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill.

    :param resource: what the call named, as far as that can be told.
    """

    time: float
    operation: str
    phase: Phase
    role: str
    victim: str
    resource: str

    @property
    def boundary(self) -> Boundary:
        """Where it struck."""
        return self.operation, self.phase

    def __str__(self) -> str:
        return f"kill -9 of the {self.victim} {self.phase} {self.operation} {self.resource}"


class Killer:
    """The endpoint's ``on_call``: kills Airflow's processes at random boundaries of their calls.

    Every boundary that calls cross is struck, after that at a steady rate. It strikes nobody until it is armed.

    :param seed: decides, with the boundary and the number of the call, whether a call is struck.
    :param rate: the share of calls struck at boundaries that have been struck before.
    """

    def __init__(self, seed: int, *, rate: float) -> None:
        self.kills: list[Kill] = []
        self.crossed: Counter[Boundary] = Counter()
        self._seed = seed
        self._rate = rate
        self._role_of: Callable[[int], str | None] | None = None
        self._last = dict.fromkeys(_PAUSE, 0.0)
        self._lock = threading.Lock()

    def arm(self, role_of: Callable[[int], str | None]) -> None:
        """Begin.

        :param role_of: tells by a process's session whether it is a ``worker``'s or a ``triggerer``'s.
        """
        self._role_of = role_of

    def disarm(self) -> None:
        """End."""
        self._role_of = None

    def __call__(self, call: ApiCall, phase: Phase, environ: dict[str, Any]) -> None:
        """Kill who calls, perhaps.

        :raises ConnectionAbortedError: if there is nobody left to answer.
        """
        if (role_of := self._role_of) is None:
            return
        boundary = str(call), phase
        with self._lock:
            self.crossed[boundary] += 1
            share = self._share(boundary)
            limit = self._limit(boundary)
        if share >= limit:
            return
        process = _caller(int(environ["REMOTE_PORT"]), int(environ["SERVER_PORT"]))
        role = role_of(_session(process)) if process else None
        if process is None or role is None:
            return
        with self._lock:
            limit = self._limit(boundary)
            pause = _PAUSE if limit == self._rate else _FIRST_PAUSE
            if share >= limit or time.monotonic() - self._last[role] < pause[role]:
                return
            victim = _kill(process, role, share / limit)
            self._last[role] = time.monotonic()
            self.kills.append(
                Kill(
                    time=time.time(),
                    operation=boundary[0],
                    phase=phase,
                    role=role,
                    victim=victim,
                    resource=_resource(environ),
                )
            )
        raise ConnectionAbortedError("the caller has been killed")

    def uncovered(self) -> list[Boundary]:
        """Return the boundaries that calls have crossed and no kill has struck."""
        return sorted(set(self.crossed) - {kill.boundary for kill in self.kills})

    def _share(self, boundary: Boundary) -> float:
        """Return a number from 0 up to 1."""
        digest = hashlib.sha256(f"{self._seed}/{boundary}/{self.crossed[boundary]}".encode()).digest()
        return int.from_bytes(digest[:6]) / 2**48

    def _limit(self, boundary: Boundary) -> float:
        if any(kill.boundary == boundary for kill in self.kills):
            return self._rate
        return 1.0 if self.crossed[boundary] >= _CERTAIN_AFTER else _FIRST


def _caller(remote_port: int, own_port: int) -> psutil.Process | None:
    """Return the process at the other end of a connection."""
    for connection in psutil.net_connections("tcp4"):
        if (
            connection.pid
            and connection.raddr
            and (connection.laddr.port, connection.raddr.port) == (remote_port, own_port)
        ):
            with suppress(psutil.NoSuchProcess):
                return psutil.Process(connection.pid)
    return None


def _session(process: psutil.Process) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return 0


def _kill(process: psutil.Process, role: str, draw: float) -> str:
    """Kill a process, or what is above it, or both; return what.

    :param draw: from 0 up to 1.
    """
    victim = next(name for bound, name in _VICTIMS[role] if draw < bound)
    with suppress(psutil.NoSuchProcess):
        parent = process.parent()
        if victim in {"supervisor", "task and supervisor", "triggerer"} and parent is not None:
            parent.send_signal(signal.SIGKILL)
        if victim != "supervisor":
            process.send_signal(signal.SIGKILL)
    return victim


def _resource(environ: dict[str, Any]) -> str:
    """Return the name in a call's JSON body, or the ARN of an execution."""
    try:
        members = json.loads(environ["wsgi.input"].getvalue())
    except ValueError:
        return str(environ.get("PATH_INFO", ""))
    named = ("Name", "ExecutionArn")
    names = [value for key, value in members.items() if key.endswith(named) and isinstance(value, str)]
    return names[0] if names else str(environ.get("PATH_INFO", ""))
