"""Tasks that call AWS, and whose calls may fail for a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_sagemaker_pipelines._compat import HAS_RETRY_POLICIES
from airflow_sagemaker_pipelines.operators.lives import life_of
from airflow_sagemaker_pipelines.operators.retries import IMPLICIT_POLICY, STEP_RETRY_POLICY, Decision, decide_call

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.definition import Step


class RetriedCallsOperator(BaseOperator):
    """Repeats a try in which AWS could not answer, beside the author's ``retries``, on Airflow 3.3 and later.

    :param author_retries: the retries that the author wants, when ``retries`` has others already.
    """

    def __init__(self, *, author_retries: int | None = None, **kwargs: Any) -> None:
        # Airflow makes a mapped task with None for what nobody gave.
        if HAS_RETRY_POLICIES and kwargs.get("retry_policy") is None:
            kwargs["retry_policy"] = STEP_RETRY_POLICY
        super().__init__(**kwargs)
        self.author_retries = int(self.retries or 0) if author_retries is None else author_retries
        self.retries = max(self.author_retries, self.retries_for(None))

    @staticmethod
    def retries_for(step: Step | None) -> int:
        """Return how many retries may be needed to make a call; SageMaker retries the step itself."""
        return (IMPLICIT_POLICY.max_attempts or 0) if HAS_RETRY_POLICIES else 0

    def decide_retry(self, error: BaseException, context: Context) -> Decision:
        """Decide whether a failed try is followed by another one."""
        ti = context["ti"]
        failures = max(0, ti.try_number - life_of(ti) - 1)
        return decide_call(error, failures=failures, author_retries=self.author_retries)
