"""What every call about a pipeline shares."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

from airflow_sagemaker_pipelines.executions.errors import PipelineCallError, PipelineRequestError
from airflow_sagemaker_pipelines.steps.aws import call_of


def pipeline_call(operation: str, resource: str) -> AbstractContextManager[None]:
    """Turn what boto3 raises inside into an error of the pipeline.

    :param operation: AWS's name of the operation.
    :param resource: the pipeline's name or the execution's ARN.
    :raises PipelineCallError: for a refusal that may be over later.
    :raises PipelineRequestError: for any other.
    """
    return call_of(
        operation,
        passing=partial(PipelineCallError, resource=resource),
        final=partial(PipelineRequestError, resource=resource),
    )
