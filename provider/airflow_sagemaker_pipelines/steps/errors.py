"""Why a step did not succeed."""

from __future__ import annotations

from typing import Any

#: AWS's codes for "there is no room for this now": a quota is reached, or no machines are left.
RESOURCE_LIMIT_CODES = frozenset({"ResourceLimitExceeded", "LimitExceededException", "CapacityError"})


class StepError(Exception):
    """A step did not succeed.

    :param message: what happened, a sentence that names no step; the text of the error does.
    :param step: the step's name.
    :param resource: what ran, such as ``training job pipelines-…``.
    :param code: AWS's error code, when a call was refused.
    :param details: more lines for people, such as the end of a job's log.
    """

    outcome = "failed"

    def __init__(
        self,
        message: str,
        *,
        step: str,
        resource: str | None = None,
        code: str | None = None,
        details: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.resource = resource
        self.code = code
        self.details = details

    def __str__(self) -> str:
        resource = f" ({self.resource})" if self.resource else ""
        details = f"\n{self.details}" if self.details else ""
        return f"Step '{self.step}' {self.outcome}: {self.message}{resource}{details}"

    def __reduce__(self) -> tuple[Any, ...]:
        members = {"step": self.step, "resource": self.resource, "code": self.code, "details": self.details}
        return _rebuild, (type(self), self.message, members)


def _rebuild(cls: type[StepError], message: str, members: dict[str, Any]) -> StepError:
    return cls(message, **members)


class StepRequestError(StepError):
    """The step's request could not be made, or AWS refused it for what it says: another try would end the same way."""


class StepCallError(StepError):
    """AWS could not take the call now: throttling, a service fault, no capacity or a quota reached."""


class StepFailedError(StepError):
    """What the step ran has failed."""


class StepStoppedError(StepError):
    """What the step ran was stopped before it was done."""

    outcome = "was stopped"


class StepTimeoutError(StepError):
    """The step took longer than its task may."""

    outcome = "ran out of time"


class FailStepError(StepError):
    """A Fail step did what it is for."""
