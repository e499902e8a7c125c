"""The S3 of the same process, without a detour over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeKey, s3_backends

from .errors import JobError

if TYPE_CHECKING:
    from moto.s3.models import S3Backend

    from .store import Store


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URI."""
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise JobError(f"ClientError: Invalid S3 URI: {uri}")
    return parts.netloc, parts.path.lstrip("/")


def bucket_exists(store: Store, uri: str) -> bool:
    """Tell whether the URI's bucket is there."""
    bucket, _ = split_uri(uri)
    backend = _backend(store)
    return bucket in backend.buckets or bucket in s3_backends.bucket_accounts


def put(store: Store, uri: str, content: bytes) -> None:
    """Write an object.

    :raises JobError: if the bucket is missing or not this account's.
    """
    bucket, key = split_uri(uri)
    try:
        _backend(store).put_object(bucket, key, content)
    except S3ClientError as error:
        raise JobError(
            f"ClientError: Failed to upload to {uri}: {error.code}: {error.message}, exit code: 1"
        ) from error


def get(store: Store, uri: str, *, version: str | None = None, since: float | None = None) -> bytes | None:
    """Return an object's content, or None if there is none, or none that was written since a moment."""
    bucket, key = split_uri(uri)
    if not bucket_exists(store, uri):
        return None
    try:
        found = _backend(store).get_object(bucket, key, version_id=version)
    except S3ClientError:
        return None
    if not isinstance(found, FakeKey) or (since is not None and found.last_modified.timestamp() < since):
        return None
    return bytes(found.value)


def delete(store: Store, uri: str) -> None:
    """Delete an object; one that is not there is no error.

    :raises JobError: if the bucket is missing or not this account's.
    """
    bucket, key = split_uri(uri)
    try:
        _backend(store).delete_object(bucket, key)
    except S3ClientError as error:
        raise JobError(f"Failed to delete {uri}: {error.code}: {error.message}") from error


def delete_all(store: Store, uri: str) -> None:
    """Delete the objects under a prefix."""
    bucket, _ = split_uri(uri)
    for key in read_all(store, uri):
        delete(store, f"s3://{bucket}/{key}")


def read_all(store: Store, uri: str) -> dict[str, bytes]:
    """Return the objects under a prefix by key; none if the bucket is missing."""
    if not bucket_exists(store, uri):
        return {}
    bucket_name, prefix = split_uri(uri)
    backend = _backend(store)
    keys, _, _, _ = backend.list_objects(backend.get_bucket(bucket_name), prefix, None, None, None)
    return {key.name: bytes(key.value) for key in keys if isinstance(key, FakeKey)}


def _backend(store: Store) -> S3Backend:
    return s3_backends[store.account][store.partition]
