"""The task of one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, BaseOperatorLink

from airflow_sagemaker_pipelines._compat import (
    HAS_RETRY_POLICIES,
    AirflowFailException,
    TaskDeferralError,
    has_success_listeners,
    resumes_with,
)
from airflow_sagemaker_pipelines.definition import PipelineParameterError, Step, StepSelectionError
from airflow_sagemaker_pipelines.hooks.aws import AwsClients
from airflow_sagemaker_pipelines.links.console import (
    CloudWatchLogsLink,
    SageMakerConsoleLink,
    console_url,
    log_url,
)
from airflow_sagemaker_pipelines.operators.admission import Reuse, admit
from airflow_sagemaker_pipelines.operators.capacity import capacity_trigger
from airflow_sagemaker_pipelines.operators.documentation import documentation
from airflow_sagemaker_pipelines.operators.job_log import last_lines
from airflow_sagemaker_pipelines.operators.leftovers import note_running, stop_leftovers
from airflow_sagemaker_pipelines.operators.pinning import pin
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.operators.retries import (
    STEP_RETRY_POLICY,
    Decision,
    decide,
    retries_of,
)
from airflow_sagemaker_pipelines.steps.errors import (
    FailStepError,
    StepCallError,
    StepError,
    StepFailedError,
    StepRequestError,
    StepStoppedError,
    StepTimeoutError,
)
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.task_states import ENDED, state_of
from airflow_sagemaker_pipelines.xcom_keys import CACHE_HIT_KEY, HANDLE_KEY, OUTCOME_KEY, STOPPED

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun, StepRunner
    from airflow_sagemaker_pipelines.triggers.step import StepTrigger

#: An execution of a pipeline ends after 28 days (SageMaker's quota), so no step waits longer.
MAX_WAIT_SECONDS = 672 * 3600.0


class _StepTypeName:
    """Shows a task's step type in the UI as the name of its operator.

    Airflow asks the instance, but of a mapped task, which has none yet, the class.
    """

    def __get__(self, task: SageMakerStepOperator | None, owner: type[SageMakerStepOperator]) -> str:
        return owner.__name__ if task is None else str(task.step.type)


class SageMakerStepOperator(BaseOperator):
    """Runs one step of a pipeline on AWS.

    The task starts what the step describes, then waits in the triggerer without a worker. Its result in XCom is what
    other steps can refer to: the AWS Describe answer as JSON. The *Rendered Template* tab shows the request.

    * A retry attaches to what an earlier try started and still runs, takes over what has succeeded, and starts anew
      what failed or was stopped. Clearing the task starts anew in any case.
    * Killing the task (mark failed, clear, stop of the run) stops what it started.
    * ``execution_timeout`` counts while the task waits, too; when it passes, what runs is stopped.

    * A failed try is repeated as the step's ``RetryPolicies`` say, then as often as the author's ``retries``.
    * A step with ``CacheConfig`` whose key attributes are those of an earlier run's job makes no job: that job's answer
      is the result, and the XCom ``sagemaker_cache_hit`` names it. After a clear it may be the task's own earlier job.
      Only Processing, Training, Tuning, Transform, AutoML, QualityCheck and ClarifyCheck steps are cached; for others
      ``CacheConfig`` is ignored, which the log says.
    * When a quota is reached, the task waits for its turn, see ``capacity_timeout`` of the pipeline.

    :param step: the step.
    :param pipeline: what all tasks of the pipeline share.
    :param looks_upstream: whether the task starts in any case when those before it have ended, and then looks at
        each of them; for steps whose ``DependsOn`` has triggers.
    :param item: the item of the iteration, for a step in a loop's body.
    :param author_retries: the retries that the author wants, when ``retries`` has those of retry policies already.
    """

    template_fields: Sequence[str] = ("parameters", "request")
    #: The template fields in which the author's Jinja is rendered.
    author_fields: Sequence[str] = ("parameters",)
    operator_extra_links: Collection[BaseOperatorLink] = (SageMakerConsoleLink(), CloudWatchLogsLink())

    # Kept on the class until there is something to keep: a DAG has many tasks, and runs one at a time.
    request: dict[str, Any] | None = None
    _run: StepRun | None = None
    _reuse: Reuse | None = None
    _handle: Handle | None = None

    def __init__(
        self,
        *,
        step: Step,
        pipeline: Pipeline,
        looks_upstream: bool = False,
        item: Any = None,
        author_retries: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Airflow makes a mapped task with None for what nobody gave.
        if HAS_RETRY_POLICIES and kwargs.get("retry_policy") is None:
            kwargs["retry_policy"] = STEP_RETRY_POLICY
        super().__init__(**kwargs)
        self.step = step
        self.pipeline = pipeline
        self.parameters: dict[str, Any] = pipeline.templates
        self.looks_upstream = looks_upstream
        self.item = item
        self.author_retries = int(self.retries or 0) if author_retries is None else author_retries
        self.retries = max(self.author_retries, retries_of(step))

    @property
    def doc_md(self) -> str:
        """The author's documentation, or else the step's description and JSON.

        Made when asked for: the dag-processor does so, a worker that parses the DAG for one task does not.
        """
        return self._doc_md or documentation(self.step)

    @doc_md.setter
    def doc_md(self, text: str | None) -> None:
        self._doc_md = text

    custom_operator_name = _StepTypeName()

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

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render the author's Jinja, then resolve the step's expressions into :attr:`request`.

        Text out of the definition never meets Jinja. Airflow has this method overridden rather than
        ``render_template_fields``, which mapped tasks do not call.
        """
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        if resumes_with(context["ti"]) not in {None, "start_again"}:
            # The fields were rendered and shown before the wait; without them Airflow keeps what it has.
            self.template_fields = ()
            return
        self._resolve(context, jinja_env, seen_oids)

    def _resolve(self, context: Context, jinja_env: jinja2.Environment, seen_oids: set[int]) -> None:
        from airflow_sagemaker_pipelines.operators.run import step_run  # noqa: PLC0415 - not to parse a DAG

        try:
            self._reuse = admit(self.step, self.pipeline, context, looks=self.looks_upstream)
            pin(self.step, self.pipeline, context["ti"])
            if self._reuse is not None:
                return
            super()._do_render_template_fields(self, self.author_fields, context, jinja_env, seen_oids)
            self._run = step_run(
                step=self.step,
                pipeline=self.pipeline,
                context=context,
                rendered=self.parameters,
                clients=self.clients,
                item=self.item,
            )
            self.request = self.make_request(self._run)
        except (PipelineParameterError, StepSelectionError) as error:
            raise AirflowFailException(str(error)) from error
        except StepError as error:
            self._fail(error, context)

    def make_request(self, run: StepRun) -> dict[str, Any]:
        """Return the fully resolved request."""
        return self.runner.request(run)

    def execute(self, context: Context) -> Any:
        """Start the step and wait for its end."""
        if self._reuse is not None:
            self.log.info(
                "Step '%s' is not selected; its outputs come from run '%s'", self.step.name, self._reuse.run_id
            )
            return self._reuse.outputs
        return self._start(context, waited_since=None, waits=0)

    def start_again(self, context: Context, event: dict[str, Any]) -> Any:
        """Start the step after a wait for capacity.

        :param event: the event of :class:`~airflow_sagemaker_pipelines.triggers.capacity.CapacityTrigger`.
        """
        return self._start(context, waited_since=event["waited_since"], waits=event["waits"])

    def _start(self, context: Context, *, waited_since: float | None, waits: int) -> Any:
        if self._run is None or self.request is None:
            raise StepRequestError("its request was not rendered", step=self.step.name)
        self._note_ignored_cache()
        shown = dict(self.request)
        try:
            if self.pipeline.stop_on_kill:
                stop_leftovers(context, self.runner, self.clients, self.log)
            state = self.runner.start(self._run, self.request)
            # An earlier try's job changes the name, and what refers to it.
            self.overwrite_rtif_after_execution = self.request != shown
            self._note(context, state)
            if state.verdict.is_final:
                return self._finish(context, state.verdict, state.reason, lambda: self._outputs(state))
        except StepCallError as error:
            timeout = self.pipeline.capacity_timeout
            trigger = capacity_trigger(error, self.step, waited_since=waited_since, waits=waits, timeout=timeout)
            if trigger is None:
                self._fail(error, context)
            self.log.warning("%s. Trying again in %.0f s", error, trigger.until - time.time())
            self.defer(trigger=trigger, method_name="start_again")
        except StepError as error:
            self._fail(error, context)
        return self._wait(context)

    def _outputs(self, state: State) -> dict[str, Any]:
        from airflow_sagemaker_pipelines.steps.aws import aws_call  # noqa: PLC0415

        with aws_call("The call for its outputs", step=self.step.name):
            return self.runner.outputs(self.clients, state)

    def _note_ignored_cache(self) -> None:
        if self.step.cache_config.enabled:
            from airflow_sagemaker_pipelines.steps.cache import note_ignored  # noqa: PLC0415

            note_ignored(self.step)

    def _note(self, context: Context, state: State) -> None:
        """Say what was made before waiting, for people, and for whoever must stop it."""
        self._handle = state.handle
        if not state.handle:
            return
        if state.cache_hit is not None:
            source = self.runner.resource(state.handle)
            self.log.info("Step '%s' was found in the cache: its result is that of %s", self.step.name, source)
            context["ti"].xcom_push(key=CACHE_HIT_KEY, value=dict(state.cache_hit))
        else:
            self.log.info("Step '%s' runs as %s", self.step.name, self.runner.resource(state.handle))
        context["ti"].xcom_push(key=HANDLE_KEY, value=state.handle)

    def _wait(self, context: Context) -> NoReturn:
        note_running(context, self._handle or {})
        now = time.time()
        timeout = self.execution_timeout.total_seconds() if self.execution_timeout else MAX_WAIT_SECONDS
        trigger = self._trigger(
            step_type=str(self.step.type),
            handle=self._handle or {},
            connection=self.pipeline.connection.serialize(),
            poll_interval=self.pipeline.poll_interval,
            since=now,
            deadline=now + timeout,
            try_number=context["ti"].try_number,
            event_queue_url=self.pipeline.event_queue_url,
            stop_on_kill=self.pipeline.stop_on_kill,
            streams_log=self.pipeline.stream_logs,
            ends_task=self._may_end_in_triggerer(),
        )
        # Airflow tells neither the worker nor a trigger of a mark that comes while the one hands over to the other.
        if state_of(context["ti"]) in ENDED:
            self._give_up()
            raise AirflowFailException(f"Step '{self.step.name}': somebody has ended the task")
        self.defer(trigger=trigger, method_name="resume")
        raise AssertionError("defer() does not return")

    def _may_end_in_triggerer(self) -> bool:
        """Whether a success leaves nothing for a worker to do, which spares its start."""
        return self.do_xcom_push and not (
            self.outlets
            or self.on_success_callback
            or self._post_execute_hook
            or type(self).post_execute is not BaseOperator.post_execute
            or self.multiple_outputs
            or self.map_index_template
            or any(self.iter_mapped_dependants())
            or getattr(self, "returns_dag_result", False)
            or has_success_listeners()
        )

    def _trigger(self, **arguments: Any) -> StepTrigger:
        """Make the trigger that waits for the step's end."""
        from airflow_sagemaker_pipelines.triggers.step import StepTrigger  # noqa: PLC0415

        return StepTrigger(**arguments)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, or end what runs if its trigger has crashed and no retry is left to wait for it."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralError as error:
            ti = context["ti"]
            if not (self.decide_retry(error, context).retry and ti.try_number <= ti.max_tries):
                self._handle = ti.xcom_pull(task_ids=self.task_id, key=HANDLE_KEY, map_indexes=ti.map_index)
                self._give_up()
            raise

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the trigger saw.

        :param event: the trigger's event.
        """
        from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT  # noqa: PLC0415

        if event.get("try_number") not in {None, context["ti"].try_number}:
            return self._start_over(context)
        # dag.test() keeps no arguments for a resumed task, so the event has all that is needed.
        self._handle = handle = event["handle"]
        if event["verdict"] == TIMED_OUT:
            self._give_up()
            timeout = StepTimeoutError(
                "the task's time is up", step=self.step.name, resource=self.runner.resource(handle)
            )
            self._fail(timeout, context)
        if event["verdict"] == REFUSED:
            self._give_up()
            message = f"AWS does not tell its state: {event['reason']}"
            self._fail(StepRequestError(message, step=self.step.name, resource=self.runner.resource(handle)), context)
        try:
            return self._finish(context, Verdict(event["verdict"]), event["reason"], lambda: event["outputs"])
        except StepError as error:
            self._fail(error, context)

    def _give_up(self) -> None:
        """Stop what runs before the task fails. A refusal must not hide why it does."""
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS  # noqa: PLC0415

        try:
            self.on_kill()
        except AWS_ERRORS as error:
            self.log.warning("%s may still run: %s", self.runner.resource(self._handle or {}), error)

    def _start_over(self, context: Context) -> Any:
        """Begin a try that Airflow 3.1.0 resumes with the event of the try before; later versions begin it anew."""
        self.template_fields = type(self).template_fields
        self._resolve(context, self.get_template_env(), set())
        self.overwrite_rtif_after_execution = True
        return self.execute(context)

    def _finish(
        self, context: Context, verdict: Verdict, reason: str | None, outputs: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        if verdict is Verdict.SUCCEEDED:
            return outputs()
        if verdict is Verdict.STOPPED:
            context["ti"].xcom_push(key=OUTCOME_KEY, value=STOPPED)
        from airflow_sagemaker_pipelines.operators.run import note_told  # noqa: PLC0415

        cls = StepStoppedError if verdict is Verdict.STOPPED else StepFailedError
        handle = self._handle or {}
        where = [self.runner.resource(handle), f"attempt {context['ti'].try_number}"]
        if self.log_url is not None:
            where.append(f"log: {self.log_url}")
        details = last_lines(self.runner, self.clients, handle, reason=reason, log=self.log)
        error = cls(reason or "AWS gives no reason", step=self.step.name, resource=", ".join(where), details=details)
        # Without a retry no other try should come; if one does, the worker has died with the news.
        if self.decide_retry(error, context).retry:
            note_told(context, handle)
        raise error

    def decide_retry(self, error: BaseException, context: Context) -> Decision:
        """Decide whether a failed try is followed by another one."""
        from airflow_sagemaker_pipelines.operators.run import first_try_age, life_of  # noqa: PLC0415

        ti = context["ti"]
        return decide(
            error,
            self.step,
            failures=max(0, ti.try_number - life_of(ti) - 1),
            author_retries=self.author_retries,
            running_for=first_try_age(context),
        )

    def _fail(self, error: StepError, context: Context) -> NoReturn:
        """Fail the task; for good where another try would end the same way."""
        if isinstance(error, StepRequestError | FailStepError):
            raise AirflowFailException(str(error)) from error
        if not HAS_RETRY_POLICIES and not self.decide_retry(error, context).retry:
            raise AirflowFailException(str(error)) from error
        raise error

    def on_kill(self) -> None:
        """Stop what the step started, unless the pipeline's ``stop_on_kill`` is off."""
        if self._handle and self.pipeline.stop_on_kill:
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
        from airflow_sagemaker_pipelines.steps.logs import log_source  # noqa: PLC0415

        source = log_source(self.runner, self._handle or {})
        return None if source is None else log_url(self.clients.region_name, source.group, source.prefix)
