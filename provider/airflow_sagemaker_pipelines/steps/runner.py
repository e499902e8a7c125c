"""What every step type can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from airflow_sagemaker_pipelines.definition import ExpressionError, Scope, Step, StepType, resolve
from airflow_sagemaker_pipelines.steps.aws import Clients
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.execution import PipelineExecution
from airflow_sagemaker_pipelines.steps.names import TaskIdentity
from airflow_sagemaker_pipelines.steps.status import Verdict

#: What names the thing that a step made, such as ``{"name": "pipelines-…"}``; JSON, because triggers carry it.
Handle: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One run of one step."""

    step: Step
    identity: TaskIdentity
    execution: PipelineExecution
    scope: Scope
    clients: Clients
    made: Mapping[str, Handle] = field(default_factory=dict)
    """By step name: what upstream steps have started, also those that failed or were stopped and have no outputs."""
    uses_experiments: bool = True
    """Whether jobs are recorded under the experiment that the scope names, if it names one."""
    mlflow: Mapping[str, str] = field(default_factory=dict)
    """The ``MlflowConfig`` of jobs that take one; empty: none."""
    is_told: Callable[[Handle], bool] = lambda _: True
    """Whether an earlier try has lived to tell Airflow of the failure of what it had made."""

    def makes_do_with(self, state: State) -> bool:
        """Whether this try makes do with what an earlier one has made, instead of starting anew.

        A failure that nobody was told of is this try's failure: retry policies decide whether there is another try.
        """
        return state.verdict.is_wanted or (state.verdict is Verdict.FAILED and not self.is_told(state.handle))

    def resolve(self, value: Any) -> Any:
        """Resolve expressions.

        :raises StepRequestError: if one has no value.
        """
        try:
            return resolve(value, self.scope)
        except ExpressionError as error:
            raise StepRequestError(str(error), step=self.step.name) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known about what a step made."""

    handle: Handle
    verdict: Verdict
    description: Mapping[str, Any] = field(default_factory=dict)
    """The last Describe answer; empty right after a start."""
    reason: str | None = None
    """Why it failed or was stopped, in AWS's words."""
    cache_hit: Mapping[str, str] | None = None
    """``{"source_job": name, "source_arn": ARN}`` when an earlier run made it and ``CacheConfig`` lets it stand in."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in progress at one moment."""

    names: frozenset[str]
    pages: int
    """How many calls it took."""


class StepRunner(ABC):
    """Runs the steps of one type. Stateless: one instance serves all steps.

    Defining a subclass with a ``step_type`` registers it.
    """

    step_type: ClassVar[StepType]
    #: What the step makes, for messages: "training job".
    noun: ClassVar[str] = "step"

    @abstractmethod
    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the fully resolved request that :meth:`start` sends.

        :raises StepRequestError: if an expression has no value.
        """

    @abstractmethod
    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Make sure that what the step is to make exists, exactly once, and return its state.

        Called again with the same identity (a retry, a lost answer), it finds what the first call made: it attaches
        to what still runs, adopts what succeeded, and replaces what failed or was stopped.

        :raises StepError: if AWS refuses.
        """

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Ask AWS for the state. Only for types that take time."""
        raise NotImplementedError(f"{self.step_type} steps are done when they have started")

    def in_progress(self, clients: Clients, *, name_contains: str) -> Listing | None:
        """Return all that is in progress, by few calls for many; ``None`` for types that AWS does not list so.

        :param name_contains: only of names that contain this text; empty: of all.
        """
        return None

    def stop(self, clients: Clients, handle: Handle) -> None:
        """Ask AWS to stop what the step made; nothing happens when it is over or cannot be stopped."""
        return

    def outputs(self, clients: Clients, state: State) -> dict[str, Any]:
        """Return what ``Steps.<name>.…`` refers to, as JSON, once the step has succeeded."""
        return dict(state.description)

    def resource(self, handle: Handle) -> str:
        """Name what the step made, for messages."""
        return f"{self.noun} {handle.get('name', '')}".strip()
