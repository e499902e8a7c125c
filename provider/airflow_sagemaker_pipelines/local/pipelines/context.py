"""What the work of a step has at hand: the values of its expressions, the endpoint, and the way to report back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import ExecutionVariable, Scope, Step, StepType, resolve
from airflow_sagemaker_pipelines.definition.expressions import Value

from . import names
from .calls import read_text
from .dates import moment_text
from .documents import without_nulls
from .step_run import SUCCEEDED, Outcome, StepRun

if TYPE_CHECKING:
    from ..engine import Engine
    from ..store import Resource
    from .execution import Execution
    from .settings import PipelineSettings

# Where the arguments of each type hold the author's prefix of names.
NAME_MEMBERS: Mapping[StepType, str] = {
    StepType.PROCESSING: "ProcessingJobName",
    StepType.QUALITY_CHECK: "ProcessingJobName",
    StepType.CLARIFY_CHECK: "ProcessingJobName",
    StepType.TRAINING: "TrainingJobName",
    StepType.TRANSFORM: "TransformJobName",
    StepType.TUNING: "HyperParameterTuningJobName",
    StepType.AUTO_ML: "AutoMLJobName",
    StepType.MODEL: "ModelName",
    StepType.REGISTER_MODEL: "ModelPackageName",
    StepType.JOB: "JobName",
}
_JOB_VARIABLES = {
    ExecutionVariable.TRAINING_JOB_NAME: "TrainingJobName",
    ExecutionVariable.PROCESSING_JOB_NAME: "ProcessingJobName",
}


class Context:
    """One attempt of one step."""

    def __init__(self, execution: Execution, run: StepRun) -> None:
        self.execution = execution
        self.run = run
        self.turn = run.turn

    @property
    def step(self) -> Step:
        """The step of the definition."""
        return self.run.step

    @property
    def engine(self) -> Engine:
        """The endpoint's resources of this account and region."""
        return self.execution.home.engine

    @property
    def settings(self) -> PipelineSettings:
        """What AWS does not document."""
        return self.execution.settings

    @property
    def role(self) -> str:
        """The pipeline's role, which is each step's that names none."""
        return self.execution.role_arn

    # --- values

    @cached_property
    def scope(self) -> Scope:
        """What the step's expressions refer to."""
        execution, iteration = self.execution, self.run.iteration
        store = self.engine.store
        return Scope(
            parameters=execution.parameters,
            execution=_Variables(self),
            outputs=_Outputs(execution, self.run),
            steps=execution.definition.all_steps,
            experiment=execution.experiment.names,
            current_item=iteration.item if iteration else None,
            read_text=lambda uri: read_text(store, uri),
        )

    def resolve(self, value: Value) -> Any:
        """Return a value with its expressions replaced.

        :raises ExpressionError: if one of them has no value.
        """
        return resolve(value, self.scope)

    def setting(self, name: str) -> Any:
        """Return a member beside ``Arguments``; None if it is absent or null."""
        return self.resolve(self.step.settings.get(name))

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The step's arguments, without members that are null."""
        arguments: dict[str, Any] = without_nulls(self.resolve(self.step.arguments))
        return arguments

    @cached_property
    def job_name(self) -> str:
        """The name of what this attempt makes."""
        member = NAME_MEMBERS.get(self.step.type)
        # The name may not refer to itself: it is resolved alone.
        prefix = self.resolve(self.step.arguments.get(member)) if member else None
        return names.job_name(
            self.step.type,
            self.run.name,
            execution_id=self.execution.id,
            prefix=str(prefix) if prefix else None,
            failures=self.run.attempt - 1,
        )

    # --- reports

    def made(self, resource: Resource, **metadata: Any) -> None:
        """Note what the attempt has made, and show it."""
        self.run.resource_arn = resource.arn
        self.run.metadata = metadata

    def when_over(self, resource: Resource, judge: Callable[[], Outcome]) -> None:
        """Have the outcome judged, by a worker, once a resource of the endpoint is over."""
        resource.waiting.add(lambda: self.settle(judge))

    def settle(self, judge: Callable[[], Outcome | None]) -> None:
        """Hand the outcome in; ``judge`` is called by a worker, and may say that it is not the end yet."""
        self.execution.home.submit(lambda: self.execution.settle(self.run, self.turn, judge))

    def later(self, seconds: float, judge: Callable[[], Outcome | None]) -> None:
        """Hand the outcome in later, unless the attempt has ended by then."""
        self.engine.later(seconds, lambda: self.settle(judge))


class _Variables(Mapping[ExecutionVariable, str]):
    """The execution's variables, made when they are asked for: a job has its name only then."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __getitem__(self, variable: ExecutionVariable) -> str:
        execution, step = self._context.execution, self._context.step
        match variable:
            case ExecutionVariable.START_DATE_TIME:
                return moment_text(execution.start_date_time)
            case ExecutionVariable.CURRENT_DATE_TIME:
                return moment_text(time.time())
            case ExecutionVariable.PIPELINE_NAME:
                return execution.pipeline.name
            case ExecutionVariable.PIPELINE_ARN:
                return execution.pipeline.arn
            case ExecutionVariable.PIPELINE_EXECUTION_ID:
                return execution.id
            case ExecutionVariable.PIPELINE_EXECUTION_ARN:
                return execution.arn
            case _ if NAME_MEMBERS.get(step.type) == _JOB_VARIABLES[variable]:
                return self._context.job_name
        raise KeyError(variable)

    def __iter__(self) -> Iterator[ExecutionVariable]:
        return iter(ExecutionVariable)

    def __len__(self) -> int:
        return len(ExecutionVariable)


class _Outputs(Mapping[str, Any]):
    """What steps that have succeeded made; inside a loop, those of the same iteration first."""

    def __init__(self, execution: Execution, run: StepRun) -> None:
        self._runs = execution.runs
        self._iteration = run.iteration

    def __getitem__(self, name: str) -> Any:
        run = None
        if self._iteration is not None:
            run = self._runs.get(f"{name}-{self._iteration.index}")
            if run is not None and (run.iteration is None or run.iteration.loop != self._iteration.loop):
                run = None
        run = run or self._runs.get(name)
        if run is None or run.status != SUCCEEDED or run.outputs is None:
            raise KeyError(name)
        return run.outputs

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)
