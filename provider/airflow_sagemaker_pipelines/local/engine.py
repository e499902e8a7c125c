"""What makes jobs live: they start, take their time or run their code, and end; an endpoint is updated the same way."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import events, logs, runs
from .behaviours import Behaviour, behaviour_of
from .errors import JobError, validation_error
from .kinds import Kind
from .rules import Rule
from .state import LocalState
from .store import Resource, Store

if TYPE_CHECKING:
    from .pipelines.store import Pipelines

log = logging.getLogger(__name__)

# How long a stop takes, in terms of the job's own duration and at most, in seconds.
STOP_SHARE, STOP_LIMIT = 0.25, 0.3
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."


def image_of(request: Mapping[str, Any]) -> str:
    """Return the container image that a request names, or an empty string."""
    for member in ("AlgorithmSpecification", "AppSpecification", "PrimaryContainer", "TrainingJobDefinition"):
        part = request.get(member)
        if isinstance(part, Mapping):
            found = part.get("TrainingImage") or part.get("ImageUri") or part.get("Image") or image_of(part)
            if found:
                return str(found)
    return ""


class Engine:
    """The life of the resources of one account and region."""

    def __init__(self, state: LocalState, store: Store) -> None:
        self.state = state
        self.store = store
        self.closed = False

    @cached_property
    def pipelines(self) -> Pipelines:
        """The pipelines of this account and region."""
        # Imported here because most users of an endpoint have none.
        from .pipelines.store import Pipelines  # noqa: PLC0415

        return Pipelines(self)

    # --- beginning

    def create(self, kind: Kind, request: Mapping[str, Any]) -> Resource:
        """Make a resource and start its life, if it has one.

        :raises AwsError: if the request is refused.
        """
        document = copy.deepcopy(dict(request))
        behaviour = behaviour_of(kind)
        behaviour.check(self, document)
        with self.store.lock:
            resource = self.store.add(kind, document[kind.name_member], document)
            behaviour.created(self, resource)
            if kind.lifecycle is not None:
                # Nobody may see a job that has no status.
                resource.status = kind.lifecycle.running
        if kind.lifecycle is not None:
            resource.rule = self.take_rule(resource, kind.create_operation)
            self.start(resource, kind.lifecycle.running)
        else:
            events.state_changed(self.store, resource)
        return resource

    def take_rule(self, resource: Resource, operation: str) -> Rule | None:
        """Return the rule for a resource's next turn, counting its use."""
        return self.state.rules.take(
            kind=resource.kind.name,
            name=resource.name,
            image=image_of(resource.request),
            operation=operation,
        )

    def start(self, resource: Resource, status: str) -> None:
        """Put a resource into a status from which it goes on by itself, and set that going."""
        with self.store.lock:
            resource.status = status
            resource.started = resource.modified = time.time()
            resource.turn += 1
        events.state_changed(self.store, resource)
        behaviour = behaviour_of(resource.kind)
        if behaviour.drives_itself:
            behaviour.begin(self, resource)
        elif self.state.settings.run_code and resource.kind.runnable and resource.rule is None:
            runs.start(self, resource)
        else:
            self.run_by_clock(resource)

    def duration_of(self, resource: Resource) -> float:
        """Return the seconds a resource takes when the clock alone drives it."""
        if resource.rule is not None and resource.rule.duration is not None:
            return resource.rule.duration
        given = resource.extra.get("_duration")
        return self.state.settings.duration if given is None else float(given)

    def run_by_clock(self, resource: Resource) -> None:
        """Let a resource take its time and then come to the outcome that its rule gives, or complete."""
        duration, limit = self.duration_of(resource), max_runtime(resource)
        behaviour_of(resource.kind).plan(resource, duration)
        if limit is not None and duration > limit:
            resource.timed_out, duration = True, limit
        outcome = resource.rule.outcome if resource.rule else "Completed"
        reason = resource.rule.reason if resource.rule else None
        if resource.timed_out:
            outcome = "Stopped"
        turn = resource.turn
        self.later(duration, lambda: self._clock_ran_out(resource, turn, outcome, reason))

    def later(self, seconds: float, action: Any) -> None:
        """Call ``action`` in ``seconds``, or at once for none, unless the endpoint has been reset by then."""
        if seconds <= 0:
            action()
        else:
            self.state.timeline.after(seconds, lambda: None if self.closed else action())

    # --- end

    def _clock_ran_out(self, resource: Resource, turn: int, outcome: str, reason: str | None) -> None:
        lifecycle = resource.kind.lifecycle
        if resource.turn != turn or lifecycle is None or resource.status == lifecycle.stopping:
            return
        if outcome == "Failed" and reason is None:
            reason = "AlgorithmError: The local endpoint was told to fail this job."
        self.finish(resource, outcome, reason)

    def finish(self, resource: Resource, outcome: str, reason: str | None = None) -> None:
        """Bring a resource to its end: ``Completed``, ``Failed`` or ``Stopped``.

        What it leaves (artifacts, outputs) is there before the status says so. A resource that is over stays as it
        is; one that is being stopped ends stopped, unless it failed.
        """
        behaviour, lifecycle = behaviour_of(resource.kind), resource.kind.lifecycle
        if lifecycle is None or resource.is_over or self.closed:
            return
        if outcome == "Completed" and resource.status != lifecycle.stopping:
            outcome, reason = self._leave_outputs(behaviour, resource)
        with self.store.lock:
            # It may have been stopped while its outputs were written.
            if resource.is_over or self.closed:
                return
            if resource.status == lifecycle.stopping and outcome == "Completed":
                outcome = "Stopped"
            # Whoever sees a job that is over finds its log complete.
            logs.write_log(self.store, resource, reason)
            self._end(behaviour, resource, outcome, reason)
        events.state_changed(self.store, resource)
        behaviour.ended(self, resource)
        if resource.parent is not None:
            behaviour_of(resource.parent.kind).child_ended(self, resource.parent, resource)
        resource.waiting.release()

    def _leave_outputs(self, behaviour: Behaviour, resource: Resource) -> tuple[str, str | None]:
        try:
            behaviour.leave_outputs(self, resource)
        except JobError as error:
            return "Failed", str(error)
        except Exception:
            log.exception("Writing the outputs of %s failed", resource.arn)
            return "Failed", INTERNAL_ERROR
        return "Completed", None

    def _end(self, behaviour: Behaviour, resource: Resource, outcome: str, reason: str | None) -> None:
        lifecycle = resource.kind.lifecycle
        if lifecycle is None:
            return
        now = time.time()
        resource.ended = resource.modified = now
        resource.failure_reason = reason
        resource.status = {
            "Completed": lifecycle.completed,
            "Failed": lifecycle.failed,
            "Stopped": lifecycle.stopped,
        }[outcome]
        behaviour.close_phases(resource, now)

    # --- stop

    def stop(self, resource: Resource) -> None:
        """Ask a job to stop; it is Stopped a little later. Asking twice does nothing more.

        :raises AwsError: ValidationException for a job that is over.
        """
        lifecycle = resource.kind.lifecycle
        if lifecycle is None:
            return
        behaviour = behaviour_of(resource.kind)
        with self.store.lock:
            if resource.is_over:
                raise validation_error(
                    f"The request was rejected because the {resource.kind.label.lower()} is in status "
                    f"{resource.status}."
                )
            if resource.status == lifecycle.stopping:
                return
            resource.status = lifecycle.stopping
            resource.modified = time.time()
            behaviour.stopping(resource, resource.modified)
            resource.stop.set()
        events.state_changed(self.store, resource)
        if behaviour.drives_itself:
            behaviour.stop(self, resource)
        elif not resource.runs_code:
            delay = min(self.duration_of(resource) * STOP_SHARE, STOP_LIMIT)
            self.later(delay, lambda: self.finish(resource, "Stopped"))

    def close(self) -> None:
        """End everything that still goes on; the store is about to be thrown away."""
        self.closed = True
        if "pipelines" in vars(self):
            self.pipelines.close()
        for resource in self.store.every():
            resource.stop.set()


def max_runtime(resource: Resource) -> float | None:
    """Return the job's own limit in seconds."""
    condition = resource.request.get("StoppingCondition") or {}
    limit = condition.get("MaxRuntimeInSeconds")
    return None if limit is None else float(limit)
