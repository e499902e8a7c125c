"""EMRServerless steps: a job run on an application that exists, or on one made for the step."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from ..calls import CallError, emr_serverless
from ..step_run import FAILED, STOPPED, STOPPING, Outcome

if TYPE_CHECKING:
    from ..context import Context


def begin(context: Context) -> None:
    """Start the job run, first its application if it has its own."""
    arguments = context.arguments
    config = arguments.get("ApplicationConfig")
    if config is None:
        _start(context, str(arguments["ApplicationId"]))
        return
    request = {**config, "clientToken": secrets.token_hex(16)}
    answer = emr_serverless(context.engine, "CreateApplication", **request)
    application = str(answer["applicationId"])
    context.run.metadata = {"EMRServerless": {"ApplicationId": application}}
    context.run.stop = lambda: context.settle(lambda: Outcome(status=STOPPED))

    def ready() -> None:
        _start(context, application)

    _backend(context).when_application_ready(application, lambda: context.settle(ready))


def _start(context: Context, application: str) -> None:
    job = dict(context.arguments["JobConfig"])
    job.setdefault("executionRoleArn", context.arguments.get("ExecutionRoleArn") or context.role)
    job.setdefault("name", context.job_name)
    job |= {"applicationId": application, "clientToken": secrets.token_hex(16)}
    answer = emr_serverless(context.engine, "StartJobRun", **job)
    job_run = str(answer["jobRunId"])
    place = {"ApplicationId": application, "JobRunId": job_run, "JobRunName": job["name"]}
    context.run.metadata = {"EMRServerless": place}
    context.run.stop = lambda: _stop(context, application, job_run)
    over = _backend(context)
    over.when_job_run_over(application, job_run, lambda: context.settle(lambda: _outcome(context)))


def _backend(context: Context) -> Any:
    from moto.emrserverless.models import emrserverless_backends  # noqa: PLC0415 - few need it

    store = context.engine.store
    return emrserverless_backends[store.account][store.region]


def _stop(context: Context, application: str, job_run: str) -> None:
    try:
        emr_serverless(context.engine, "CancelJobRun", applicationId=application, jobRunId=job_run)
    except CallError:
        # It is over, which somebody tells us right now.
        return


def _outcome(context: Context) -> Outcome:
    place = context.run.metadata["EMRServerless"]
    ids = {"applicationId": place["ApplicationId"], "jobRunId": place["JobRunId"]}
    answer = emr_serverless(context.engine, "GetJobRun", **ids)
    _leave(context, place["ApplicationId"])
    state = answer["jobRun"]["state"]
    if state == "SUCCESS":
        return Outcome(outputs=_plain(answer))
    if state == "CANCELLED" and context.run.status == STOPPING:
        return Outcome(status=STOPPED)
    return Outcome(status=FAILED, reason=answer["jobRun"].get("stateDetails") or f"The job run is in state {state}")


def _leave(context: Context, application: str) -> None:
    if "ApplicationConfig" in context.arguments and context.settings.stop_created_application:
        emr_serverless(context.engine, "StopApplication", applicationId=application)


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, dict):
        return {key: _plain(item) for key, item in node.items()}
    return node.isoformat() if hasattr(node, "isoformat") else node
