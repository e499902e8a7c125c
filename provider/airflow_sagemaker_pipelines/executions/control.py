"""Starts, stops and retries executions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition.resolve import render
from airflow_sagemaker_pipelines.executions.callbacks import send_failure
from airflow_sagemaker_pipelines.executions.calls import pipeline_call
from airflow_sagemaker_pipelines.executions.deployment import check_execution
from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineChangedError, PipelineRequestError
from airflow_sagemaker_pipelines.executions.resources import JOBS, resource_of
from airflow_sagemaker_pipelines.executions.snapshot import Snapshot, StepRecord, describe_execution, read_steps
from airflow_sagemaker_pipelines.steps.aws import required
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.names import digest
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict, verdict

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import PipelineDefinition
    from airflow_sagemaker_pipelines.executions.ends import StepKey
    from airflow_sagemaker_pipelines.steps.aws import Clients

_TOKEN_LENGTH = 40
#: StartPipelineExecution takes this many selected steps.
MAX_SELECTED_STEPS = 50
_MAX_DISPLAY_NAME_LENGTH = 82


def request_token(*parts: object) -> str:
    """Return a ``ClientRequestToken`` that is a function of its parts; AWS wants 32 to 128 characters."""
    return digest(*parts, length=_TOKEN_LENGTH)


def display_name(text: str) -> str:
    """Return a text in the characters that the display name of an execution may have."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text)[:_MAX_DISPLAY_NAME_LENGTH].strip("-") or "execution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The steps of a selective execution.

    :param steps: those that run.
    :param source_arn: the execution whose outputs they use; ``None`` if they use none.
    """

    steps: Sequence[str]
    source_arn: str | None = None


def start(
    clients: Clients,
    *,
    pipeline_name: str,
    token: str,
    parameters: Mapping[str, Any],
    display_name: str | None = None,
    description: str | None = None,
    max_parallel_steps: int | None = None,
    version: Mapping[str, Any] | None = None,
    selection: Selection | None = None,
) -> str:
    """Start an execution, once per token, and return its ARN.

    :param parameters: values by name; AWS takes them as text.
    :param version: ``PipelineVersionId`` or ``PipelineVersionAlias``; by default the latest version.
    :raises PipelineRequestError: if AWS refuses, or more steps are selected than it takes.
    :raises PipelineCallError: if AWS cannot answer now.
    """
    request: dict[str, Any] = {"PipelineName": pipeline_name, "ClientRequestToken": token, **(version or {})}
    if parameters:
        request["PipelineParameters"] = [
            {"Name": name, "Value": render(value)} for name, value in sorted(parameters.items())
        ]
    if display_name:
        request["PipelineExecutionDisplayName"] = display_name
    if description:
        request["PipelineExecutionDescription"] = description
    if max_parallel_steps is not None:
        request["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": max_parallel_steps}
    if selection is not None:
        request["SelectiveExecutionConfig"] = _selective(selection, pipeline_name)
    with pipeline_call("StartPipelineExecution", pipeline_name):
        answer = clients("sagemaker").start_pipeline_execution(**request)
        return str(required(answer, "PipelineExecutionArn", "StartPipelineExecution"))


def _selective(selection: Selection, pipeline_name: str) -> dict[str, Any]:
    if len(selection.steps) > MAX_SELECTED_STEPS:
        raise PipelineRequestError(
            f"{len(selection.steps)} steps are selected; a selective execution takes {MAX_SELECTED_STEPS}. Clear all "
            "tasks of the run to run all steps",
            resource=pipeline_name,
        )
    config: dict[str, Any] = {"SelectedSteps": [{"StepName": name} for name in selection.steps]}
    if selection.source_arn is not None:
        config["SourcePipelineExecutionArn"] = selection.source_arn
    return config


def parameters_of(clients: Clients, arn: str) -> dict[str, str]:
    """Return the parameters that an execution was started with, as text."""
    found: dict[str, str] = {}
    with pipeline_call("ListPipelineParametersForExecution", arn):
        listing = clients("sagemaker").get_paginator("list_pipeline_parameters_for_execution")
        for page in listing.paginate(PipelineExecutionArn=arn):
            entries = required(page, "PipelineParameters", "ListPipelineParametersForExecution")
            found |= {entry["Name"]: entry["Value"] for entry in entries}
    return found


def retry(clients: Clients, arn: str, *, ended: datetime, max_parallel_steps: int | None = None) -> bool:
    """Have a failed or stopped execution go on in place; return whether AWS took the call.

    It did not if the execution goes on already, because another task was faster, and cannot if it was ended by a Fail
    step. Tasks that ask at once make one retry: they make one token.

    :param ended: the ``LastModifiedTime`` of the ended execution: the same for all that see this end.
    """
    request: dict[str, Any] = {
        "PipelineExecutionArn": arn,
        "ClientRequestToken": request_token("retry", arn, ended.timestamp()),
    }
    if max_parallel_steps is not None:
        request["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": max_parallel_steps}
    try:
        with pipeline_call("RetryPipelineExecution", arn):
            clients("sagemaker").retry_pipeline_execution(**request)
    except PipelineRequestError as error:
        if error.code == "ConflictException":
            return False
        raise
    return True


def resume(clients: Clients, arn: str, *, max_parallel_steps: int | None = None) -> None:
    """Have a failed or stopped execution go on in place, unless it does so already.

    :raises PipelineRequestError: if AWS does not retry it: it has succeeded, or a Fail step has ended it.
    :raises PipelineCallError: if it is being stopped, and can be retried afterwards; or if AWS cannot answer now.
    """
    described = describe_execution(clients, arn)
    status, ended = described["PipelineExecutionStatus"], described["LastModifiedTime"]
    if verdict("PipelineExecutionStatus", status).is_final:
        if retry(clients, arn, ended=ended, max_parallel_steps=max_parallel_steps):
            return
        described = describe_execution(clients, arn)
        if described["LastModifiedTime"] == ended:
            raise PipelineRequestError(f"AWS does not retry the execution, which is {status}", resource=arn)
        # Another task was faster.
        status = described["PipelineExecutionStatus"]
    if verdict("PipelineExecutionStatus", status) is Verdict.STOPPING:
        raise PipelineCallError("the execution is about to stop; AWS retries it when it has", resource=arn)


def stop(clients: Clients, arn: str, *, answers_callbacks: bool = True) -> None:
    """Stop an execution; nothing happens to one that is over.

    AWS ends it only when its running Callback steps are answered (section 10.6 of the AWS semantics).

    :param answers_callbacks: whether those are answered from here, as failed.
    :raises PipelineCallError: if AWS cannot answer now, or does not take the call between two steps.
    :raises PipelineRequestError: if it refuses.
    """
    if _ask_to_stop(clients, arn) and answers_callbacks:
        answer_callbacks(clients, arn, "The execution was stopped")


def _ask_to_stop(clients: Clients, arn: str) -> bool:
    """Ask for the end of an execution; return whether it has yet to come."""
    try:
        with pipeline_call("StopPipelineExecution", arn):
            # The token is botocore's: by one of ours, AWS would take the stop of a retried execution for the first one.
            clients("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)
    except PipelineRequestError as error:
        # AWS refuses what is over, with a code that stands for much else, and what goes from one step to the next.
        if error.code not in {"ConflictException", "ValidationException"}:
            raise
        found = verdict("PipelineExecutionStatus", describe_execution(clients, arn)["PipelineExecutionStatus"])
        if found is Verdict.RUNNING and error.code == "ConflictException":
            raise PipelineCallError(error.message, resource=arn, code=error.code) from error
        if not found.is_final and found is not Verdict.STOPPING:
            raise
        return not found.is_final
    return True


def stop_other_definition(clients: Clients, definition: PipelineDefinition, arn: str) -> None:
    """Stop an execution that was started just now if it runs by another definition.

    :raises PipelineChangedError: if it does; it says which steps differ.
    """
    try:
        check_execution(clients, definition, arn)
    except PipelineChangedError as error:
        stop(clients, arn)
        message = f"{error.message}, so it was stopped. Deploy the DAG's definition, or pass deploy='upsert'"
        raise PipelineChangedError(message, resource=arn) from error


def answer_callbacks(clients: Clients, arn: str, reason: str, *, only: Collection[str] | None = None) -> None:
    """Answer the running Callback steps of an execution as failed.

    :param only: these; default: all.
    """
    for step in read_steps(clients, arn).values():
        if not step.verdict.is_final and (only is None or step.name in only):
            _answer_callback(clients, step, reason)


def _answer_callback(clients: Clients, step: StepRecord, reason: str) -> None:
    token = step.callback_token
    if token is None:
        return
    try:
        send_failure(clients, token, reason, step=step.name, client_request_token=request_token("answer", token))
    except StepRequestError:
        # Its worker was faster.
        return
    except StepCallError as error:
        raise PipelineCallError(error.message, resource=step.name, code=error.code) from error


def stop_step(clients: Clients, arn: str, key: StepKey, *, with_execution: bool = False) -> None:
    """Stop what one step of an execution runs, and nothing else of it.

    A running Callback step is answered as failed. What SageMaker runs otherwise, such as a Lambda function, cannot be
    stopped by itself.

    :param with_execution: whether the step runs no more because its execution is to end: then this is stopped as a
        whole. Stopped step by step, it would come to be ``Failed``.
    """
    step = key.find(Snapshot(steps=read_steps(clients, arn), verdict=Verdict.RUNNING, status="Executing"))
    if step is None or step.verdict.is_final:
        return
    if with_execution:
        stop(clients, arn)
        return
    _answer_callback(clients, step, "The step's task was ended in Airflow")
    resource = resource_of(step)
    if resource is not None and resource[0] in JOBS:
        with pipeline_call("The call to stop its job", arn):
            runner_of(resource[0]).stop(clients, resource[1])
