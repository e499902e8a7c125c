"""Tasks that call AWS, and whose calls may fail for a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_sagemaker_pipelines._compat import HAS_RETRY_POLICIES
from airflow_sagemaker_pipelines.operators.lives import failures_before
from airflow_sagemaker_pipelines.operators.retries import IMPLICIT_POLICY, Decision, decide_call, set_retries

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.definition import Step


class RetriedCallsOperator(BaseOperator):
    """Repeats a try in which AWS could not answer, beside the author's ``retries``, on Airflow 3.3 and later.

    :param author_retries: the retries that the author wants, when ``retries`` has others already.
    """

    def __init__(self, *, author_retries: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.author_retries = set_retries(self, author_retries, self.retries_for(None))

    @staticmethod
    def retries_for(step: Step | None) -> int:
        """Return how many retries may be needed to make a call; SageMaker retries the step itself."""
        return (IMPLICIT_POLICY.max_attempts or 0) if HAS_RETRY_POLICIES else 0

    def decide_retry(self, error: BaseException, context: Context) -> Decision:
        """Decide whether a failed try is followed by another one."""
        return decide_call(error, failures=failures_before(context["ti"]), author_retries=self.author_retries)
