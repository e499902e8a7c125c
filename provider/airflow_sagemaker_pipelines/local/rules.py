"""Rules: what shall happen to jobs that match, as a test or a demo asks for it."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .errors import AwsError

OUTCOMES = ("Completed", "Failed", "Stopped")
# The HTTP statuses of errors that are the service's own fault; all others have 400.
_STATUSES = {"InternalFailure": 500, "InternalServerException": 500, "ServiceUnavailable": 503}


@dataclass(kw_only=True)
class Rule:
    """What shall happen to a job; the first rule that matches a new job is taken.

    :param kind: a kind's name: ``Training``, ``Processing``, ``Transform``, ``Tuning``, ``AutoML``, ``Endpoint``;
        or ``EMR``, ``EMRCluster``, ``EMRServerless``, ``EMRServerlessApplication``.
    :param name: a regular expression searched in the job's name.
    :param image: a regular expression searched in the container image's URI.
    :param operation: a regular expression that matches the whole operation, for example ``UpdateEndpoint``.
    :param outcome: ``Completed``, ``Failed`` or ``Stopped``.
    :param reason: the FailureReason.
    :param duration: seconds until the outcome; None for the endpoint's own.
    :param times: how often the rule is taken; None for always.
    :param outputs: files a stub job leaves: ``{output name: {file: text or JSON}}``. For training the output name
        is ``model`` (the files in model.tar.gz), for transform any.
    :param metrics: final metrics of a training job: ``{metric: value}``.
    :param error: an AWS error code with which calls that a pipeline's steps make are refused, for example
        ``ThrottlingException``; ``reason`` is its message. Such a rule looks at ``operation`` and ``name`` only. What
        goes wrong with a client's own calls is said by faults.
    """

    kind: str | None = None
    name: str | None = None
    image: str | None = None
    operation: str | None = None
    outcome: str = "Completed"
    reason: str | None = None
    duration: float | None = None
    times: int | None = None
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    taken: int = 0

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome is {self.outcome!r}; it must be one of {', '.join(OUTCOMES)}")
        if self.error is not None and (self.kind is not None or self.image is not None):
            raise ValueError("a rule with an error looks at operation and name, not at kind and image")
        for pattern in (self.name, self.image, self.operation):
            if pattern is not None:
                re.compile(pattern)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Rule:
        """Read a rule from what a client posted.

        :raises ValueError: for an unknown member or a value that makes no sense.
        """
        known = {item.name for item in fields(cls)} - {"taken"}
        unknown = set(document) - known
        if unknown:
            raise ValueError(f"unknown members {sorted(unknown)}; a rule has {sorted(known)}")
        try:
            return cls(**document)
        except (TypeError, re.error) as error:
            raise ValueError(str(error)) from error

    def matches(self, *, kind: str, name: str, image: str, operation: str) -> bool:
        """Tell whether this rule speaks of this job and has not been used up."""
        if self.times is not None and self.taken >= self.times:
            return False
        if self.kind is not None and self.kind != kind:
            return False
        if self.operation is not None and not re.fullmatch(self.operation, operation):
            return False
        searches = ((self.name, name), (self.image, image))
        return all(pattern is None or re.search(pattern, text) for pattern, text in searches)


class RuleBook:
    """The rules in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> Rule:
        """Put a rule behind those that are there."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def take(self, *, kind: str, name: str, image: str, operation: str) -> Rule | None:
        """Return the first rule that matches and count its use, or None."""
        with self._lock:
            for rule in self._rules:
                if rule.error is None and rule.matches(kind=kind, name=name, image=image, operation=operation):
                    rule.taken += 1
                    return rule
        return None

    def refuse(self, operation: str, request: Mapping[str, Any]) -> None:
        """Refuse a call if a rule says so.

        :raises AwsError: the first matching rule's error, counting its use.
        """
        with self._lock:
            if not any(rule.error for rule in self._rules):
                return
            names = [value for member, value in request.items() if member.endswith("Name") and isinstance(value, str)]
            for rule in self._rules:
                name = next((item for item in names if rule.name and re.search(rule.name, item)), "")
                if rule.error and rule.matches(kind="", name=name, image="", operation=operation):
                    rule.taken += 1
                    status = _STATUSES.get(rule.error, 400)
                    raise AwsError(rule.error, rule.reason or "The local endpoint was told to refuse this.", status)

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rules with how often each was taken."""
        with self._lock:
            return [asdict(rule) for rule in self._rules]
