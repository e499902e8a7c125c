"""Faults: which API calls shall go wrong, and how, as a test or a user asks for it. ``strikes`` carries them out."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .calls import ApiCall

# What can go wrong, and the members that only this fault has.
FAULTS: dict[str, frozenset[str]] = {
    "throttle": frozenset(),
    "internal": frozenset(),
    "unavailable": frozenset(),
    "denied": frozenset(),
    "expired": frozenset(),
    "error": frozenset({"code", "message", "status"}),
    "timeout": frozenset({"seconds"}),
    "latency": frozenset({"seconds"}),
    "reset": frozenset(),
    "truncate": frozenset({"keep", "content_length"}),
}
CONTENT_LENGTHS = ("full", "cut")
_NEEDED = {"error": "code", "latency": "seconds"}
_INTEGERS = frozenset({"times", "every", "skip", "seed", "status"})
_MANY = 10**9
_RANGES: dict[str, tuple[float, float]] = {
    "rate": (0, 1),
    "times": (0, _MANY),
    "every": (1, _MANY),
    "skip": (0, _MANY),
    "seed": (-(2**63), 2**63),
    "status": (400, 599),
    "seconds": (0, 3600),
    "keep": (0, 1),
    "tokens_per_second": (0, _MANY),
    "burst": (1, _MANY),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What shall go wrong with calls that match. All conditions given must hold for a call to be struck.

    ``skip``, ``every``, ``rate`` and the tokens look at each operation by itself, so that which of its calls are
    struck does not depend on what else goes on at the same time. Every attempt of a client is a call.

    :param fault: ``throttle``, ``internal`` (500), ``unavailable`` (503), ``denied``, ``expired`` (credentials) or
        ``error``: the error, in the service's own words. ``timeout``: no answer. ``latency``: a late answer.
        ``reset``: the connection is reset. ``truncate``: the work is done and the answer's body is cut.
    :param service: a regular expression that matches the whole service name of the signature, e.g. ``sagemaker``.
    :param operation: a regular expression that matches the whole operation, e.g. ``Create.*``.
    :param rate: the share of calls to strike, drawn from the seed, the operation and the number of the call.
    :param times: how many calls to strike at most, of all operations; None for no end.
    :param every: strike only each n-th call.
    :param skip: let this many calls pass first.
    :param after: do the work first; then the answer is lost, late or replaced by the fault.
    :param seed: for ``rate``; None for the endpoint's own.
    :param seconds: how long ``timeout`` holds the connection before it is closed (None: until the client gives up),
        or how late ``latency`` is.
    :param keep: the share of the body that ``truncate`` leaves; 0 for an empty body.
    :param content_length: ``full``: the header tells the whole body's length, as when a connection breaks; whether
        botocore notices depends on the version of urllib3. ``cut``: it tells what is left; botocore takes cut JSON,
        or no body at all, for an empty answer.
    :param code: the error code of ``error``; ``message`` and ``status`` belong to it.
    :param tokens_per_second: strike only calls for which an operation's token bucket has no token left; this is
        how fast it is filled again.
    :param burst: how many tokens the bucket holds, and has at first.
    """

    fault: str
    service: str | None = None
    operation: str | None = None
    rate: float = 1.0
    times: int | None = None
    every: int = 1
    skip: int = 0
    after: bool = False
    seed: int | None = None
    tokens_per_second: float | None = None
    burst: float = 1.0
    seconds: float | None = None
    keep: float = 0.5
    content_length: str = "full"
    code: str | None = None
    message: str = "The local endpoint was told to fail this call."
    status: int = 400

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fault:
        """Read a fault from what a client posted; a member that is null counts as absent.

        :raises ValueError: for an unknown or misplaced member, or a value that makes no sense.
        """
        given = {name: value for name, value in document.items() if value is not None}
        fault = given.get("fault")
        if not isinstance(fault, str) or fault not in FAULTS:
            raise ValueError(f"fault is {fault!r}; it must be one of {', '.join(FAULTS)}")
        others = frozenset().union(*FAULTS.values()) - FAULTS[fault]
        known = {item.name for item in fields(cls)} - others
        if unknown := set(given) - known:
            raise ValueError(f"unknown members {sorted(unknown)}; fault {fault} has {sorted(known)}")
        if (needed := _NEEDED.get(fault, "fault")) not in given:
            raise ValueError(f"fault {fault} needs {needed}")
        if "burst" in given and "tokens_per_second" not in given:
            raise ValueError("burst needs tokens_per_second")
        for name, value in given.items():
            _check(name, value)
        return cls(**given)

    def matches(self, call: ApiCall) -> bool:
        """Tell whether this fault speaks of this call."""
        pairs = ((self.service, call.service), (self.operation, call.operation))
        return all(pattern is None or re.fullmatch(pattern, text) for pattern, text in pairs)


def _check(name: str, value: Any) -> None:
    if name in _RANGES:
        wanted = int if name in _INTEGERS else (int, float)
        low, high = _RANGES[name]
        if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
            kind = "an integer" if name in _INTEGERS else "a number"
            raise ValueError(f"{name} is {value!r}; it must be {kind} from {low} to {high}")
    elif name == "after":
        if not isinstance(value, bool):
            raise ValueError(f"after is {value!r}; it must be true or false")
    elif not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; it must be a text")
    elif name == "content_length" and value not in CONTENT_LENGTHS:
        raise ValueError(f"content_length is {value!r}; it must be one of {', '.join(CONTENT_LENGTHS)}")
    elif name in ("service", "operation"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{name} is {value!r}, which is no regular expression: {error}") from error


class _Bucket:
    """Tokens of one operation, full at first."""

    def __init__(self, burst: float, now: float) -> None:
        self._tokens, self._burst, self._filled = burst, burst, now

    def take(self, now: float, per_second: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _Armed:
    """A fault in force: its counters."""

    def __init__(self, fault: Fault, number: int, seed: int) -> None:
        self.fault = fault
        self.struck = 0
        self.seen: Counter[str] = Counter()
        self._buckets: dict[str, _Bucket] = {}
        self._draw = f"{seed if fault.seed is None else fault.seed}/{number}"

    def would_strike(self, call: ApiCall, now: float) -> bool:
        """Count a call that matches, and tell whether all conditions hold."""
        fault, operation = self.fault, str(call)
        if not fault.matches(call):
            return False
        self.seen[operation] += 1
        count = self.seen[operation]
        if count <= fault.skip or (count - fault.skip) % fault.every:
            return False
        if fault.tokens_per_second is not None:
            bucket = self._buckets.setdefault(operation, _Bucket(fault.burst, now))
            if bucket.take(now, fault.tokens_per_second):
                return False
        if self._share(operation, count) >= fault.rate:
            return False
        return fault.times is None or self.struck < fault.times

    def _share(self, operation: str, count: int) -> float:
        """Return a number from 0 up to 1, the same for the same call in each process."""
        digest = hashlib.sha256(f"{self._draw}/{operation}/{count}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


class FaultBook:
    """The faults in force, in the order in which they were added. The first that holds for a call strikes it.

    :param seed: for faults that bring none.
    :param clock: seconds that only go forward.
    """

    def __init__(self, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seed = seed
        self._clock = clock
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()

    def add(self, faults: Iterable[Fault]) -> None:
        """Put faults behind those that are there."""
        with self._lock:
            for fault in faults:
                self._armed.append(_Armed(fault, len(self._armed), self._seed))

    def take(self, call: ApiCall) -> Fault | None:
        """Return the fault that strikes a call, or None. Every fault counts the call, whichever of them strikes."""
        with self._lock:
            now = self._clock()
            willing = [armed for armed in self._armed if armed.would_strike(call, now)]
            if not willing:
                return None
            willing[0].struck += 1
            return willing[0].fault

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._armed.clear()

    def to_json(self) -> list[dict[str, Any]]:
        """Return the faults, with the number of calls that each has seen and struck."""
        with self._lock:
            return [
                {**asdict(armed.fault), "calls": armed.seen.total(), "struck": armed.struck} for armed in self._armed
            ]
