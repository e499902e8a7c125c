"""EMR Serverless job runs that take time, and client tokens that are honoured; moto's runs are over at once.

Rules: kind ``EMRServerless``; ``name`` is the job run's name, or its id if it has none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import moto.emrserverless.urls
from moto.core.utils import utcnow
from moto.emrserverless.exceptions import ValidationException
from moto.emrserverless.models import Application, EMRServerlessBackend, JobRun, emrserverless_backends

from . import events
from .clock import Plan, later, plan
from .waiting import Waiting

# A job run is never over before the call that started it answers: a client could not tell it from an earlier one.
MINIMUM_SECONDS = 0.05

_STATES = {"Completed": "SUCCESS", "Failed": "FAILED", "Stopped": "CANCELLED"}
_RUNNING = ("SUBMITTED", "RUNNING")


class LocalEmrServerlessBackend(EMRServerlessBackend):
    """moto's backend of one account and region, with job runs that live."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.lock = threading.RLock()
        self._tokens: dict[tuple[str, ...], Any] = {}
        self._plans: dict[str, Plan] = {}
        self._waiting: dict[str, Waiting] = {}

    @property
    def _url_module(self) -> Any:
        # moto looks for a module `urls` beside the backend's own module.
        return moto.emrserverless.urls

    def create_application(self, *args: Any, **kwargs: Any) -> Application:
        """CreateApplication: it is being created for a while. A token that was used before gets the first one."""
        key = ("application", kwargs["client_token"])
        with self.lock:
            if key in self._tokens:
                found: Application = self._tokens[key]
                return found
            application = super().create_application(*args, **kwargs)
            self._tokens[key] = application
            application.state, application.created_at = "CREATING", utcnow()
            events.application_changed(application, None)
        name = application.name or application.id
        given = plan(kind="EMRServerlessApplication", name=name, operation="CreateApplication")
        self._waiting[application.id] = Waiting(lambda: application.state != "CREATING")
        later(given.startup, lambda: self._created(application))
        return application

    def delete_application(self, application_id: str) -> None:
        """DeleteApplication."""
        application = self.get_application(application_id)
        previous = application.state
        super().delete_application(application_id)
        events.application_changed(application, previous)

    def start_job_run(self, *args: Any, **kwargs: Any) -> JobRun:
        """StartJobRun: a token that was used before on the application gets the first run."""
        key = ("job run", kwargs["application_id"], kwargs["client_token"])
        with self.lock:
            if key in self._tokens:
                found: JobRun = self._tokens[key]
                return found
            application = self.get_application(kwargs["application_id"])
            if application.state in ("CREATING", "STOPPING", "TERMINATED"):
                raise ValidationException(
                    f"Application {application.id} must be in one of the following statuses "
                    f"[CREATED, STARTING, STARTED, STOPPED]. Current status: {application.state}"
                )
            job_run = super().start_job_run(*args, **kwargs)
            self._tokens[key] = job_run
            _turn(application, "STARTED")
            job_run.state, job_run.state_details = "SUBMITTED", "-"
            job_run.created_at = job_run.updated_at = utcnow()
            job_run.created_by = f"arn:aws:iam::{self.account_id}:root"
            given = plan(kind="EMRServerless", name=job_run.name or job_run.id, operation="StartJobRun")
            self._plans[job_run.id] = given
            self._waiting[job_run.id] = Waiting(lambda: job_run.state in _STATES.values())
            events.job_run_changed(job_run, None)
        duration = max(given.duration, MINIMUM_SECONDS)
        later(given.startup, lambda: self._begin(job_run))
        later(duration, lambda: self._end(job_run, given))
        return job_run

    def cancel_job_run(self, application_id: str, job_run_id: str) -> tuple[str, str]:
        """CancelJobRun: it is cancelled a little later."""
        job_run = self.get_job_run(application_id, job_run_id)
        if not self._move(job_run, _RUNNING, "CANCELLING"):
            raise ValidationException(f"Job run {job_run_id} is in a state that cannot be cancelled: {job_run.state}")
        later(self._plans[job_run.id].stop, lambda: self._cancelled(job_run))
        return application_id, job_run_id

    def list_job_runs(
        self,
        application_id: str,
        created_at_after: datetime | None,
        created_at_before: datetime | None,
        states: list[str] | None,
    ) -> list[JobRun]:
        """ListJobRuns: none for an application that has had none."""
        self.job_runs.setdefault(self.get_application(application_id).id, [])
        return super().list_job_runs(application_id, created_at_after, created_at_before, states)

    def _begin(self, job_run: JobRun) -> None:
        self._move(job_run, ("SUBMITTED",), "RUNNING")

    def _end(self, job_run: JobRun, given: Plan) -> None:
        self._move(job_run, _RUNNING, _STATES[given.outcome], given.reason)

    def _cancelled(self, job_run: JobRun) -> None:
        self._move(job_run, ("CANCELLING",), "CANCELLED")

    def _move(self, job_run: JobRun, before: tuple[str, ...], after: str, reason: str | None = None) -> bool:
        """Change a job run's state; False if it is none of those that can become the new one."""
        with self.lock:
            if job_run.state not in before:
                return False
            previous, job_run.state, job_run.updated_at = job_run.state, after, utcnow()
            job_run.state_details = reason or job_run.state_details
            events.job_run_changed(job_run, previous)
        if after in _STATES.values():
            self._waiting[job_run.id].release()
        return True

    def _created(self, application: Application) -> None:
        _turn(application, "CREATED")
        self._waiting[application.id].release()

    def when_application_ready(self, application_id: str, action: Callable[[], None]) -> None:
        """Call ``action``, which must not block, once an application takes jobs."""
        self._waiting[application_id].add(action)

    def when_job_run_over(self, application_id: str, job_run_id: str, action: Callable[[], None]) -> None:
        """Call ``action``, which must not block, once a job run is over."""
        self._waiting[self.get_job_run(application_id, job_run_id).id].add(action)


def _turn(application: Application, state: str) -> None:
    """Go into a state, which may be the one it is in."""
    previous, application.state, application.updated_at = application.state, state, utcnow()
    if previous != state:
        events.application_changed(application, previous)


def install() -> None:
    """Put our EMR Serverless in moto's place; doing it again does nothing."""
    if emrserverless_backends.backend is not LocalEmrServerlessBackend:
        emrserverless_backends.backend = LocalEmrServerlessBackend
        emrserverless_backends.clear()


def uninstall() -> None:
    """Give moto its EMR Serverless back."""
    emrserverless_backends.backend = EMRServerlessBackend
    emrserverless_backends.clear()
