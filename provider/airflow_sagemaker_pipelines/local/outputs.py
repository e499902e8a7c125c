"""What jobs leave in S3 when their code is not run: stubs, or the files a rule gives."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import s3_side
from .errors import JobError

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

STUB_MODEL = {"STUB": "This model was not trained: the local endpoint did not run the job's code.\n"}


def content_bytes(content: Any) -> bytes:
    """Return a rule's file: text as it is, anything else as JSON."""
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def model_archive(files: Mapping[str, Any]) -> bytes:
    """Return a model.tar.gz; the same files give the same bytes' content, with no times in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            data = content_bytes(content)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def check_output_bucket(engine: Engine, uri: str) -> bool:
    """Tell whether a stub may be written there.

    Where code is run, a missing bucket fails the job as AWS does; without, a first try needs no bucket.

    :raises JobError: if the bucket is missing and code is run.
    """
    if s3_side.bucket_exists(engine.store, uri):
        return True
    if engine.state.settings.run_code:
        bucket, _ = s3_side.split_uri(uri)
        raise JobError(f"ClientError: The specified bucket does not exist: {bucket}")
    return False


def check_inputs(engine: Engine, uris: Iterable[str]) -> None:
    """Fail a job whose input is not there, if code is run.

    :raises JobError: with AWS's words.
    """
    if not engine.state.settings.run_code:
        return
    for uri in uris:
        if not s3_side.read_all(engine.store, uri):
            bucket, _ = s3_side.split_uri(uri)
            raise JobError(
                f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure '
                f"that the bucket exists in the selected region ({engine.store.region}), that objects exist under "
                f'that S3 prefix, and that the role has "s3:ListBucket" permissions on bucket "{bucket}".'
            )


def write_training(engine: Engine, resource: Resource, artifact: str) -> None:
    """Write the model artifact: the rule's ``model`` output, or a stub."""
    channels = resource.request.get("InputDataConfig") or []
    sources = [(channel.get("DataSource") or {}).get("S3DataSource") or {} for channel in channels]
    check_inputs(engine, [source["S3Uri"] for source in sources if _is_prefix(source)])
    given = resource.rule.outputs if resource.rule else {}
    if not given and not check_output_bucket(engine, artifact):
        return
    files = given.get("model", STUB_MODEL)
    if artifact.endswith(".tar.gz"):
        s3_side.put(engine.store, artifact, model_archive(files))
        return
    for name, content in files.items():
        s3_side.put(engine.store, f"{artifact.rstrip('/')}/{name}", content_bytes(content))


def write_processing(engine: Engine, resource: Resource) -> None:
    """Write the outputs that the rule gives.

    :raises JobError: if the rule names an output that the job does not have.
    """
    request = resource.request
    sources = [item.get("S3Input") or {} for item in request.get("ProcessingInputs") or []]
    check_inputs(engine, [source["S3Uri"] for source in sources if _is_prefix(source)])
    outputs = (request.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    places = {item["OutputName"]: (item.get("S3Output") or {}).get("S3Uri") for item in outputs}
    for uri in filter(None, places.values()):
        check_output_bucket(engine, uri)
    for name, files in (resource.rule.outputs if resource.rule else {}).items():
        uri = places.get(name)
        if uri is None:
            raise JobError(f"ClientError: a rule gives the output {name!r}; the job has {sorted(places)}")
        for file, content in files.items():
            s3_side.put(engine.store, f"{uri.rstrip('/')}/{file}", content_bytes(content))


def write_transform(engine: Engine, resource: Resource) -> None:
    """Write a ``.out`` per input with a ``0`` per line, or the rule's files."""
    request = resource.request
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    target = request["TransformOutput"]["S3OutputPath"].rstrip("/")
    check_inputs(engine, [source["S3Uri"]] if _is_prefix(source) else [])
    given = resource.rule.outputs if resource.rule else {}
    for files in given.values():
        for name, content in files.items():
            s3_side.put(engine.store, f"{target}/{name}", content_bytes(content))
    if given or not check_output_bucket(engine, target):
        return
    _, prefix = s3_side.split_uri(source["S3Uri"])
    # SageMaker keeps the part of the key behind the last slash of the prefix.
    folder = prefix[: prefix.rfind("/") + 1]
    for key, content in s3_side.read_all(engine.store, source["S3Uri"]).items():
        if not key.endswith("/"):
            lines = b"0\n" * max(1, len(content.splitlines()))
            s3_side.put(engine.store, f"{target}/{key.removeprefix(folder)}.out", lines)


def _is_prefix(source: Mapping[str, Any]) -> bool:
    return bool(source.get("S3Uri")) and source.get("S3DataType", "S3Prefix") == "S3Prefix"
