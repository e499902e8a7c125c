"""One step in one execution: what ListPipelineExecutionSteps shows, and what other steps refer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .documents import present

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import Step

STARTING, EXECUTING, STOPPING = "Starting", "Executing", "Stopping"
SUCCEEDED, FAILED, STOPPED = "Succeeded", "Failed", "Stopped"
_OVER = frozenset({SUCCEEDED, FAILED, STOPPED})
# The API's limit for a step's FailureReason.
_REASON_LENGTH = 1024


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """Where in a loop a step runs."""

    loop: str
    index: int
    item: Any
    text: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt of a step ended.

    :param outputs: what ``Steps.<name>.…`` refers to.
    :param exception_types: what retry policies may match of a failure.
    :param timed_out: the step's own limit is what ended it.
    """

    status: str = SUCCEEDED
    outputs: Any = None
    reason: str | None = None
    exception_types: frozenset[str] = frozenset()
    timed_out: bool = False


@dataclass(kw_only=True, eq=False)
class StepRun:
    """A step that has started. Times are epoch seconds.

    :param name: the step's name; in a loop with the iteration's index.
    :param number: counts the steps of the execution, which orders those of one time.
    :param cache_source: None without caching, empty for a miss, else the execution that the result is from.
    :param turn: grows with every attempt: what an earlier attempt still reports is not of interest.
    :param stop: stops the present attempt; None if nothing can.
    """

    step: Step
    name: str
    number: int
    started: float
    status: str = STARTING
    ended: float | None = None
    failure_reason: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    outputs: Any = None
    attempt: int = 1
    retries: dict[int, int] = field(default_factory=dict)
    cache_key: str | None = None
    cache_source: str | None = None
    selective_source: str | None = None
    iteration: Iteration | None = None
    items: list[Any] | None = None
    resource_arn: str | None = None
    timed_out: bool = False
    turn: int = 0
    stop: Callable[[], None] | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether the step has ended."""
        return self.status in _OVER

    @property
    def arn(self) -> str:
        """What tells steps of an execution apart in lists."""
        return f"{self.number:09d}"

    def entry(self) -> dict[str, Any]:
        """Return the step as ListPipelineExecutionSteps shows it."""
        document: dict[str, Any] = {
            "StepName": self.name,
            "StepDisplayName": self.step.display_name,
            "StepDescription": self.step.description,
            "StartTime": self.started,
            "EndTime": self.ended,
            "StepStatus": self.status,
            "FailureReason": self.failure_reason[:_REASON_LENGTH] if self.failure_reason else None,
            "Metadata": self.metadata,
            "AttemptCount": self.attempt,
            "CacheHitResult": _source(self.cache_source),
            "SelectiveExecutionResult": _source(self.selective_source),
            "IterationContext": self.iteration
            and {
                "ParentStepName": self.iteration.loop,
                "Index": self.iteration.index,
                "Item": self.iteration.text,
            },
        }
        return present(document)


def _source(arn: str | None) -> Mapping[str, str] | None:
    return None if arn is None else {"SourcePipelineExecutionArn": arn}
