"""Waits for a job that somebody else has started."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.hooks.aws import AwsClients
from airflow_sagemaker_pipelines.links.console import (
    CloudWatchLogsLink,
    SageMakerConsoleLink,
    console_url,
    log_url,
)
from airflow_sagemaker_pipelines.operators.job_log import last_lines
from airflow_sagemaker_pipelines.operators.kills import stop_if_over
from airflow_sagemaker_pipelines.sensors.base import SageMakerSensor
from airflow_sagemaker_pipelines.steps.status import Verdict

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.job import SageMakerJob
    from airflow_sagemaker_pipelines.steps.runner import Handle
    from airflow_sagemaker_pipelines.triggers.step import StepTrigger

#: What the sensor waits for, by the step types that make it.
JOB_TYPES = (StepType.PROCESSING, StepType.TRAINING, StepType.TRANSFORM, StepType.TUNING, StepType.AUTO_ML)


class JobFailedError(AirflowFailException):
    """The job has failed; another look would find it so again."""


class JobStoppedError(AirflowFailException):
    """The job was stopped before it was done."""


class SageMakerJobSensor(SageMakerSensor):
    """Waits until a SageMaker job has completed.

    All sensors and pipeline steps of a triggerer that wait for jobs of one type, by one connection, share their List
    calls. The result in XCom is the job's Describe answer; a tuning job's has its best training jobs besides
    (``TrainingJobSummaries``), an AutoML job's the reports of its best candidate (``BestCandidateProperties``).

    A job that has failed or was stopped fails the task without another try, by :class:`JobFailedError` or
    :class:`JobStoppedError`, whose text has AWS's reason, the link to the job's log, and its last lines.

    :param job_type: ``"Processing"``, ``"Training"``, ``"Transform"``, ``"Tuning"`` or ``"AutoML"``. AutoML jobs are
        those of CreateAutoMLJob; AWS does not tell of those of CreateAutoMLJobV2 by the same call.
    :param job_name: the job's name; may hold Jinja.
    :param stop_on_kill: stop the job when the sensor is killed (marked failed, cleared, its run stopped) or its
        ``timeout`` is over. By default the job goes on.
    :param stream_logs: write what the job logs to CloudWatch into the task's log while it runs, from when the sensor
        began.
    :param kwargs: those of :class:`~airflow_sagemaker_pipelines.sensors.base.SageMakerSensor`, such as ``timeout``.
    :raises ValueError: for a job type that is none of these.
    """

    template_fields: Sequence[str] = ("job_name",)
    operator_extra_links: Collection[BaseOperatorLink] = (SageMakerConsoleLink(), CloudWatchLogsLink())

    def __init__(
        self,
        *,
        job_type: StepType | str,
        job_name: str,
        stop_on_kill: bool = False,
        stream_logs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if job_type not in JOB_TYPES:
            raise ValueError(f"job_type must be one of {', '.join(map(repr, map(str, JOB_TYPES)))}, not {job_type!r}")
        self.job_type = StepType(job_type)
        self.job_name = job_name
        self.stop_on_kill = stop_on_kill
        self.stream_logs = stream_logs

    @cached_property
    def _clients(self) -> AwsClients:
        return AwsClients(self.connection)

    @cached_property
    def _runner(self) -> SageMakerJob:
        from airflow_sagemaker_pipelines.steps.job import SageMakerJob  # noqa: PLC0415
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

        runner = runner_of(self.job_type)
        if not isinstance(runner, SageMakerJob):
            raise TypeError(f"{self.job_type} steps make no job")
        return runner

    def handle(self) -> Handle:
        """Return the job's name.

        :raises AirflowFailException: if there is none.
        """
        if not isinstance(self.job_name, str) or not self.job_name:
            raise AirflowFailException(f"job_name must be the name of a job, not {self.job_name!r}")
        return {"name": self.job_name}

    def resource(self, handle: Handle) -> str:
        """Name the job."""
        return self._runner.resource(handle)

    def look(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Describe the job."""
        from airflow_sagemaker_pipelines.triggers.looks import describe  # noqa: PLC0415

        return describe(self.job_type, self.connection, handle)

    def trigger(self, **arguments: Any) -> StepTrigger:
        """Make a trigger like that of a step."""
        from airflow_sagemaker_pipelines.triggers.step import StepTrigger  # noqa: PLC0415

        return StepTrigger(
            step_type=str(self.job_type),
            stop_on_kill=self.stop_on_kill,
            streams_log=self.stream_logs,
            **arguments,
        )

    def failure(self, handle: Handle, verdict: Verdict, reason: str | None) -> Exception:
        """Return the error of a job that did not complete; the end of its log goes to the task's log, too."""
        stopped = verdict is Verdict.STOPPED
        happened = "was stopped" if stopped else "has failed"
        text = f"The {self.resource(handle)} {happened}: {reason or 'AWS gives no reason'}"
        if link := self.log_url or self.console_url:
            text += f" ({'log' if self.log_url else 'console'}: {link})"
        if lines := last_lines(self._runner, self._clients, handle, reason=reason, log=self.log):
            text += f"\n{lines}"
        return JobStoppedError(text) if stopped else JobFailedError(text)

    def give_up(self, handle: Handle) -> None:
        """Stop the job, if that is wanted. A refusal must not hide why the task fails."""
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS  # noqa: PLC0415

        if not self.stop_on_kill:
            return
        self.log.info("Stopping the %s", self.resource(handle))
        try:
            self._runner.stop(self._clients, handle)
        except AWS_ERRORS as error:
            self.log.warning("The %s may still run: %s", self.resource(handle), error)

    def on_kill(self) -> None:
        """Stop the job, if that is wanted, and if somebody has ended or cleared the task, or its time is up.

        A worker that is killed for any other reason leaves the wait to the next try.
        """
        if self._handle and self.stop_on_kill:
            stop_if_over(self._ti, partial(self.give_up, self._handle), self.log)

    @property
    def console_url(self) -> str | None:
        """The job's page in the SageMaker console."""
        if not self._handle:
            return None
        return console_url(self._clients.region_name, f"{self._runner.console}/{self._handle['name']}")

    @property
    def log_url(self) -> str | None:
        """The job's log streams in the CloudWatch console."""
        from airflow_sagemaker_pipelines.steps.logs import log_source  # noqa: PLC0415

        source = log_source(self._runner, self._handle or {})
        return None if source is None else log_url(self._clients.region_name, source.group, source.prefix)
