"""What running a job comes to."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

REASON_LIMIT = 1024
"""Longest FailureReason and ExitMessage that SageMaker stores, in characters."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The last value that one metric definition found in a job's log."""

    name: str
    value: float
    timestamp: dt.datetime


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a job ended.

    ``stopped`` is true when the stop event, and ``timed_out`` when the request's ``MaxRuntimeInSeconds``, ended it;
    neither is a success, and neither has a failure reason. ``failure_reason`` is worded as AWS words it.
    """

    succeeded: bool
    failure_reason: str | None = None
    exit_message: str | None = None
    stopped: bool = False
    timed_out: bool = False
    metrics: tuple[Metric, ...] = ()


class JobError(Exception):
    """The job fails before or after its code ran; the text becomes the FailureReason."""


class CannotRunError(Exception):
    """Nothing on this machine can stand in for the job's container; the text says why."""


def algorithm_error(text: str, exit_code: int) -> str:
    """FailureReason of a container that ended with ``exit_code`` after leaving ``text`` in its failure file."""
    tail = f", exit code: {exit_code}"
    head = f"AlgorithmError: {text.strip()}"
    return head[: REASON_LIMIT - len(tail)] + tail
