"""What a worker does when Airflow kills it.

It does so because somebody has ended the task, or cleared it; then what the task has started is to end, too. But also
because it takes the worker for dead, because its server does not answer, or because the machine is shut down: then the
task's next try goes on with what runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Thread
from typing import Any

from airflow_sagemaker_pipelines._compat import AirflowTaskTimeout
from airflow_sagemaker_pipelines.task_states import ENDED, state_of

#: States in which no other try goes on with what a try has started. A task that is cleared while a worker has it is
#: restarting until that one is gone.
ABANDONED = ENDED | {"restarting"}
#: How long a kill holds up the task. Airflow gives it five seconds in all.
_SECONDS = 2.0


def _is_timeout() -> bool:
    """Whether Airflow calls ``on_kill`` because ``execution_timeout`` has passed: it does so as it handles that."""
    return isinstance(sys.exception(), AirflowTaskTimeout)


def stop_if_abandoned(ti: Any, stop: Callable[[], None], log: Any) -> None:
    """Stop what a killed worker has started, unless another try goes on with it, or Airflow does not tell.

    A signal may come in the middle of a call to Airflow's server, which holds up all others until it is answered. So
    a thread asks; the task goes on in a moment, and looks itself before it waits.

    :param ti: the task instance.
    :param stop: blocks; the log has what it raises.
    """

    def look_and_stop() -> None:
        try:
            if state_of(ti) in ABANDONED:
                stop()
        except Exception as error:  # noqa: BLE001 - in a thread nobody else hears of it
            log.warning("What the task has started may still run: %s", error)

    looking = Thread(target=look_and_stop, daemon=True)
    looking.start()
    looking.join(_SECONDS)


def stop_if_over(ti: Any, stop: Callable[[], None], log: Any) -> None:
    """Stop what a killed worker has started, also if the task's time is up: then without asking.

    For the parameters see :func:`stop_if_abandoned`.
    """
    if _is_timeout():
        stop()
    else:
        stop_if_abandoned(ti, stop, log)
