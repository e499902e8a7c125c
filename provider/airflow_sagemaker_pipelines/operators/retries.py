"""When a failed step is tried again: the definition's retry policies, then the author's retries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import HAS_RETRY_POLICIES, RetryDecision, RetryPolicy, TaskDeferralError
from airflow_sagemaker_pipelines.definition import Step, StepType, policies
from airflow_sagemaker_pipelines.definition.policies import ExceptionType
from airflow_sagemaker_pipelines.executions.errors import PipelineCallError
from airflow_sagemaker_pipelines.steps.errors import RESOURCE_LIMIT_CODES, StepCallError, StepFailedError

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

#: "Retried by default on every step type", exponentially from one second; AWS does not say how often.
IMPLICIT_POLICY = policies.RetryPolicy(
    exception_types=(ExceptionType.THROTTLING, ExceptionType.SERVICE_FAULT), interval_seconds=1, max_attempts=5
)
#: Steps that call no AWS service have nothing to throttle.
_LOCAL_STEPS = frozenset({StepType.FAIL})
#: Airflow wants a number of retries also where only time bounds them.
_MOST_RETRIES = 100
_LONGEST_DELAY = timedelta(hours=12)
#: Tuning and AutoML jobs do not retry internal errors, even if configured.
_NO_INTERNAL_ERROR_RETRIES = frozenset({StepType.TUNING, StepType.AUTO_ML})


def applicable_policies(step: Step) -> tuple[policies.RetryPolicy, ...]:
    """Return the policies of a step in the order in which they are asked: its own, then the implicit one."""
    if step.type in _LOCAL_STEPS:
        return ()
    return (*step.retry_policies, IMPLICIT_POLICY)


def retries_of(step: Step) -> int:
    """Return how many retries a step's policies may need in all."""
    return min(_MOST_RETRIES, sum(_attempts(policy) for policy in applicable_policies(step)))


def _attempts(policy: policies.RetryPolicy) -> int:
    if policy.max_attempts is not None:
        return policy.max_attempts
    # As many as fit into the time even if every try failed at once.
    spent, count = 0.0, 0
    while count < _MOST_RETRIES and spent <= (policy.expire_after_minutes or 0) * 60:
        spent += max(1.0, policy.interval_seconds * policy.backoff_rate**count)
        count += 1
    return count if policy.expire_after_minutes else 0


def exception_types(error: BaseException, step: Step) -> frozenset[ExceptionType]:
    """Classify a failure as retry policies do (section 4.2 of the AWS semantics)."""
    if isinstance(error, StepCallError):
        if error.code == "CapacityError":
            return frozenset({ExceptionType.CAPACITY_ERROR})
        if error.code in RESOURCE_LIMIT_CODES:
            emr = step.type in {StepType.EMR, StepType.EMR_SERVERLESS}
            return frozenset({ExceptionType.EMR_RESOURCE_LIMIT if emr else ExceptionType.RESOURCE_LIMIT})
        throttled = error.code is not None and ("Throttl" in error.code or "TooManyRequests" in error.code)
        return frozenset({ExceptionType.THROTTLING if throttled else ExceptionType.SERVICE_FAULT})
    if isinstance(error, TaskDeferralError):
        # The trigger has crashed, not the job: another try attaches to it.
        return frozenset({ExceptionType.SERVICE_FAULT})
    if isinstance(error, StepFailedError):
        return _job_exception_types(error.message, step)
    return frozenset()


def _job_exception_types(reason: str, step: Step) -> frozenset[ExceptionType]:
    if reason.startswith(("InternalServerError", "InternalServerException")):
        retried = step.type not in _NO_INTERNAL_ERROR_RETRIES
        return frozenset({ExceptionType.JOB_INTERNAL_ERROR} if retried else ())
    if reason.startswith("CapacityError") or "InsufficientCapacity" in reason:
        return frozenset({ExceptionType.CAPACITY_ERROR})
    return frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to try again, and after how long; ``None`` leaves the delay to the task's ``retry_delay``."""

    retry: bool
    delay: timedelta | None = None
    reason: str = ""


def decide(
    error: BaseException, step: Step, *, failures: int, author_retries: int, running_for: timedelta | None = None
) -> Decision:
    """Decide about a failed try.

    The first policy that covers the failure counts; with none left, the author's ``retries`` do, for any failure that
    another try might mend.

    :param failures: tries of this life that failed before this one.
    :param author_retries: the ``retries`` that the DAG's author gave.
    :param running_for: since the step's first try.
    """
    types = exception_types(error, step)
    for policy in _covering(applicable_policies(step), types):
        delay = _delay(policy, failures)
        if _allows(policy, failures, running_for, delay):
            names = ", ".join(sorted(types))
            return Decision(
                True, delay, f"retry policy for {names}, retry {failures + 1} in {delay.total_seconds():g} s"
            )
    return Decision(failures < author_retries, None, "" if failures < author_retries else "no retry is left")


def decide_call(error: BaseException, *, failures: int, author_retries: int) -> Decision:
    """Decide about a failed try of a task whose step SageMaker retries itself.

    A call that AWS could not answer is made again, as is a wait whose trigger has crashed; the author's ``retries``
    count for all other failures.

    :param failures: tries of this life that failed before this one.
    """
    is_passing = isinstance(error, StepCallError | PipelineCallError | TaskDeferralError)
    if is_passing and failures < (IMPLICIT_POLICY.max_attempts or 0):
        return Decision(True, _delay(IMPLICIT_POLICY, failures), "AWS could not answer")
    return Decision(failures < author_retries, None, "" if failures < author_retries else "no retry is left")


def _covering(
    candidates: Iterable[policies.RetryPolicy], types: frozenset[ExceptionType]
) -> Iterable[policies.RetryPolicy]:
    """Return the first policy that covers the failure: AWS does not say what several do."""
    for policy in candidates:
        if types & set(policy.exception_types):
            return (policy,)
    return ()


def _delay(policy: policies.RetryPolicy, failures: int) -> timedelta:
    try:
        return min(_LONGEST_DELAY, timedelta(seconds=policy.interval_seconds * policy.backoff_rate**failures))
    except OverflowError:
        return _LONGEST_DELAY


def _allows(policy: policies.RetryPolicy, failures: int, running_for: timedelta | None, delay: timedelta) -> bool:
    if policy.expire_after_minutes is not None:
        return (running_for or timedelta()) + delay <= timedelta(minutes=policy.expire_after_minutes)
    return failures < (policy.max_attempts or 0)


class StepRetryPolicy(RetryPolicy):
    """Tells Airflow 3.3 the delay of a retry policy. Older versions use the task's ``retry_delay``."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Decide about a failed try of a step's task."""
        if context is None:
            return RetryDecision.default()
        decision: Decision = context["task"].decide_retry(exception, context)
        if not decision.retry:
            return RetryDecision.fail(reason=decision.reason)
        return RetryDecision.retry(delay=decision.delay, reason=decision.reason)

    def serialize(self) -> dict[str, Any]:
        """Return nothing: the policy is in the step."""
        return {}


_STEP_RETRY_POLICY = StepRetryPolicy()


def set_retries(task: BaseOperator, author_retries: int | None, needed: int) -> int:
    """Have Airflow retry a task as its ``decide_retry`` says; return how many retries the author wants.

    :param author_retries: the retries that the author wants; ``None``: those that the task has.
    :param needed: how many retries its policies may need.
    """
    if HAS_RETRY_POLICIES and task.retry_policy is None:
        task.retry_policy = _STEP_RETRY_POLICY
    wanted = int(task.retries or 0) if author_retries is None else author_retries
    task.retries = max(wanted, needed)
    return wanted
