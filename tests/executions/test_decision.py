"""What a task does, for every intent, every state of the execution, and every state of the step."""

from __future__ import annotations

from itertools import product

import pytest

from airflow_sagemaker_pipelines.executions.decision import Action, ExecutionPhase, Intent, StepPhase, decide
from airflow_sagemaker_pipelines.steps.status import Verdict

#: By the execution's phase, then by the step's: what a task does that is to run its step again.
REDO = {
    "running": {
        "absent": "attach",
        "running": "attach",
        "succeeded": "wait",
        "failed": "wait",
        "left out": "wait",
    },
    "succeeded": {
        "absent": "attach",
        "running": "attach",
        "succeeded": "select",
        "failed": "select",
        "left out": "select",
    },
    "failed": {
        "absent": "retry",
        "running": "attach",
        "succeeded": "select",
        "failed": "retry",
        "left out": "select",
    },
    "failed by a Fail step": {
        "absent": "refuse",
        "running": "attach",
        "succeeded": "select",
        "failed": "refuse",
        "left out": "select",
    },
}


def expected(intent, execution, step, is_other_definition):
    if intent == "start":
        return "start" if execution == "none" else "attach"
    if execution == "none" or is_other_definition:
        return "refuse"
    return "attach" if intent == "follow" else REDO[execution][step]


@pytest.mark.parametrize(
    ("intent", "execution", "step", "is_other_definition"),
    product(Intent, ExecutionPhase, StepPhase, (False, True)),
)
def test_every_case_has_one_action(intent, execution, step, is_other_definition):
    action = decide(intent, execution, step, is_other_definition=is_other_definition)

    assert action == Action(expected(intent, execution, step, is_other_definition))


def test_the_table_has_every_phase():
    assert REDO.keys() == set(ExecutionPhase) - {"none"}
    assert all(row.keys() == set(StepPhase) for row in REDO.values())


@pytest.mark.parametrize(
    ("verdict", "phase"),
    [
        (None, StepPhase.ABSENT),
        (Verdict.RUNNING, StepPhase.RUNNING),
        (Verdict.STOPPING, StepPhase.RUNNING),
        (Verdict.UNKNOWN, StepPhase.RUNNING),
        (Verdict.SUCCEEDED, StepPhase.SUCCEEDED),
        (Verdict.FAILED, StepPhase.FAILED),
        (Verdict.STOPPED, StepPhase.FAILED),
    ],
)
def test_a_status_gives_the_phase_of_a_step(verdict, phase):
    assert StepPhase.of(verdict) is phase
