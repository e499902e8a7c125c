"""What the tasks have in common that wait for an execution of SageMaker, or for a step of one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from airflow.sdk import BaseOperator
from airflow.triggers.base import StartTriggerArgs

from airflow_sagemaker_pipelines._compat import STARTS_FROM_TRIGGER
from airflow_sagemaker_pipelines.operators.pipeline import Pipeline

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.execution_notes import RunExecution

T = TypeVar("T")


class _TaskProperty(Generic[T]):
    """A property that Airflow also asks of the class, for a mapped task that has no instance yet."""

    def __init__(self, function: Callable[[Any], T], of_class: T) -> None:
        self.__doc__ = function.__doc__
        self._function = function
        self._of_class = of_class

    def __get__(self, task: object | None, owner: type) -> T:
        return self._of_class if task is None else self._function(task)


def _asked_of_tasks(of_class: Any) -> Callable[[Callable[[Any], T]], _TaskProperty[T]]:
    return lambda function: _TaskProperty(function, of_class)


class WatchingOperator(BaseOperator):
    """Waits in the triggerer, and begins there, without a worker, where it can.

    ``execution_timeout`` counts while the task waits, too.
    """

    #: The class that waits, by its path: only those who wait import it.
    trigger: str
    pipeline: Pipeline

    # Airflow asks how the task begins before it is made. Set by the constructors of subclasses.
    _is_made = False

    @_asked_of_tasks(False)
    def start_from_trigger(self) -> bool:
        """Whether the first try begins in the triggerer."""
        return (
            STARTS_FROM_TRIGGER
            and self._is_made
            and self.has_dag()  # type: ignore[no-untyped-call]
            and self.pipeline.watches_from_trigger
            # Airflow would end the task when its time is up without telling anybody.
            and self.execution_timeout is None
            and self.needs_no_worker()
        )

    @_asked_of_tasks(None)
    def start_trigger_args(self) -> StartTriggerArgs | None:
        """The trigger of a first try."""
        if not self.start_from_trigger:
            return None
        return StartTriggerArgs(trigger_cls=self.trigger, next_method="resume", trigger_kwargs=self.trigger_arguments())

    def needs_no_worker(self) -> bool:
        """Whether a worker has nothing to do before the wait."""
        return True

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the arguments of the trigger that are known before a run."""
        return {
            "connection": self.pipeline.connection.serialize(),
            "poll_interval": self.pipeline.poll_interval,
            "start_task_id": self.pipeline.start_task_id,
            "event_queue_url": self.pipeline.event_queue_url,
            "stop_on_kill": self.pipeline.stop_on_kill,
        }

    def wait(self, execution: RunExecution, **arguments: Any) -> NoReturn:
        """Leave the worker, and wait in the triggerer.

        :param arguments: of the trigger, beside those that are known before a run.
        """
        timeout = self.execution_timeout
        trigger = resolve_name(self.trigger)(
            **self.trigger_arguments(),
            execution=asdict(execution),
            deadline=None if timeout is None else time.time() + timeout.total_seconds(),
            **arguments,
        )
        self.defer(trigger=trigger, method_name="resume")
        raise AssertionError("defer() does not return")
