"""What a task does that is to see to a step which SageMaker runs: one pure function.

Airflow repeats a task because it failed (``retries``), because whoever ran it died, or because somebody has cleared
it. SageMaker knows only executions: one can be retried in place once it has failed or was stopped, and a new one can
run selected steps with the outputs of an earlier one.
"""

from __future__ import annotations

from enum import StrEnum

from airflow_sagemaker_pipelines.steps.status import Verdict


class Intent(StrEnum):
    """What Airflow wants of the step."""

    START = "start"
    """All of it anew: the task that starts executions was cleared, or runs for the first time."""
    FOLLOW = "follow"
    """See how it ends: no try of the task has seen that in this execution."""
    REDO = "redo"
    """Run it again: an earlier try has seen how it ended, and nothing has run it since."""


class StepPhase(StrEnum):
    """Where a step is in an execution."""

    ABSENT = "absent"
    """It has not started."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Or it was stopped."""
    LEFT_OUT = "left out"
    """A selective execution does not run it."""

    @classmethod
    def of(cls, verdict: Verdict | None) -> StepPhase:
        """Return the phase of a step's verdict, ``None`` if it is not listed."""
        if verdict is None:
            return cls.ABSENT
        if not verdict.is_final:
            return cls.RUNNING
        return cls.SUCCEEDED if verdict is Verdict.SUCCEEDED else cls.FAILED


class ExecutionPhase(StrEnum):
    """Where an execution is."""

    NONE = "none"
    """There is none."""
    RUNNING = "running"
    """Or it is about to stop."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Or it was stopped, or completed with failures."""
    FAILED_BY_FAIL_STEP = "failed by a Fail step"
    """AWS does not retry these."""


class Action(StrEnum):
    """What is to be done."""

    START = "start"
    """StartPipelineExecution."""
    ATTACH = "attach"
    """Watch the step in the execution that there is."""
    WAIT = "wait"
    """Let the execution end, then decide again: until then AWS takes neither a retry nor it as a source."""
    RETRY = "retry"
    """RetryPipelineExecution."""
    SELECT = "select"
    """StartPipelineExecution with the cleared steps selected, and the outputs of this execution."""
    REFUSE = "refuse"
    """Fail, and say why."""


def decide(intent: Intent, execution: ExecutionPhase, step: StepPhase, *, is_other_definition: bool) -> Action:
    """Decide what a task does.

    :param intent: what Airflow wants.
    :param execution: where the run's present execution is.
    :param step: where the step is in it; of no account to a start.
    :param is_other_definition: whether the execution runs another definition than the DAG's.
    """
    if intent is Intent.START:
        # An execution of this very start is there because its answer was lost.
        return Action.START if execution is ExecutionPhase.NONE else Action.ATTACH
    if execution is ExecutionPhase.NONE or is_other_definition:
        return Action.REFUSE
    # What runs now was started since, by another task that was cleared or retried with this one.
    if intent is Intent.FOLLOW or step is StepPhase.RUNNING:
        return Action.ATTACH
    return _redo(execution, step)


def _redo(execution: ExecutionPhase, step: StepPhase) -> Action:
    if execution is ExecutionPhase.RUNNING:
        # A step that has yet to start will.
        return Action.ATTACH if step is StepPhase.ABSENT else Action.WAIT
    if step in {StepPhase.SUCCEEDED, StepPhase.LEFT_OUT}:
        return Action.SELECT
    if execution is ExecutionPhase.SUCCEEDED:
        # Its failure was handled; or it was never to run, which the watcher shows.
        return Action.SELECT if step is StepPhase.FAILED else Action.ATTACH
    return Action.REFUSE if execution is ExecutionPhase.FAILED_BY_FAIL_STEP else Action.RETRY
