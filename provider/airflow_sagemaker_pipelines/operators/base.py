"""What the task of a step has, whoever runs the step: our own calls or a pipeline execution of SageMaker."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator, BaseOperatorLink

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition import Step
from airflow_sagemaker_pipelines.hooks.aws import AwsClients
from airflow_sagemaker_pipelines.links.console import (
    CONSOLE_KEY,
    LOGS_KEY,
    CloudWatchLogsLink,
    SageMakerConsoleLink,
    links_of,
)
from airflow_sagemaker_pipelines.operators.documentation import documentation
from airflow_sagemaker_pipelines.operators.job_log import last_lines
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.operators.triggerer_end import may_end_in_triggerer
from airflow_sagemaker_pipelines.steps.errors import StepError, StepFailedError, StepStoppedError
from airflow_sagemaker_pipelines.steps.status import Verdict

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.runner import Handle, StepRunner


class _StepTypeName:
    """Shows a task's step type in the UI as the name of its operator.

    Airflow asks the instance, but of a mapped task, which has none yet, the class.
    """

    def __get__(self, task: PipelineStepOperator | None, owner: type[PipelineStepOperator]) -> str:
        return owner.__name__ if task is None else str(task.step.type)


class PipelineStepOperator(BaseOperator):
    """The task of one step: its documentation, its links, and the error by which it fails."""

    operator_extra_links: Collection[BaseOperatorLink] = (SageMakerConsoleLink(), CloudWatchLogsLink())
    custom_operator_name = _StepTypeName()

    # Kept on the class until there is something to keep: a DAG has many tasks, and runs one at a time.
    _handle: Handle | None = None

    # Set by the constructors of subclasses: Airflow wraps each constructor, which large DAGs would feel.
    step: Step
    pipeline: Pipeline

    @property
    def doc_md(self) -> str:
        """The author's documentation, or else the step's description and JSON.

        Made when asked for: the dag-processor does so, a worker that parses the DAG for one task does not.
        """
        return self._doc_md or documentation(self.step)

    @doc_md.setter
    def doc_md(self, text: str | None) -> None:
        self._doc_md = text

    @cached_property
    def clients(self) -> AwsClients:
        """The AWS clients of this task."""
        return AwsClients(self.pipeline.connection)

    @cached_property
    def runner(self) -> StepRunner:
        """How steps of this type run."""
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

        try:
            return runner_of(self.step.type)
        except NotImplementedError as error:
            raise AirflowFailException(f"Step '{self.step.name}': {error}") from error

    def may_end_in_triggerer(self) -> bool:
        """Whether a success leaves nothing for a worker to do, which spares its start."""
        return may_end_in_triggerer(self)

    @property
    def console_url(self) -> str | None:
        """The page of what the step made in the SageMaker console, once there is something."""
        return self._links.get(CONSOLE_KEY)

    @property
    def log_url(self) -> str | None:
        """The job's log streams in the CloudWatch console, once there is a job."""
        return self._links.get(LOGS_KEY)

    @property
    def _links(self) -> dict[str, str]:
        return links_of(self.runner, self._handle, self.clients.region_name) if self._handle else {}

    def step_error(self, verdict: Verdict, reason: str | None, *, attempt: int) -> StepError:
        """Return the error of a step that did not succeed.

        It says what the step made, where that one's log is, and how the log ends; the task's log gets these lines, too.

        :param verdict: stopped or failed.
        :param reason: why, in AWS's words.
        :param attempt: counts the tries of the step, from 1.
        """
        cls = StepStoppedError if verdict is Verdict.STOPPED else StepFailedError
        handle = self._handle or {}
        where = [self.runner.resource(handle), f"attempt {attempt}"]
        if self.log_url is not None:
            where.append(f"log: {self.log_url}")
        details = last_lines(self.runner, self.clients, handle, reason=reason, log=self.log)
        return cls(reason or "AWS gives no reason", step=self.step.name, resource=", ".join(where), details=details)
