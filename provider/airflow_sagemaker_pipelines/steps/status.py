"""The one table from AWS's statuses to what they mean for a step."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """What a status means."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    """The answer holds no status, or one that is not in the table: ask again. Never a success."""

    @property
    def is_final(self) -> bool:
        """Whether the status will not change any more."""
        return self in _FINAL


_FINAL = frozenset({Verdict.SUCCEEDED, Verdict.FAILED, Verdict.STOPPED})

_RUNNING, _SUCCEEDED, _FAILED, _STOPPED = Verdict.RUNNING, Verdict.SUCCEEDED, Verdict.FAILED, Verdict.STOPPED

_JOB = {
    "InProgress": _RUNNING,
    "Stopping": _RUNNING,
    "Completed": _SUCCEEDED,
    "Failed": _FAILED,
    # A job that somebody stopped or that ran out of time did not do its work.
    "Stopped": _STOPPED,
}
_DELETED = {"Deleting": _STOPPED, "DeleteFailed": _FAILED}

#: By the name of botocore's enum shape: each of its values.
VERDICTS: Mapping[str, Mapping[str, Verdict]] = {
    "ProcessingJobStatus": _JOB,
    "TrainingJobStatus": _JOB | {"Deleting": _STOPPED},
    "TransformJobStatus": _JOB,
    "HyperParameterTuningJobStatus": _JOB | _DELETED,
    "AutoMLJobStatus": _JOB,
    "JobStatus": _JOB | _DELETED,
    "ModelPackageStatus": {
        "Pending": _RUNNING,
        "InProgress": _RUNNING,
        "Completed": _SUCCEEDED,
        "Failed": _FAILED,
        "Deleting": _STOPPED,
    },
}


def verdict(shape: str, status: object) -> Verdict:
    """Judge a status.

    :param shape: the name of botocore's enum, such as ``TrainingJobStatus``.
    :param status: the value in the answer; ``None`` when the answer has none, as a truncated one does.
    """
    return VERDICTS[shape].get(status, Verdict.UNKNOWN) if isinstance(status, str) else Verdict.UNKNOWN
