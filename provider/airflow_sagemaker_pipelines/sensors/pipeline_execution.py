"""Sensors of pipeline executions and of their steps, whoever has started them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition import PipelineDefinitionError, load_definition
from airflow_sagemaker_pipelines.definition.reader import nearest
from airflow_sagemaker_pipelines.hooks.aws import AwsClients
from airflow_sagemaker_pipelines.sensors.base import SageMakerSensor
from airflow_sagemaker_pipelines.steps.errors import StepFailedError, StepStoppedError
from airflow_sagemaker_pipelines.steps.status import Verdict

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.executions.snapshot import Snapshot
    from airflow_sagemaker_pipelines.steps.runner import Handle
    from airflow_sagemaker_pipelines.triggers.pipeline import PipelineTrigger


@contextmanager
def _errors_of_aws() -> Iterator[None]:
    """Raise AWS's own error, which the sensor judges, instead of the pipeline's."""
    from airflow_sagemaker_pipelines.executions.errors import PipelineError  # noqa: PLC0415

    try:
        yield
    except PipelineError as error:
        raise (error.__cause__ or error) from None


class _ExecutionSensor(SageMakerSensor):
    """What both have in common: all that wait in one execution, in one triggerer, share its list of steps."""

    execution_arn: str

    def handle(self) -> Handle:
        """Return the execution's ARN."""
        arn = str(self.execution_arn or "").strip()
        if ":pipeline/" not in arn or "/execution/" not in arn:
            raise AirflowFailException(
                f"execution_arn is {arn!r}, not the ARN of a pipeline execution, "
                "arn:aws:sagemaker:<region>:<account>:pipeline/<name>/execution/<id>"
            )
        return {"name": arn}

    def look(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Ask AWS once."""
        from airflow_sagemaker_pipelines.executions.snapshot import read  # noqa: PLC0415

        with _errors_of_aws():
            snapshot = read(AwsClients(self.connection), handle["name"])
        return self.outcome(snapshot), handle

    @abstractmethod
    def outcome(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """Return the outcome that an execution shows, ``None`` while there is none."""

    def trigger(self, **arguments: Any) -> Any:
        """Make the trigger that goes on looking."""
        handle = arguments.pop("handle")
        for name in ("since", "try_number"):
            arguments.pop(name, None)
        execution = {"arn": handle["name"], "digest": ""}
        return self.pipeline_trigger(execution=execution, stop_on_kill=False, **arguments)

    @abstractmethod
    def pipeline_trigger(self, **arguments: Any) -> PipelineTrigger:
        """Make the trigger.

        :param arguments: those of :class:`~airflow_sagemaker_pipelines.triggers.pipeline.PipelineTrigger`.
        """


class SageMakerPipelineExecutionSensor(_ExecutionSensor):
    """Waits for the end of a pipeline execution.

    The result is ``{"PipelineExecutionArn": …, "PipelineExecutionStatus": …}``. An execution that is
    ``CompletedWithFailures``, whose failures were handled by steps that waited for them, is a success; the result
    tells. One that failed fails the task with the steps that did, and their reasons; so does one that was stopped.

    :param execution_arn: the execution.
    :param arguments: those of :class:`~airflow_sagemaker_pipelines.sensors.base.SageMakerSensor`.
    """

    template_fields: Sequence[str] = ("execution_arn",)

    def __init__(self, *, execution_arn: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.execution_arn = execution_arn

    def resource(self, handle: Handle) -> str:
        """Name the execution."""
        return f"pipeline execution {handle['name']}"

    def outcome(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """Return how it has ended."""
        from airflow_sagemaker_pipelines.triggers.pipeline_execution import payload_of  # noqa: PLC0415

        return payload_of(snapshot, {}) if snapshot.is_over else None

    def pipeline_trigger(self, **arguments: Any) -> PipelineTrigger:
        """Make the trigger."""
        from airflow_sagemaker_pipelines.triggers.pipeline_execution import PipelineExecutionTrigger  # noqa: PLC0415

        return PipelineExecutionTrigger(**arguments)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the trigger saw."""
        return self._end({"name": event["execution_arn"]}, event)

    def _end(self, handle: Handle, outcome: Any) -> Any:
        from airflow_sagemaker_pipelines.triggers.pipeline_execution import failures_of, result_of  # noqa: PLC0415

        whole = dict(outcome)
        if whole["verdict"] == "succeeded":
            whole["outputs"] = result_of(outcome, handle["name"])
            if outcome["failed"]:
                self.log.warning("%s is %s", self.resource(handle), outcome["status"])
        elif outcome.get("failed"):
            whole["reason"] = f"{outcome['reason'] or outcome['status']}. {failures_of(outcome['failed'])}"
        return super()._end(handle, whole)

    def failure(self, handle: Handle, verdict: Verdict, reason: str | None) -> Exception:
        """Return the error of an execution that did not succeed."""
        outcome = "was stopped" if verdict is Verdict.STOPPED else "failed"
        return AirflowFailException(f"{self.resource(handle)} {outcome}: {reason or 'AWS gives no reason'}")


class SageMakerPipelineStepSensor(_ExecutionSensor):
    """Waits for the end of one step of a pipeline execution.

    The result is the step's entry in ListPipelineExecutionSteps. A step that does not run, because its branch is not
    taken, skips the task.

    :param execution_arn: the execution.
    :param step_name: the step's name.
    :param arguments: those of :class:`~airflow_sagemaker_pipelines.sensors.base.SageMakerSensor`.
    """

    template_fields: Sequence[str] = ("execution_arn", "step_name")

    _has_started = False

    def __init__(self, *, execution_arn: str, step_name: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.execution_arn = execution_arn
        self.step_name = step_name

    def resource(self, handle: Handle) -> str:
        """Name the step."""
        return f"step '{self.step_name}' of {handle['name']}"

    def look(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Ask AWS once, also whether there is such a step if it has not started."""
        outcome, handle = super().look(handle)
        if not self._has_started:
            self._check_name(handle)
        return outcome, handle

    def _check_name(self, handle: Handle) -> None:
        """Refuse a name at which the task would wait in vain, and then be skipped."""
        from airflow_sagemaker_pipelines.executions.deployment import definition_of_execution  # noqa: PLC0415

        with _errors_of_aws():
            text = definition_of_execution(AwsClients(self.connection), handle["name"])
        try:
            names = load_definition(text.encode()).graph.upstreams
        except PipelineDefinitionError:
            # SageMaker may run what we cannot read.
            return
        if self.step_name not in names:
            self._fail(
                AirflowFailException(
                    f"{self.resource(handle)}: the pipeline has no such step. {nearest(self.step_name, names)}"
                )
            )

    def outcome(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """Return how it has ended."""
        from airflow_sagemaker_pipelines.executions.ends import StepKey, end_of  # noqa: PLC0415

        self._has_started = self.step_name in snapshot.steps

        end = end_of(StepKey(step=self.step_name), snapshot)
        if end is None:
            return None
        entry = None if end.record is None else dict(end.record.entry)
        return {"verdict": str(end.state), "reason": end.reason, "entry": entry}

    def pipeline_trigger(self, **arguments: Any) -> PipelineTrigger:
        """Make the trigger."""
        from airflow_sagemaker_pipelines.triggers.pipeline_step import PipelineStepTrigger  # noqa: PLC0415

        return PipelineStepTrigger(step=self.step_name, **arguments)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the trigger saw."""
        return self._end({"name": event["execution_arn"]}, event)

    def _end(self, handle: Handle, outcome: Any) -> Any:
        from airflow_sagemaker_pipelines._compat import AirflowSkipException  # noqa: PLC0415

        whole = {**outcome, "outputs": outcome.get("entry")}
        if whole["verdict"] == "skipped":
            raise AirflowSkipException(f"{self.resource(handle)} has not run: {whole['reason']}")
        if whole["verdict"] == "not started":
            whole["verdict"] = str(Verdict.STOPPED)
        return super()._end(handle, whole)

    def failure(self, handle: Handle, verdict: Verdict, reason: str | None) -> Exception:
        """Return the error of a step that did not succeed."""
        cls = StepStoppedError if verdict is Verdict.STOPPED else StepFailedError
        return cls(reason or "AWS gives no reason", step=self.step_name, resource=handle["name"])
