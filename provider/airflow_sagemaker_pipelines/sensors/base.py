"""What sensors share: one look on a worker, then waiting in the triggerer, for so long and no longer."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator

from airflow_sagemaker_pipelines._compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.operators.lives import first_try_age
from airflow_sagemaker_pipelines.operators.triggerer_end import may_end_in_triggerer
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_sagemaker_pipelines.steps.runner import Handle


class SageMakerSensor(BaseSensorOperator):
    """Waits for something on AWS that others make happen.

    It looks once on a worker. If there is nothing yet, it waits in the triggerer, without a worker; its result in XCom
    is what AWS describes in the end.

    * ``timeout`` counts by wall clock from the first try, also while the task waits and between its tries; clearing
      the task begins anew. On Airflow older than 3.3, which keeps no notes of a task, each try has the whole of it.
      When it is over, the task fails without another try, as Airflow's own sensors do. ``execution_timeout`` holds
      for the look on the worker only.
    * ``soft_fail`` and ``never_fail`` skip the task instead of failing it.
    * Killing the task ends nothing but the waiting.
    * A look that AWS throttles, does not answer, or denies for a moment is repeated by the triggerer.
    * ``mode``, ``poke_interval`` and what else is about poking mean nothing here.

    :param aws_conn_id: the Airflow connection to AWS; ``None`` uses boto3's own credential chain.
    :param region_name: instead of the connection's region.
    :param verify: whether, or by which CA bundle, TLS certificates are checked; instead of the connection's.
    :param botocore_config: arguments of ``botocore.config.Config``, instead of the connection's.
    :param poll_interval: the most seconds between two looks; there are more when news is likely.
    :param event_queue_url: the SQS queue of events that ``airflow sagemaker-pipelines event-queue`` makes. With it,
        news is known at once, and looks are rare.
    :param kwargs: those of Airflow's ``BaseSensorOperator``.
    """

    # Kept on the class until there is something to keep.
    _handle: Handle | None = None
    _ti: Any = None

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        poll_interval: float = 15.0,
        event_queue_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connection = AwsConnection(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=botocore_config
        )
        self.poll_interval = poll_interval
        self.event_queue_url = event_queue_url

    @abstractmethod
    def handle(self) -> Handle:
        """Return what names the resource.

        :raises AirflowFailException: if the rendered fields name none.
        """

    @abstractmethod
    def resource(self, handle: Handle) -> str:
        """Name the resource, for messages."""

    @abstractmethod
    def look(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Ask AWS; return the outcome, ``None`` while there is none, and what names the resource from now on."""

    @abstractmethod
    def trigger(self, **arguments: Any) -> BaseTrigger:
        """Make the trigger that goes on looking.

        :param arguments: those that all sensors' triggers have in common.
        """

    @abstractmethod
    def failure(self, handle: Handle, verdict: Verdict, reason: str | None) -> Exception:
        """Return the error for an end that is not the one waited for."""

    def execute(self, context: Context) -> Any:
        """Look, and wait if there is no outcome yet."""
        outcome, handle = self._first_look(self._checked_handle())
        self._handle, self._ti = handle, context["ti"]
        if outcome is not None:
            return self._end(handle, outcome)
        left = self.timeout - _seconds_since_first_try(context)
        if left <= 0:
            self._time_is_up(handle)
        return self._wait(context, handle, left)

    def _wait(self, context: Context, handle: Handle, seconds: float) -> NoReturn:
        self.log.info("Waiting for %s", self.resource(handle))
        context["ti"].xcom_push(key=HANDLE_KEY, value=handle)
        now = time.time()
        trigger = self.trigger(
            handle=handle,
            connection=self.connection.serialize(),
            poll_interval=self.poll_interval,
            since=now,
            deadline=now + seconds,
            try_number=context["ti"].try_number,
            event_queue_url=self.event_queue_url,
            ends_task=may_end_in_triggerer(self),
        )
        self.defer(trigger=trigger, method_name="resume")
        raise AssertionError("defer() does not return")

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """End the task by what the trigger saw.

        :param event: the trigger's event.
        """
        # Airflow 3.1.0 resumes a new try with the event of the try before.
        if event.get("try_number") not in {None, context["ti"].try_number}:
            return self.execute(context)
        self._handle, self._ti = event["handle"], context["ti"]
        return self._end(event["handle"], event)

    def _checked_handle(self) -> Handle:
        try:
            return self.handle()
        except AirflowFailException as error:
            self._fail(error)

    def _first_look(self, handle: Handle) -> tuple[Mapping[str, Any] | None, Handle]:
        from airflow_sagemaker_pipelines.steps import aws  # noqa: PLC0415
        from airflow_sagemaker_pipelines.triggers.wait import REFUSED  # noqa: PLC0415

        try:
            return self.look(handle)
        except aws.AWS_ERRORS as error:
            if not (aws.is_transient(error) or aws.is_denied(error)):
                return {"verdict": REFUSED, "reason": aws.error_message(error)}, handle
            self.log.warning("AWS did not tell the state of %s, asking again: %s", self.resource(handle), error)
            return None, handle

    def _end(self, handle: Handle, outcome: Mapping[str, Any]) -> Any:
        from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT  # noqa: PLC0415

        if outcome["verdict"] == TIMED_OUT:
            self._time_is_up(handle)
        if outcome["verdict"] == REFUSED:
            where = f"connection '{self.connection.aws_conn_id}'"
            if self.connection.region_name:
                where += f", region {self.connection.region_name}"
            self._fail(
                AirflowFailException(
                    f"AWS does not tell the state of {self.resource(handle)} ({where}): {outcome['reason']}"
                )
            )
        verdict = Verdict(outcome["verdict"])
        if verdict is not Verdict.SUCCEEDED:
            self._fail(self.failure(handle, verdict, outcome["reason"]))
        return outcome["outputs"]

    def _time_is_up(self, handle: Handle) -> NoReturn:
        self.give_up(handle)
        self._fail(AirflowSensorTimeout(f"{self.resource(handle)}: nothing to report after {self.timeout:g} seconds"))

    def give_up(self, handle: Handle) -> None:
        """Do what is to be done when the time is up, before the task fails; by default nothing."""

    def _fail(self, error: Exception) -> NoReturn:
        if self.soft_fail or self.never_fail:
            # Airflow replaces the skip's own text in a task that was deferred.
            self.log.warning("%s", error)
            raise AirflowSkipException(str(error)) from error
        raise error


def _seconds_since_first_try(context: Context) -> float:
    if context.get("task_state_store") is None:
        return 0.0
    return first_try_age(context).total_seconds()
