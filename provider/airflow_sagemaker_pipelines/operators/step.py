"""The task of one step."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, BaseOperatorLink

from airflow_sagemaker_pipelines._compat import AirflowFailException, is_resuming
from airflow_sagemaker_pipelines.definition import PipelineParameterError, Step
from airflow_sagemaker_pipelines.hooks.aws import AwsClients
from airflow_sagemaker_pipelines.links.console import (
    CloudWatchLogsLink,
    SageMakerConsoleLink,
    console_url,
    log_url,
)
from airflow_sagemaker_pipelines.operators.documentation import documentation
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.operators.run import step_run
from airflow_sagemaker_pipelines.steps.errors import (
    FailStepError,
    StepError,
    StepFailedError,
    StepRequestError,
    StepStoppedError,
    StepTimeoutError,
)
from airflow_sagemaker_pipelines.steps.status import Verdict

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun, StepRunner

#: An execution of a pipeline ends after 28 days (SageMaker's quota), so no step waits longer.
MAX_WAIT_SECONDS = 672 * 3600.0


class SageMakerStepOperator(BaseOperator):
    """Runs one step of a pipeline on AWS.

    The task starts what the step describes, then waits in the triggerer without a worker. Its result in XCom is what
    other steps can refer to: the AWS Describe answer as JSON. The *Rendered Template* tab shows the request.

    * A retry attaches to what an earlier try started and still runs, takes over what has succeeded, and starts anew
      what failed or was stopped. Clearing the task starts anew in any case.
    * Killing the task (mark failed, clear, stop of the run) stops what it started.
    * ``execution_timeout`` counts while the task waits, too; when it passes, what runs is stopped.

    :param step: the step.
    :param pipeline: what all tasks of the pipeline share.
    """

    template_fields: Sequence[str] = ("parameters", "request")
    operator_extra_links: Collection[BaseOperatorLink] = (SageMakerConsoleLink(), CloudWatchLogsLink())

    def __init__(self, *, step: Step, pipeline: Pipeline, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.pipeline = pipeline
        self.parameters: dict[str, Any] = pipeline.templates
        self.request: dict[str, Any] | None = None
        self._run: StepRun | None = None
        self._handle: Handle | None = None

    @property
    def doc_md(self) -> str:
        """The author's documentation, or else the step's description and JSON.

        Made when asked for: the dag-processor does so, a worker that parses the DAG for one task does not.
        """
        return self._doc_md or documentation(self.step)

    @doc_md.setter
    def doc_md(self, text: str | None) -> None:
        self._doc_md = text

    @property
    def custom_operator_name(self) -> str:
        """Show the step's type in the UI."""
        return str(self.step.type)

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

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render the author's Jinja, then resolve the step's expressions into :attr:`request`.

        Text out of the definition never meets Jinja.
        """
        if is_resuming(context["ti"]):
            # The fields were rendered and shown before the wait; without them Airflow keeps what it has.
            self.template_fields = ()
            return
        super().render_template_fields(context, jinja_env)
        try:
            self._run = step_run(
                step=self.step,
                pipeline=self.pipeline,
                context=context,
                rendered=self.parameters,
                clients=self.clients,
            )
            self.request = self.runner.request(self._run)
        except (StepError, PipelineParameterError) as error:
            self._fail(error)

    def execute(self, context: Context) -> Any:
        """Start the step and wait for its end."""
        if self._run is None or self.request is None:
            raise StepRequestError("its request was not rendered", step=self.step.name)
        shown = dict(self.request)
        try:
            state = self.runner.start(self._run, self.request)
        except StepError as error:
            self._fail(error)
        # An earlier try's job changes the name, and what refers to it.
        self.overwrite_rtif_after_execution = self.request != shown
        self._note(context, state)
        if state.verdict.is_final:
            return self._finish(state.verdict, state.reason, lambda: self.runner.outputs(self.clients, state))
        return self._wait()

    def _note(self, context: Context, state: State) -> None:
        """Say what was made before waiting, for people, and for whoever must stop it."""
        from airflow_sagemaker_pipelines.triggers.step import HANDLE_KEY  # noqa: PLC0415

        self._handle = state.handle
        if not state.handle:
            return
        self.log.info("Step '%s' runs as %s", self.step.name, self.runner.resource(state.handle))
        context["ti"].xcom_push(key=HANDLE_KEY, value=state.handle)

    def _wait(self) -> NoReturn:
        from airflow_sagemaker_pipelines.triggers.step import StepTrigger  # noqa: PLC0415

        timeout = self.execution_timeout.total_seconds() if self.execution_timeout else MAX_WAIT_SECONDS
        self.defer(
            trigger=StepTrigger(
                step_type=str(self.step.type),
                handle=self._handle or {},
                connection=self.pipeline.connection.serialize(),
                poll_interval=self.pipeline.poll_interval,
                deadline=time.time() + timeout,
            ),
            method_name="resume",
        )
        raise AssertionError("defer() does not return")

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the trigger saw.

        :param event: the trigger's event.
        """
        from airflow_sagemaker_pipelines.triggers.step import REFUSED, TIMED_OUT  # noqa: PLC0415

        # dag.test() keeps no arguments for a resumed task, so the event has all that is needed.
        self._handle = handle = event["handle"]
        if event["verdict"] == TIMED_OUT:
            self.on_kill()
            raise StepTimeoutError("it was stopped", step=self.step.name, resource=self.runner.resource(handle))
        if event["verdict"] == REFUSED:
            message = f"AWS does not tell its state: {event['reason']}"
            self._fail(StepRequestError(message, step=self.step.name, resource=self.runner.resource(handle)))
        return self._finish(Verdict(event["verdict"]), event["reason"], lambda: event["outputs"])

    def _finish(self, verdict: Verdict, reason: str | None, outputs: Any) -> Any:
        if verdict is Verdict.SUCCEEDED:
            return outputs()
        cls = StepStoppedError if verdict is Verdict.STOPPED else StepFailedError
        raise cls(
            reason or "AWS gives no reason",
            step=self.step.name,
            resource=self.runner.resource(self._handle or {}),
        )

    def _fail(self, error: Exception) -> NoReturn:
        """Fail the task; without retries where another try would end the same way."""
        if isinstance(error, StepRequestError | FailStepError | PipelineParameterError):
            raise AirflowFailException(str(error)) from error
        raise error

    def on_kill(self) -> None:
        """Stop what the step started."""
        if self._handle:
            self.log.info("Stopping %s", self.runner.resource(self._handle))
            self.runner.stop(self.clients, self._handle)

    @property
    def console_url(self) -> str | None:
        """The page of what the step made in the SageMaker console, once there is something."""
        page = getattr(self.runner, "console", None)
        if not self._handle or page is None:
            return None
        return console_url(self.clients.region_name, f"{page}/{self._handle['name']}")

    @property
    def log_url(self) -> str | None:
        """The job's log streams in the CloudWatch console, once there is a job."""
        group = getattr(self.runner, "log_group", None)
        if not self._handle or group is None:
            return None
        return log_url(self.clients.region_name, group, f"{self._handle['name']}/")
