"""Why something could not be done to a pipeline, or why its execution did not succeed."""

from __future__ import annotations

from typing import Any


class PipelineError(Exception):
    """Something is wrong with a pipeline or its execution.

    :param message: what happened.
    :param resource: the pipeline's name or the execution's ARN.
    :param code: AWS's error code, when a call was refused.
    """

    def __init__(self, message: str, *, resource: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.resource = resource
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.resource})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, {"resource": self.resource, "code": self.code})


def _rebuild(cls: type[PipelineError], message: str, members: dict[str, Any]) -> PipelineError:
    return cls(message, **members)


class PipelineCallError(PipelineError):
    """AWS could not take the call now: throttling, a service fault, no answer, a quota reached."""


class PipelineRequestError(PipelineError):
    """AWS refused the call for what it says: another try would end the same way."""


class PipelineChangedError(PipelineError):
    """What is deployed, or what an execution runs, is not the definition that the DAG was made of."""
