"""What exists in one account and region: resources by kind and name, and their tags."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import AwsError
from .waiting import Waiting

if TYPE_CHECKING:
    from .kinds import Kind
    from .rules import Rule


@dataclass(kw_only=True)
class Phase:
    """A secondary status and when it begins."""

    status: str
    start: float
    message: str


@dataclass(kw_only=True, eq=False)
class Resource:
    """A job, model, endpoint, ...: what was asked for, and what became of it. Times are epoch seconds."""

    kind: Kind
    name: str
    arn: str
    request: dict[str, Any]
    created: float
    modified: float
    status: str | None = None
    started: float | None = None
    ended: float | None = None
    failure_reason: str | None = None
    exit_message: str | None = None
    phases: list[Phase] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    # Members of the Describe answer that neither the request nor the life of the resource gives.
    extra: dict[str, Any] = field(default_factory=dict)
    rule: Rule | None = None
    # Set to end the code that a job runs.
    stop: threading.Event = field(default_factory=threading.Event)
    timed_out: bool = False
    runs_code: bool = False
    # A timer that was set for an earlier turn of an endpoint finds another number here and does nothing.
    turn: int = 0
    children: list[Resource] = field(default_factory=list)
    parent: Resource | None = None
    # Who wants to know when it is over.
    waiting: Waiting = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = Waiting(lambda: self.is_over)

    @property
    def is_over(self) -> bool:
        """Tell whether the resource has reached a terminal status."""
        lifecycle = self.kind.lifecycle
        return lifecycle is None or lifecycle.is_over(self.status)


class Store:
    """The resources of one account and region. Hold ``lock`` around every read-and-change."""

    def __init__(self, *, region: str, account: str, partition: str) -> None:
        self.region = region
        self.account = account
        self.partition = partition
        self.lock = threading.RLock()
        self.tokens: dict[str, str] = {}
        # All that was ever added, also what has been deleted since: a record for those who look for duplicates.
        self.made: list[Resource] = []
        self._by_name: dict[str, dict[str, Resource]] = {}
        self._by_arn: dict[str, Resource] = {}

    def arn(self, kind: Kind, name: str) -> str:
        """Return the ARN; SageMaker lower-cases the name in it, the Name members keep their case."""
        return f"arn:{self.partition}:sagemaker:{self.region}:{self.account}:{kind.arn_type}/{name.lower()}"

    def add(self, kind: Kind, name: str, request: dict[str, Any]) -> Resource:
        """Make a resource.

        :raises AwsError: the kind's own error if the name is taken. Case is ignored, as two names that differ by
            case alone would share an ARN.
        """
        arn, now = self.arn(kind, name), time.time()
        resource = Resource(kind=kind, name=name, arn=arn, request=request, created=now, modified=now)
        resource.tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
        with self.lock:
            names = self._by_name.setdefault(kind.namespace, {})
            if name.lower() in names:
                raise AwsError(kind.duplicate.code, kind.refusal_text(kind.duplicate, arn=arn, name=name))
            names[name.lower()] = resource
            self._by_arn[arn] = resource
            self.made.append(resource)
        return resource

    def find(self, kind: Kind, name_or_arn: str) -> Resource | None:
        """Return a resource by name or ARN, or None."""
        name = name_or_arn.split("/", 1)[1] if name_or_arn.startswith("arn:") else name_or_arn
        return self._by_name.get(kind.namespace, {}).get(name.lower())

    def get(self, kind: Kind, name_or_arn: str) -> Resource:
        """Return a resource.

        :raises AwsError: the kind's own error if there is none.
        """
        resource = self.find(kind, name_or_arn)
        if resource is None:
            name = name_or_arn.split("/", 1)[1] if name_or_arn.startswith("arn:") else name_or_arn
            text = kind.refusal_text(kind.missing, arn=self.arn(kind, name), name=name)
            raise AwsError(kind.missing.code, text)
        return resource

    def by_arn(self, arn: str) -> Resource | None:
        """Return the resource of any kind with this ARN, or None."""
        return self._by_arn.get(arn)

    def all(self, kind: Kind) -> list[Resource]:
        """Return the resources of the kind's namespace, oldest first."""
        with self.lock:
            return list(self._by_name.get(kind.namespace, {}).values())

    def every(self) -> Iterable[Resource]:
        """Return all resources."""
        with self.lock:
            return list(self._by_arn.values())

    def remove(self, resource: Resource) -> None:
        """Delete a resource."""
        with self.lock:
            self._by_name[resource.kind.namespace].pop(resource.name.lower(), None)
            self._by_arn.pop(resource.arn, None)
