"""EMRServerless steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import (
    Clients,
    aws_call,
    error_code,
    error_message,
    is_transient,
    required,
    to_json,
)
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.job import set_role, without_nulls
from airflow_sagemaker_pipelines.steps.names import MAX_GENERATIONS
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict, verdict

#: CreateApplication and StartJobRun take 1 to 64 characters.
_CLIENT_TOKEN_LENGTH = 36
_NOTHING_TO_STOP = frozenset({"ValidationException", "ResourceNotFoundException", "ConflictException"})


class EMRServerless(StepRunner):
    """A job run on an EMR Serverless application: on an existing one, or on one made for it.

    Client tokens that are the same at every try make AWS answer a repeated call with the first one's application or
    job run. AWS does not say for how long it remembers them.

    UNCERTAIN: whether the service stops or deletes an application that it has created. Here it is left, so that its
    logs and UI stay; by EMR's default it stops after 15 idle minutes and then costs nothing.
    """

    step_type = StepType.EMR_SERVERLESS
    noun = "EMR Serverless job run"

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the body of StartJobRun, and that of CreateApplication if the step has its own application."""
        arguments: dict[str, Any] = without_nulls(run.resolve(run.step.arguments))
        job = dict(arguments["JobConfig"])
        job.setdefault("executionRoleArn", arguments.get("ExecutionRoleArn"))
        set_role(run, job, "executionRoleArn")
        job.setdefault("name", run.identity.name(0))
        job["clientToken"] = _job_token(run, 0)
        config = arguments.get("ApplicationConfig")
        if config is None:
            return {"StartJobRun": job | {"applicationId": arguments["ApplicationId"]}}
        job.pop("applicationId", None)
        return {"CreateApplication": config | {"clientToken": _application_token(run, 0)}, "StartJobRun": job}

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Start the job run, or find what an earlier try started."""
        if "CreateApplication" not in request:
            return self._start_run(run, request)
        application = self._application(run, request["CreateApplication"])
        with aws_call("ListJobRuns", step=run.step.name):
            earlier = _job_runs(run.clients, application)
            state = self._look(run, application, earlier)
        if state is not None:
            return state
        # A new application takes no jobs yet, and no worker waits for it: poll() starts the run.
        job = request["StartJobRun"] | {"applicationId": application, "clientToken": _job_token(run, len(earlier))}
        request["StartJobRun"] = job
        handle = {"name": job["name"], "application": application, "start": job, "earlier": len(earlier)}
        with aws_call("StartJobRun", step=run.step.name):
            return self.poll(run.clients, handle)

    def _application(self, run: StepRun, request: dict[str, Any]) -> str:
        """Create the step's application or find it; one that somebody has deleted takes no jobs any more."""
        client = run.clients("emr-serverless")
        for generation in range(MAX_GENERATIONS):
            request["clientToken"] = _application_token(run, generation)
            with aws_call("CreateApplication", step=run.step.name):
                application = required(client.create_application(**request), "applicationId", "CreateApplication")
            with aws_call("GetApplication", step=run.step.name):
                if _application_verdict(client, application) is not Verdict.STOPPED:
                    return str(application)
        raise StepRequestError(f"{MAX_GENERATIONS} applications of this task are deleted", step=run.step.name)

    def _look(self, run: StepRun, application: str, runs: list[str]) -> State | None:
        """Return the state of an own application's latest run, unless another one is to replace it."""
        if not runs:
            return None
        state = self.poll(run.clients, _handle(application, runs[-1]))
        return state if run.makes_do_with(state) else None

    def _start_run(self, run: StepRun, request: dict[str, Any]) -> State:
        client, job = run.clients("emr-serverless"), request["StartJobRun"]
        for generation in range(MAX_GENERATIONS):
            job["clientToken"] = _job_token(run, generation)
            with aws_call("StartJobRun", step=run.step.name):
                job_run = required(client.start_job_run(**job), "jobRunId", "StartJobRun")
            with aws_call("GetJobRun", step=run.step.name):
                state = self.poll(run.clients, _handle(job["applicationId"], job_run))
            # One that has only just been started has not failed yet.
            if run.makes_do_with(state):
                return state
        raise StepRequestError(f"{MAX_GENERATIONS} {self.noun}s of this task have failed", step=run.step.name)

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Get the job run; start it first where its application has only now become ready."""
        if "run" not in handle:
            return self._poll_application(clients, handle)
        answer = clients("emr-serverless").get_job_run(applicationId=handle["application"], jobRunId=handle["run"])
        job = required(answer, "jobRun", "GetJobRun")
        return State(
            handle=handle,
            verdict=verdict("JobRunState", job.get("state")),
            description=to_json(answer),
            reason=job.get("stateDetails"),
        )

    def _poll_application(self, clients: Clients, handle: Handle) -> State:
        client, application = clients("emr-serverless"), handle["application"]
        runs = _job_runs(clients, application)
        if len(runs) > handle["earlier"]:
            return self.poll(clients, _handle(application, runs[-1]))
        ready = _application_verdict(client, application)
        if ready is Verdict.STOPPED:
            return State(handle=handle, verdict=Verdict.FAILED, reason="its application is TERMINATED")
        if ready is not Verdict.SUCCEEDED:
            return State(handle=handle, verdict=Verdict.RUNNING)
        try:
            started = client.start_job_run(**handle["start"])
        except ClientError as error:
            if is_transient(error):
                raise
            reason = f"StartJobRun was refused with {error_code(error)}: {error_message(error)}"
            return State(handle=handle, verdict=Verdict.FAILED, reason=reason)
        return self.poll(clients, _handle(application, required(started, "jobRunId", "StartJobRun")))

    def stop(self, clients: Clients, handle: Handle) -> None:
        """Cancel the job run. One that is over is left alone."""
        application = handle["application"]
        runs = [handle["run"]] if "run" in handle else _job_runs(clients, application)[handle["earlier"] :]
        for job_run in runs:
            try:
                clients("emr-serverless").cancel_job_run(applicationId=application, jobRunId=job_run)
            except ClientError as error:
                if error_code(error) not in _NOTHING_TO_STOP:
                    raise

    def resource(self, handle: Handle) -> str:
        """Name the job run and its application."""
        name = handle.get("run") or handle.get("name", "")
        return f"{self.noun} {name} on application {handle.get('application', '')}".strip()


def _handle(application: str, job_run: str) -> Handle:
    return {"name": job_run, "application": application, "run": job_run}


def _application_verdict(client: Any, application: str) -> Verdict:
    found = required(client.get_application(applicationId=application), "application", "GetApplication")
    return verdict("ApplicationState", found.get("state"))


def _application_token(run: StepRun, generation: int) -> str:
    purpose = f"application {generation}" if generation else "application"
    return run.identity.token(purpose, length=_CLIENT_TOKEN_LENGTH)


def _job_token(run: StepRun, generation: int) -> str:
    return run.identity.token(f"job run {generation}", length=_CLIENT_TOKEN_LENGTH)


def _job_runs(clients: Clients, application: str) -> list[str]:
    """Return the ids of an application's job runs, oldest first. In a step's own application all are its own."""
    pages = clients("emr-serverless").get_paginator("list_job_runs").paginate(applicationId=application)
    runs: list[Mapping[str, Any]] = [job_run for page in pages for job_run in required(page, "jobRuns", "ListJobRuns")]
    return [job_run["id"] for job_run in sorted(runs, key=lambda job_run: job_run["createdAt"])]
