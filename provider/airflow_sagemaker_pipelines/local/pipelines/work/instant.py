"""Steps that take no time: Condition and Fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.definition import ConditionStep, evaluate
from airflow_sagemaker_pipelines.definition.resolve import render

from ..step_run import FAILED, Outcome

if TYPE_CHECKING:
    from ..context import Context

# The API's limit for a Fail step's message.
_MESSAGE_LENGTH = 3072


def decide(context: Context) -> Outcome:
    """Evaluate a Condition step."""
    step = context.step
    if not isinstance(step, ConditionStep):
        raise TypeError(f"{step.name} is no Condition step")
    holds = evaluate(step.conditions, context.resolve)
    context.run.metadata = {"Condition": {"Outcome": str(holds)}}
    return Outcome(outputs={"Outcome": holds})


def fail(context: Context) -> Outcome:
    """Fail with the step's message."""
    message = render(context.resolve(context.step.arguments["ErrorMessage"]))[:_MESSAGE_LENGTH]
    context.run.metadata = {"Fail": {"ErrorMessage": message}}
    return Outcome(status=FAILED, reason=message or None)
