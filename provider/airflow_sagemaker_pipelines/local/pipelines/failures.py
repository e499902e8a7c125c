"""Failures of steps: what AWS says of them, and whether a retry policy covers them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.definition.policies import ExceptionType, RetryPolicy

from .step_run import FAILED, Outcome

if TYPE_CHECKING:
    from .calls import CallError
    from .execution import Execution
    from .step_run import StepRun

_THROTTLING = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})
_FAULTS = frozenset({"InternalFailure", "InternalServerException", "ServiceUnavailable", "ServiceException"})
_LIMITS = frozenset({"ResourceLimitExceeded", "ServiceQuotaExceededException", "LimitExceededException"})
_SERVER_ERROR = 500
# Tuning and AutoML jobs are not retried for an internal error, whatever the policy says.
_NO_INTERNAL_ERROR = frozenset({StepType.TUNING, StepType.AUTO_ML})
# Retried on every step, policy or not.
_IMPLICIT = frozenset({ExceptionType.SERVICE_FAULT, ExceptionType.THROTTLING})


def refused(execution: Execution, run: StepRun, error: CallError) -> Outcome:
    """Return the outcome of a step whose call was refused."""
    code, status = error.error.code, error.error.status
    types: set[str] = set()
    if code in _THROTTLING:
        types.add(ExceptionType.THROTTLING)
    elif code in _LIMITS:
        emr = error.service.startswith(("elasticmapreduce", "emr"))
        types.add(ExceptionType.EMR_RESOURCE_LIMIT if emr else ExceptionType.RESOURCE_LIMIT)
    elif code in _FAULTS or status >= _SERVER_ERROR:
        types.add(ExceptionType.SERVICE_FAULT)
    reason = f"ClientError: Failed to invoke {error.service}:{error.operation}. Error Details: {error.error.message}"
    for kind in types:
        reason += (
            f"\nRetry not appropriate on execution of step with PipelineExecutionArn {execution.arn.lower()} and "
            f"StepId {run.name}. No retry policy configured for the exception type {kind.replace('.', '_').upper()}."
        )
    return Outcome(status=FAILED, reason=reason, exception_types=frozenset(types))


def failed_job(step: StepType, reason: str | None) -> Outcome:
    """Return the outcome of a step whose job has failed."""
    text = reason or ""
    types: set[str] = set()
    if text.startswith("InternalServerError") and step not in _NO_INTERNAL_ERROR:
        types.add(ExceptionType.JOB_INTERNAL_ERROR)
    if text.startswith(("CapacityError", "InsufficientCapacity")):
        types.add(ExceptionType.CAPACITY_ERROR)
    return Outcome(status=FAILED, reason=reason, exception_types=frozenset(types))


def delay_before_retry(execution: Execution, run: StepRun, outcome: Outcome) -> float | None:
    """Return the seconds until a failed step is tried again, counting the retry, or None if it is not."""
    settings = execution.settings
    for number, policy in enumerate(_policies(run.step.retry_policies, settings.implicit_retries)):
        if outcome.exception_types.isdisjoint(policy.exception_types):
            continue
        used = run.retries.get(number, 0) if settings.retries_per_policy else run.attempt - 1
        if policy.max_attempts is not None and used >= policy.max_attempts:
            return None
        if policy.expire_after_minutes is not None:
            minutes = (time.time() - run.started) / 60 / (settings.time_scale or 1.0)
            if minutes >= policy.expire_after_minutes:
                return None
        run.retries[number] = run.retries.get(number, 0) + 1
        return float(policy.interval_seconds * policy.backoff_rate**used * settings.time_scale)
    return None


def _policies(own: Iterable[RetryPolicy], implicit_retries: int) -> Iterable[RetryPolicy]:
    """Return the policies of a step, then the one that every step has. AWS does not say which of two goes first."""
    yield from own
    yield RetryPolicy(exception_types=tuple(_IMPLICIT), max_attempts=implicit_retries)
