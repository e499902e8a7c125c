"""Small files in S3 that steps read and write."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.steps.aws import Clients, IncompleteAnswerError, error_code, required

#: Nothing that a step reads as a whole is larger; AWS does not say its own limit.
MAX_FILE_BYTES = 16 * 1024 * 1024

#: A bucket that is not there holds no file either.
_MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "404"})


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key; the key of a bucket alone is empty.

    :raises ValueError: if it is not an S3 URI.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ValueError(f"'{uri}' is not an S3 URI")
    return bucket, key


def read_file(clients: Clients, uri: str, *, since: datetime | None = None) -> bytes | None:
    """Return what a file holds, ``None`` if there is none.

    :param since: a file that was written before counts as none. S3 tells whole seconds.
    :raises ClientError: if S3 does not answer; without ``s3:ListBucket`` it refuses to say that a file is missing.
    :raises ValueError: if it is not an S3 URI, or the file is too large to be what it should be.
    """
    bucket, key = split_s3_uri(uri)
    try:
        answer = clients("s3").get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in _MISSING:
            return None
        raise
    if since is not None and required(answer, "LastModified", "GetObject") < since.replace(microsecond=0):
        return None
    return read_body(answer, uri)


def read_body(answer: Mapping[str, Any], uri: str) -> bytes:
    """Return the content that a GetObject answer carries.

    :raises ValueError: if it is too large to be what it should be.
    :raises IncompleteAnswerError: if it was cut off on the way, of which botocore says nothing when asked for a part.
    """
    content: bytes = required(answer, "Body", "GetObject").read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{uri} is larger than {MAX_FILE_BYTES} bytes")
    if len(content) < int(answer.get("ContentLength", 0)):
        raise IncompleteAnswerError(operation="GetObject", member="the end of its body")
    return content
