"""Puts data and scripts where a definition looks for them.

Beside a definition lies `assets.json`, written by whoever built the definition:
`{"s3://bucket/key": {"file": …} | {"archive": […]} | {"dataset": …}}`, paths relative to it.
"""

import csv
import importlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.local.demo.errors import DemoError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MANIFEST = "assets.json"
TARGET = "target"


def upload_assets(s3: "S3Client", dags: Path) -> list[str]:
    """Upload everything that the manifests below `dags` name, with the buckets; returns the S3 URIs."""
    uploaded = []
    buckets = set()
    for uri, body in read_assets(dags):
        bucket, key = split_uri(uri)
        if bucket not in buckets:
            s3.create_bucket(Bucket=bucket)
            buckets.add(bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        uploaded.append(uri)
    return uploaded


def read_assets(dags: Path) -> Iterator[tuple[str, bytes]]:
    """S3 URI and content of every asset of every manifest below `dags`."""
    for manifest in sorted(dags.glob(f"**/{MANIFEST}")):
        for uri, source in json.loads(manifest.read_text()).items():
            yield uri, _content(source, manifest)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise DemoError(f"{uri!r} is not an S3 URI.")
    return bucket, key


def _content(source: Mapping[str, Any], manifest: Path) -> bytes:
    folder = manifest.parent
    match source:
        case {"file": str(name)}:
            return (folder / name).read_bytes()
        case {"archive": [*names]}:
            return archive(folder / str(name) for name in names)
        case {"dataset": str(name)}:
            return dataset(name)
    raise DemoError(f"{manifest}: {source!r} is none of file, archive, dataset.")


def archive(paths: Iterator[Path]) -> bytes:
    """A .tar.gz of files by their base names, as the SageMaker SDK packs a job's source."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in paths:
            tar.add(path, arcname=path.name)
    return buffer.getvalue()


def dataset(name: str) -> bytes:
    """A data set that scikit-learn ships, as CSV with a header; the column `target` last."""
    datasets = importlib.import_module("sklearn.datasets")  # only with the demo extra; heavy
    loader = getattr(datasets, f"load_{name}", None)
    if loader is None:
        raise DemoError(f"scikit-learn ships no data set {name!r}.")
    data = loader()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(str(feature).replace(" ", "_") for feature in data.feature_names), TARGET])
    for features, target in zip(data.data.tolist(), data.target.tolist(), strict=True):
        writer.writerow([*features, target])
    return text.getvalue().encode()
