"""What every call about a pipeline shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineRequestError
from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, error_code, error_message, is_transient
from airflow_sagemaker_pipelines.steps.errors import RESOURCE_LIMIT_CODES


@contextmanager
def pipeline_call(operation: str, resource: str) -> Iterator[None]:
    """Turn what boto3 raises inside into an error of the pipeline.

    :param operation: AWS's name of the operation.
    :param resource: the pipeline's name or the execution's ARN.
    :raises PipelineCallError: for a refusal that may be over later.
    :raises PipelineRequestError: for any other.
    """
    try:
        yield
    except AWS_ERRORS as error:
        code = error_code(error)
        cls = PipelineCallError if is_transient(error) or code in RESOURCE_LIMIT_CODES else PipelineRequestError
        where = f"{operation} was refused with {code}" if code else f"{operation} got no answer"
        raise cls(f"{where}: {error_message(error)}", resource=resource, code=code) from error
