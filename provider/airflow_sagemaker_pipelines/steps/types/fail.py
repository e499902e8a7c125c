"""Fail steps."""

from __future__ import annotations

from typing import Any

from airflow_sagemaker_pipelines.definition import ExpressionError, StepType
from airflow_sagemaker_pipelines.definition.resolve import render
from airflow_sagemaker_pipelines.steps.errors import FailStepError, StepRequestError
from airflow_sagemaker_pipelines.steps.runner import State, StepRun, StepRunner


class Fail(StepRunner):
    """Ends the execution with a message."""

    step_type = StepType.FAIL

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the message."""
        try:
            return {"ErrorMessage": render(run.resolve(run.step.arguments["ErrorMessage"]))}
        except ExpressionError as error:
            raise StepRequestError(str(error), step=run.step.name) from error

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Fail.

        :raises FailStepError: always.
        """
        raise FailStepError(request["ErrorMessage"], step=run.step.name)
