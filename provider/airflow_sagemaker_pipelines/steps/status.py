"""The one table from AWS's statuses to what they mean for a step."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """What a status means."""

    RUNNING = "running"
    STOPPING = "stopping"
    """Still there, but somebody has asked for its end."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    """The answer holds no status, or one that is not in the table: ask again. Never a success."""

    @property
    def is_final(self) -> bool:
        """Whether the status will not change any more."""
        return self in _FINAL

    @property
    def is_wanted(self) -> bool:
        """Whether another try should make do with it instead of starting anew."""
        return self not in _UNWANTED


_FINAL = frozenset({Verdict.SUCCEEDED, Verdict.FAILED, Verdict.STOPPED})

_UNWANTED = frozenset({Verdict.FAILED, Verdict.STOPPED, Verdict.STOPPING})

_RUNNING, _SUCCEEDED, _FAILED, _STOPPED = Verdict.RUNNING, Verdict.SUCCEEDED, Verdict.FAILED, Verdict.STOPPED

_JOB = {
    "InProgress": _RUNNING,
    "Stopping": Verdict.STOPPING,
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
    # A step of a pipeline; replies to Callback steps use the same words.
    "StepStatus": {
        "Starting": _RUNNING,
        "Executing": _RUNNING,
        "Stopping": Verdict.STOPPING,
        "Stopped": _STOPPED,
        "Failed": _FAILED,
        "Succeeded": _SUCCEEDED,
    },
    "PipelineExecutionStatus": {
        "Executing": _RUNNING,
        "Stopping": Verdict.STOPPING,
        "Stopped": _STOPPED,
        "Failed": _FAILED,
        "Succeeded": _SUCCEEDED,
        # Every failure was handled by a step that waited for it. Who must tell the two apart has the status itself.
        "CompletedWithFailures": _SUCCEEDED,
    },
    "ModelPackageStatus": {
        "Pending": _RUNNING,
        "InProgress": _RUNNING,
        "Completed": _SUCCEEDED,
        "Failed": _FAILED,
        "Deleting": _STOPPED,
    },
    # A decision that people make; what they reject is a failure to who waits for their approval.
    "ModelApprovalStatus": {"PendingManualApproval": _RUNNING, "Approved": _SUCCEEDED, "Rejected": _FAILED},
    "EndpointStatus": {
        "Creating": _RUNNING,
        "Updating": _RUNNING,
        "SystemUpdating": _RUNNING,
        # Ends in service with the earlier configuration, or in UpdateRollbackFailed.
        "RollingBack": _RUNNING,
        "InService": _SUCCEEDED,
        "Failed": _FAILED,
        "OutOfService": _FAILED,
        "UpdateRollbackFailed": _FAILED,
        "Deleting": _STOPPED,
    },
    "InferenceComponentStatus": {
        "Creating": _RUNNING,
        "Updating": _RUNNING,
        "InService": _SUCCEEDED,
        "Failed": _FAILED,
        "Deleting": _STOPPED,
    },
    # EMR
    "StepState": {
        "PENDING": _RUNNING,
        "CANCEL_PENDING": Verdict.STOPPING,
        "RUNNING": _RUNNING,
        "COMPLETED": _SUCCEEDED,
        "CANCELLED": _STOPPED,
        "FAILED": _FAILED,
        # Its cluster went away.
        "INTERRUPTED": _FAILED,
    },
    # A cluster in itself is no success: its step is.
    "ClusterState": {
        "STARTING": _RUNNING,
        "BOOTSTRAPPING": _RUNNING,
        "RUNNING": _RUNNING,
        "WAITING": _RUNNING,
        "TERMINATING": _RUNNING,
        "TERMINATED": _STOPPED,
        "TERMINATED_WITH_ERRORS": _FAILED,
    },
    # EMR Serverless
    "JobRunState": {
        "SUBMITTED": _RUNNING,
        "PENDING": _RUNNING,
        "SCHEDULED": _RUNNING,
        "QUEUED": _RUNNING,
        "RUNNING": _RUNNING,
        "CANCELLING": Verdict.STOPPING,
        "SUCCESS": _SUCCEEDED,
        "FAILED": _FAILED,
        "CANCELLED": _STOPPED,
    },
    # What an application is when it takes jobs: one that is not started starts with the first of them.
    "ApplicationState": {
        "CREATING": _RUNNING,
        "CREATED": _SUCCEEDED,
        "STARTING": _SUCCEEDED,
        "STARTED": _SUCCEEDED,
        "STOPPING": _RUNNING,
        "STOPPED": _SUCCEEDED,
        "TERMINATED": _STOPPED,
    },
}

#: Statuses of things that cannot be updated any more. AWS permits nothing but the deletion of a failed endpoint.
_BEYOND_UPDATE: Mapping[str, frozenset[str]] = {
    "EndpointStatus": frozenset({"Failed", "Deleting"}),
    "InferenceComponentStatus": frozenset({"Deleting"}),
}


def verdict(shape: str, status: object) -> Verdict:
    """Judge a status.

    :param shape: the name of botocore's enum, such as ``TrainingJobStatus``.
    :param status: the value in the answer; ``None`` when the answer has none, as a truncated one does.
    """
    return VERDICTS[shape].get(status, Verdict.UNKNOWN) if isinstance(status, str) else Verdict.UNKNOWN


def is_beyond_update(shape: str, status: object) -> bool:
    """Whether something in this status can only be deleted.

    :param shape: the name of botocore's enum, such as ``EndpointStatus``.
    :param status: the value in the answer.
    """
    return status in _BEYOND_UPDATE[shape]
