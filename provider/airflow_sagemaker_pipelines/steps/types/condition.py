"""Condition steps."""

from __future__ import annotations

from typing import Any

from airflow_sagemaker_pipelines.definition import ConditionStep, ExpressionError, StepType
from airflow_sagemaker_pipelines.definition.conditions import bind, conditions_to_json, evaluate
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.runner import State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict


class Condition(StepRunner):
    """An evaluation, without any AWS resource."""

    step_type = StepType.CONDITION

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the conditions with their operands' values, and the outcome."""
        if not isinstance(run.step, ConditionStep):
            raise TypeError(f"{run.step.name} is not a Condition step")
        try:
            conditions = bind(run.step.conditions, run.resolve)
            outcome = evaluate(conditions, lambda operand: operand)
        except ExpressionError as error:
            raise StepRequestError(str(error), step=run.step.name) from error
        return {"Conditions": conditions_to_json(conditions), "Outcome": outcome}

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Return the outcome."""
        outputs = {"Outcome": request["Outcome"]}
        return State(handle={}, verdict=Verdict.SUCCEEDED, description=outputs)
