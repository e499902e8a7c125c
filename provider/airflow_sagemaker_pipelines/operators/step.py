"""The task of one step."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_sagemaker_pipelines._compat import AirflowFailException, resumes_with
from airflow_sagemaker_pipelines.definition import PipelineParameterError, Step, StepSelectionError
from airflow_sagemaker_pipelines.operators.admission import Reuse, admit
from airflow_sagemaker_pipelines.operators.capacity import capacity_trigger
from airflow_sagemaker_pipelines.operators.kills import ABANDONED
from airflow_sagemaker_pipelines.operators.leftovers import note_running, stop_leftovers
from airflow_sagemaker_pipelines.operators.pinning import pin
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline
from airflow_sagemaker_pipelines.operators.retried import RetriedStepOperator
from airflow_sagemaker_pipelines.operators.retries import set_retries
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepError, StepRequestError, StepTimeoutError
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.task_states import ENDED, state_of
from airflow_sagemaker_pipelines.xcom_keys import CACHE_HIT_KEY, HANDLE_KEY

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.steps.runner import State, StepRun
    from airflow_sagemaker_pipelines.triggers.step import StepTrigger

#: An execution of a pipeline ends after 28 days (SageMaker's quota), so no step waits longer.
MAX_WAIT_SECONDS = 672 * 3600.0


class SageMakerStepOperator(RetriedStepOperator):
    """Runs one step of a pipeline on AWS.

    The task starts what the step describes, then waits in the triggerer without a worker. Its result in XCom is what
    other steps can refer to: the AWS Describe answer as JSON. The *Rendered Template* tab shows the request.

    * A retry attaches to what an earlier try started and still runs, takes over what has succeeded, and starts anew
      what failed or was stopped. Clearing the task starts anew in any case.
    * Killing the task (mark failed, clear, stop of the run) stops what it started. A worker that is killed for any
      other reason (it is taken for dead, its machine goes down) leaves it to the next try.
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

    # Kept on the class until there is something to keep: a DAG has many tasks, and runs one at a time.
    request: dict[str, Any] | None = None
    _run: StepRun | None = None
    _reuse: Reuse | None = None

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
        super().__init__(**kwargs)
        self.step = step
        self.pipeline = pipeline
        self.parameters: dict[str, Any] = pipeline.templates
        self.looks_upstream = looks_upstream
        self.item = item
        self.author_retries = set_retries(self, author_retries, self.retries_for(step))

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
        self._handle, self._ti = state.handle, context["ti"]
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
            ends_task=self.may_end_in_triggerer(),
        )
        # Airflow tells neither the worker nor a trigger of a mark that comes while the one hands over to the other.
        present = state_of(context["ti"])
        if present in ABANDONED:
            self._give_up()
        # The deferral of one that was cleared is refused.
        if present in ENDED:
            raise AirflowFailException(f"Step '{self.step.name}': somebody has ended the task")
        self.defer(trigger=trigger, method_name="resume")
        raise AssertionError("defer() does not return")

    def _trigger(self, **arguments: Any) -> StepTrigger:
        """Make the trigger that waits for the step's end."""
        from airflow_sagemaker_pipelines.triggers.step import StepTrigger  # noqa: PLC0415

        return StepTrigger(**arguments)

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

    def _start_over(self, context: Context) -> Any:
        """Begin a try that Airflow 3.1.0 resumes with the event of the try before; later versions begin it anew."""
        self.template_fields = type(self).template_fields
        self._resolve(context, self.get_template_env(), set())
        self.overwrite_rtif_after_execution = True
        return self.execute(context)
