"""Runs the code of processing, training and transform jobs on this machine.

``Runner(endpoint_url=..., region=...).run(kind, name, request, stop)`` does what SageMaker does around a container:
inputs from S3, ``/opt/ml``, the process, its log, results to S3, the verdict. There is no sandbox: the code runs
as the user who runs the endpoint, so run only what you trust.
"""

from __future__ import annotations

from airflow_sagemaker_pipelines.local.runner.container import OptMl
from airflow_sagemaker_pipelines.local.runner.process import stop_all
from airflow_sagemaker_pipelines.local.runner.results import Metric, RunResult
from airflow_sagemaker_pipelines.local.runner.runner import Runner

__all__ = ["Metric", "OptMl", "RunResult", "Runner", "stop_all"]
