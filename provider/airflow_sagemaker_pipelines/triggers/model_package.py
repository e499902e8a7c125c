"""Waits for the decision about a model package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.triggers.step import StepTrigger
from airflow_sagemaker_pipelines.triggers.watch import Watch

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.runner import Handle


def look(connection: AwsConnection, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
    """Ask for the decision about a model package; it blocks.

    :param handle: see :func:`~airflow_sagemaker_pipelines.steps.approval.decision`.
    :returns: the outcome, ``None`` if there is no decision yet; and what names the package from now on.
    """
    from airflow_sagemaker_pipelines.steps.approval import decision  # noqa: PLC0415
    from airflow_sagemaker_pipelines.steps.status import Verdict  # noqa: PLC0415

    state = decision(shared_clients(connection), handle)
    if not state.verdict.is_final:
        return None, state.handle
    outputs = dict(state.description) if state.verdict is Verdict.SUCCEEDED else None
    return {"verdict": str(state.verdict), "reason": state.reason, "outputs": outputs}, state.handle


class ApprovalWatch(Watch):
    """Looks for all waits on decisions, by one connection."""

    def ask(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Ask for the decision."""
        return look(self._connection, handle)


class ModelPackageApprovalTrigger(StepTrigger):
    """Waits, as for what a RegisterModel step makes, but until somebody has decided about it.

    The event is that of :class:`StepTrigger`: an approved package is a success with its description, a rejected one a
    failure. A version is woken for by EventBridge's event; which version is a group's newest is polled.
    """

    watch_type = ApprovalWatch
