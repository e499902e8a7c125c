"""EMR clusters whose steps begin, take their time and end; moto's never do.

Rules: kind ``EMR`` for steps, ``EMRCluster`` for the start of clusters; ``name`` is the step's or the cluster's name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import moto.emr.urls
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.emr.exceptions import InvalidCluster, InvalidRequestException, ValidationException
from moto.emr.models import Cluster, ElasticMapReduceBackend, InstanceGroup, Step, emr_backends
from moto.emr.responses import ElasticMapReduceResponse

from . import events
from .clock import Plan, later, plan
from .waiting import Waiting

_UNFINISHED = ("PENDING", "RUNNING", "CANCEL_PENDING")
_STATES = {"Completed": "COMPLETED", "Failed": "FAILED", "Stopped": "CANCELLED"}


class LocalStep(Step):
    """A step that knows what shall become of it."""

    plan: Plan
    cluster: LocalCluster
    failure: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting = Waiting(lambda: self.state not in _UNFINISHED)

    @property
    def status(self) -> dict[str, Any]:
        """Return moto's status, and why the step failed."""
        details = {"Reason": "Unknown Error.", "Message": self.failure} if self.failure else None
        return {**super().status, "FailureDetails": details}

    def turn(self, state: str) -> None:
        """Go into another state."""
        self.state = state
        events.emr_step_changed(self.cluster, self)

    def end(self, state: str) -> None:
        """Bring the step to its end."""
        self.end_date_time = utcnow()  # type: ignore[assignment]
        self.turn(state)
        self.waiting.release()


class LocalCluster(Cluster):
    """A cluster that runs its steps, and terminates after the last one unless it is to be kept."""

    steps: list[LocalStep]  # type: ignore[assignment]
    emr_backend: LocalEmrBackend
    change: Mapping[str, str | None] = MappingProxyType({"Code": None, "Message": None})

    def add_steps(self, steps: list[dict[str, Any]], operation: str = "RunJobFlow") -> list[Step]:
        """Queue steps."""
        added = [LocalStep(state="PENDING", **step) for step in steps]
        for step in added:
            step.plan = plan(kind="EMR", name=step.name, operation=operation)
            step.cluster = self
        self.steps.extend(added)
        return [*added]

    def run_bootstrap_actions(self) -> None:
        """Do nothing yet: the cluster is starting, which :meth:`begin` gives its time."""

    def begin(self) -> None:
        """Start; a rule can keep the cluster from it."""
        events.emr_cluster_changed(self, self.change)
        for step in self.steps:
            # moto has the first step begin with its cluster.
            step.start_date_time = None
            step.turn(step.state)
        begin = plan(kind="EMRCluster", name=self.name, operation="RunJobFlow")
        later(begin.startup, self._ready if begin.outcome == "Completed" else lambda: self._refuse(begin))

    @property
    def status(self) -> dict[str, Any]:
        """Return moto's status, and why it is so."""
        return {**super().status, "StateChangeReason": dict(self.change)}

    @property
    def is_over(self) -> bool:
        """Tell whether the cluster takes no more steps."""
        return str(self.state).startswith("TERMINAT")

    def run_steps(self) -> None:
        """Begin as many waiting steps as may run at once; end if there is nothing left to do."""
        with self.emr_backend.lock:
            if self.is_over or self.state == "STARTING":
                return
            busy = [step for step in self.steps if step.state in ("RUNNING", "CANCEL_PENDING")]
            waiting = [step for step in self.steps if step.state == "PENDING"]
            begun = waiting[: max(0, self.step_concurrency_level - len(busy))]
            for step in begun:
                step.start_date_time = utcnow()
                step.turn("RUNNING")
            if busy or begun:
                self.turn("RUNNING")
            elif self.auto_terminate:
                self.end("TERMINATED", "ALL_STEPS_COMPLETED", "Steps completed")
            else:
                self.turn("WAITING")
        for step in begun:
            self._finish_later(step)

    def _finish_later(self, step: LocalStep) -> None:
        later(step.plan.duration, lambda: self._finish(step))

    def _finish(self, step: LocalStep) -> None:
        with self.emr_backend.lock:
            if step.state != "RUNNING":
                return
            step.end(_STATES[step.plan.outcome])
            if step.state == "FAILED":
                step.failure = step.plan.reason
                self._after_failure(step)
        self.run_steps()

    def _after_failure(self, step: LocalStep) -> None:
        if step.action_on_failure in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"):
            self.end("TERMINATED_WITH_ERRORS", "STEP_FAILURE", "Shut down as step failed")
        elif step.action_on_failure == "CANCEL_AND_WAIT":
            self._cancel_all("PENDING")

    def _cancel_all(self, *states: str) -> None:
        for step in self.steps:
            if step.state in states:
                step.end("CANCELLED")

    def cancel(self, step: LocalStep) -> str | None:
        """Cancel a step: at once if it waits, else a little later. Returns why that is not possible."""
        with self.emr_backend.lock:
            if step.state not in _UNFINISHED:
                return f"Step is in state {step.state} and cannot be cancelled."
            if step.state == "PENDING":
                step.end("CANCELLED")
                return None
            step.turn("CANCEL_PENDING")
        later(step.plan.stop, lambda: self._cancelled(step))
        return None

    def _cancelled(self, step: LocalStep) -> None:
        with self.emr_backend.lock:
            if step.state == "CANCEL_PENDING":
                step.end("CANCELLED")
        self.run_steps()

    def terminate(self) -> None:
        """End at a user's request."""
        with self.emr_backend.lock:
            if not self.is_over:
                self.end("TERMINATED", "USER_REQUEST", "Terminated by user request")

    def end(self, state: str, code: str, message: str) -> None:
        """End; what has not been done is cancelled."""
        self._cancel_all(*_UNFINISHED)
        self.change, self.end_datetime = {"Code": code, "Message": message}, utcnow()
        self.turn(state)

    def turn(self, state: str) -> None:
        """Go into a state, which may be the one it is in."""
        if self.state != state:
            self.state = state
            events.emr_cluster_changed(self, self.change)

    def _ready(self) -> None:
        with self.emr_backend.lock:
            if self.is_over:
                return
            self.ready_datetime = utcnow()
            self.turn("WAITING")
        self.run_steps()

    def _refuse(self, begin: Plan) -> None:
        with self.emr_backend.lock:
            if not self.is_over:
                self.end("TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE", begin.reason or "The cluster did not start.")


class _Clusters(dict[str, Cluster]):
    """Clusters by id; an unknown one is an error that AWS has, where moto would answer a page of HTML."""

    def __missing__(self, cluster_id: str) -> Cluster:
        raise InvalidCluster(cluster_id)


class LocalEmrBackend(ElasticMapReduceBackend):
    """moto's backend of one account and region, with clusters that live."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.clusters = _Clusters()
        self.lock = threading.RLock()

    @property
    def _url_module(self) -> Any:
        # moto looks for a module `urls` beside the backend's own module.
        return moto.emr.urls

    def run_job_flow(self, **kwargs: Any) -> Cluster:
        """RunJobFlow: security groups are taken as given, and there are no EC2 instances."""
        cluster = LocalCluster(self, **kwargs)  # type: ignore[abstract]
        cluster.begin()
        return cluster

    def run_instances(self, cluster_id: str, instances: dict[str, Any], instance_group: InstanceGroup) -> None:
        """Make no instances: moto's EC2 would take seconds for them."""

    def add_job_flow_steps(self, job_flow_id: str, steps: list[dict[str, Any]]) -> list[Step]:
        """AddJobFlowSteps."""
        cluster = self._cluster(job_flow_id)
        with self.lock:
            if cluster.is_over:
                raise ValidationException(
                    "A job flow that is shutting down, terminating, or finished may not be modified."
                )
            added = cluster.add_steps(steps, "AddJobFlowSteps")
            for step in added:
                events.emr_step_changed(cluster, step)
        cluster.run_steps()
        return added

    def describe_step(self, cluster_id: str, step_id: str) -> Step:
        """DescribeStep."""
        step = super().describe_step(cluster_id, step_id)
        if step is None:
            raise InvalidRequestException(f"Step id '{step_id}' is not valid.")
        return step

    def cancel_steps(self, cluster_id: str, step_ids: list[str]) -> list[dict[str, Any]]:
        """CancelSteps: what became of each request."""
        cluster = self._cluster(cluster_id)
        steps = {step.id: step for step in cluster.steps}
        answers = []
        for step_id in step_ids:
            step = steps.get(step_id)
            problem = "Step does not exist." if step is None else cluster.cancel(step)
            answers.append({"StepId": step_id, "Status": "FAILED" if problem else "SUBMITTED", "Reason": problem})
        return answers

    def when_step_over(self, cluster_id: str, step_id: str, action: Callable[[], None]) -> None:
        """Call ``action``, which must not block, once a step is over."""
        steps = {step.id: step for step in self._cluster(cluster_id).steps}
        steps[step_id].waiting.add(action)

    def _cluster(self, cluster_id: str) -> LocalCluster:
        cluster = self.clusters[cluster_id]
        if not isinstance(cluster, LocalCluster):
            raise TypeError(f"cluster {cluster_id} was not made here")
        return cluster


class LocalEmrResponse(ElasticMapReduceResponse):
    """Answers one request."""

    def cancel_steps(self) -> ActionResult:
        """CancelSteps, which moto does not have."""
        backend = self.backend
        if not isinstance(backend, LocalEmrBackend):
            raise TypeError("the local EMR backend is not installed")
        answers = backend.cancel_steps(self._get_param("ClusterId"), self._get_param("StepIds", []))
        return ActionResult({"CancelStepsInfoList": answers})


def install() -> None:
    """Put our EMR in moto's place; doing it again does nothing."""
    if emr_backends.backend is not LocalEmrBackend:
        moto.emr.urls.url_paths["{0}/$"] = LocalEmrResponse.dispatch
        emr_backends.backend = LocalEmrBackend
        emr_backends.clear()


def uninstall() -> None:
    """Give moto its EMR back."""
    moto.emr.urls.url_paths["{0}/$"] = ElasticMapReduceResponse.dispatch
    emr_backends.backend = ElasticMapReduceBackend
    emr_backends.clear()
