"""Errors as AWS words them: a code, a message, an HTTP status."""

from __future__ import annotations


class AwsError(Exception):
    """An answer of the service that is an error.

    :param code: the AWS error code, for example ``ValidationException``.
    :param message: the text a client shows.
    :param status: the HTTP status; botocore retries 500, 502, 503 and 504 and nothing below.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class JobError(Exception):
    """Raised while a job does its work; the text becomes the job's FailureReason."""


def validation_error(message: str) -> AwsError:
    """Return the error that SageMaker gives for most refused requests."""
    return AwsError("ValidationException", message)


def not_implemented(operation: str) -> AwsError:
    """Return the error for an operation that the local endpoint does not have.

    The status is 501 on purpose: botocore does not retry it, where it retries moto's 500 page.
    """
    return AwsError("NotImplemented", f"The local AWS endpoint has no {operation} operation.", 501)
