"""Between S3 and a job's directories."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from airflow_sagemaker_pipelines.local.runner.results import JobError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# A job already has a thread, and a pool that starts while the interpreter ends raises.
_ONE_THREAD = TransferConfig(use_threads=False)


class S3Url(NamedTuple):
    """Bucket and key (or key prefix) of an ``s3://`` URL."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> S3Url:
        """Split a URL; JobError when it is none of S3's."""
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise JobError(f"ClientError: Invalid S3 URL: {url}")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def inside(base: Path, relative: str) -> Path:
    """``base / relative``, refused with JobError if that is not below ``base`` (``..`` in a key)."""
    target = (base / relative.lstrip("/")).resolve()
    if not target.is_relative_to(base.resolve()):
        raise JobError(f"ClientError: Data download failed:The name {relative} leads out of its directory.")
    return target


class S3Transfer:
    """Downloads and uploads of one job. Every error becomes a JobError worded as a FailureReason."""

    def __init__(self, client: S3Client, region: str) -> None:
        self._client = client
        self._region = region

    def objects(self, url: str, data_type: str = "S3Prefix") -> list[tuple[S3Url, str]]:
        """What a data source means: objects with their names below the local directory, sorted by key.

        ``S3Prefix`` is every object whose key starts with the URL's, ``ManifestFile`` the objects that the file at
        the URL lists. Without any object the JobError says so in the words of the service.
        """
        found = list(self._listed(url) if data_type == "ManifestFile" else self._with_prefix(url))
        if not found:
            bucket = S3Url.parse(url).bucket
            raise JobError(
                f'ClientError: Data download failed:No S3 objects found under S3 URL "{url}" given in input data '
                f"source. Please ensure that the bucket exists in the selected region ({self._region}), that objects "
                "exist under that S3 prefix, and that the role has "
                f'"s3:ListBucket" permissions on bucket "{bucket}".'
            )
        return found

    def existing(self, url: str) -> list[tuple[S3Url, str]]:
        """The objects below a prefix, possibly none."""
        return list(self._with_prefix(url))

    def fetch(self, url: str, directory: Path, data_type: str = "S3Prefix") -> list[Path]:
        """Download a data source into ``directory``; returns the files."""
        directory.mkdir(parents=True, exist_ok=True)
        return [self.fetch_object(source, inside(directory, name)) for source, name in self.objects(url, data_type)]

    def fetch_object(self, source: S3Url, target: Path) -> Path:
        """Download one object."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            body = self._client.get_object(Bucket=source.bucket, Key=source.key)["Body"]
            with body, target.open("wb") as file:
                shutil.copyfileobj(body, file)
        except (ClientError, BotoCoreError) as error:
            raise JobError(f"ClientError: Data download failed:{_cause(error)}: {source}") from error
        except OSError as error:  # "a" and "a/b" are two objects, but cannot be two files
            raise JobError(f"ClientError: Data download failed:Cannot write {source}: {error}") from error
        return target

    def store(self, directory: Path, url: str) -> int:
        """Upload every file below ``directory``; returns their number."""
        base = S3Url.parse(url)
        files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
        for path in files:
            name = path.relative_to(directory).as_posix()
            self.store_file(path, S3Url(base.bucket, f"{base.key.rstrip('/')}/{name}".lstrip("/")))
        return len(files)

    def store_file(self, path: Path, target: S3Url) -> None:
        """Upload one file."""
        try:
            self._client.upload_file(str(path), target.bucket, target.key, Config=_ONE_THREAD)
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise JobError(f"ClientError: Artifact upload failed:{_cause(error)}: {target}") from error

    def _with_prefix(self, url: str) -> Iterator[tuple[S3Url, str]]:
        bucket, prefix = S3Url.parse(url)
        keys = self._keys(bucket, prefix)
        for key in keys:
            if key.endswith("/"):  # a folder, as the console makes them
                continue
            rest = key[len(prefix) :]
            if prefix.endswith("/") or not prefix or rest.startswith("/"):
                name = rest.lstrip("/")
            else:  # the object itself, or one whose name merely begins alike: named from the last folder on
                name = key[prefix.rfind("/") + 1 :]
            yield S3Url(bucket, key), name

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        keys: list[str] = []
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                keys += [item["Key"] for item in page.get("Contents", ())]
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "NoSuchBucket":
                return []
            raise JobError(f"ClientError: Data download failed:{_cause(error)}: s3://{bucket}/{prefix}") from error
        return sorted(keys)

    def _listed(self, url: str) -> Iterator[tuple[S3Url, str]]:
        source = S3Url.parse(url)
        try:
            body = self._client.get_object(Bucket=source.bucket, Key=source.key)["Body"].read()
            first, *names = json.loads(body)
            prefix = str(first["prefix"])
        except (ClientError, BotoCoreError) as error:
            raise JobError(f"ClientError: Data download failed:{_cause(error)}: {url}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise JobError(f"ClientError: Data download failed:Invalid manifest file {url}") from error
        for name in names:
            yield S3Url.parse(prefix + str(name)), str(name)


def _cause(error: Exception) -> str:
    if isinstance(error, ClientError):
        details = error.response["Error"]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
        return f"{details['Code']} ({status}): {details.get('Message', '')}".rstrip(".")
    return str(error)


def extract(archive: Path, directory: Path) -> None:
    """Unpack a tar archive, refusing members that would leave ``directory`` or carry devices or foreign owners."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(directory, filter="data")
            else:  # Python before 3.11.4
                _refuse_unsafe_members(tar)
                tar.extractall(directory)  # noqa: S202 - every member was looked at
    except (tarfile.TarError, OSError, EOFError) as error:
        raise JobError(f"ClientError: Cannot extract {archive.name}: {error}") from error


def _refuse_unsafe_members(tar: tarfile.TarFile) -> None:
    for member in tar.getmembers():
        path = PurePosixPath(member.name)
        if not (member.isfile() or member.isdir()) or path.is_absolute() or ".." in path.parts:
            raise tarfile.TarError(f"{member.name!r} is not a plain file or folder inside the archive")


def pack(directory: Path, archive: Path) -> bool:
    """Make a ``.tar.gz`` of what is in ``directory``; False, and no file, if that is nothing."""
    entries = sorted(directory.iterdir()) if directory.is_dir() else []
    if not entries:
        return False
    with tarfile.open(archive, "w:gz") as tar:
        for entry in entries:
            tar.add(entry, arcname=entry.name)
    return True
