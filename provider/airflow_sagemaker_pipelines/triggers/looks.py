"""The calls by which the state of a resource is learned. They block, so triggers make them in threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import StepType
    from airflow_sagemaker_pipelines.steps.runner import Handle, Listing, State

#: Looks hold threads of their own: asyncio's few are for the other triggers of the process.
THREADS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="sagemaker-looks")


def describe(step_type: StepType, connection: AwsConnection, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
    """Ask for the state of what a step has made.

    :returns: how it has ended, ``None`` if it has not; and what names it from now on.
    """
    from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415
    from airflow_sagemaker_pipelines.steps.status import Verdict  # noqa: PLC0415

    runner, clients = runner_of(step_type), shared_clients(connection)
    state: State = runner.poll(clients, handle)
    if not state.verdict.is_final:
        return None, state.handle
    outputs = runner.outputs(clients, state) if state.verdict is Verdict.SUCCEEDED else None
    return {"verdict": str(state.verdict), "reason": state.reason, "outputs": outputs}, state.handle


def list_in_progress(step_type: StepType, connection: AwsConnection, name_contains: str) -> Listing | None:
    """List what is in progress; ``None`` if AWS has no such list for steps of this type."""
    from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

    return runner_of(step_type).in_progress(shared_clients(connection), name_contains=name_contains)
