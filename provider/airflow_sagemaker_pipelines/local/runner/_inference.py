"""Serves a framework model's inference script for one batch transform; a script that runs inside the job.

``python _inference.py transform.json``. It stands for the model server of the framework images and for the agent
that SageMaker puts before it: ``model_fn`` once, then per payload ``input_fn``, ``predict_fn`` and ``output_fn`` (or
``transform_fn`` instead of these three), with defaults for CSV, JSON and NPY through numpy. Only the standard
library is imported before the defaults are needed.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

BAD_REQUEST = 4
"""Exit status when a record has a content type or a filter that cannot be served."""

_ROW_TYPES = ("text/csv", "application/jsonlines")
_TEXT_TYPES = frozenset({"text/csv", "application/json", "application/jsonlines", "text/plain"})


class BadRequest(Exception):  # noqa: N818 - a HTTP status, not an error class of ours
    """What the container would answer with 4xx."""


def load(program: Path) -> ModuleType:
    """Import the inference script under its own name, so that what it pickles or unpickles finds it."""
    spec = importlib.util.spec_from_file_location(program.stem, program)
    if spec is None or spec.loader is None:
        raise ImportError(f"{program} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[program.stem] = module
    spec.loader.exec_module(module)
    return module


class Server:
    """The model with its four functions."""

    def __init__(self, script: ModuleType, model_dir: str) -> None:
        if not hasattr(script, "model_fn"):
            raise NotImplementedError("Please provide a model_fn implementation.")
        self.model = script.model_fn(model_dir)
        self._transform: Callable[..., Any] | None = getattr(script, "transform_fn", None)
        self._input: Callable[..., Any] = getattr(script, "input_fn", decode)
        self._predict: Callable[..., Any] = getattr(script, "predict_fn", lambda data, model: model.predict(data))
        self._output: Callable[..., Any] = getattr(script, "output_fn", encode)

    def answer(self, payload: bytes, content_type: str, accept: str) -> bytes:
        """Answer one request."""
        body: str | bytes = payload.decode() if content_type.split(";", maxsplit=1)[0] in _TEXT_TYPES else payload
        if self._transform is not None:
            result = self._transform(self.model, body, content_type, accept)
        else:
            prediction = self._predict(self._input(body, content_type), self.model)
            result = self._output(prediction, accept)
        return as_bytes(result)


def as_bytes(result: Any) -> bytes:
    """The body of what ``output_fn`` returned: text, bytes, ``(body, content type)`` or a response object."""
    if isinstance(result, tuple):
        result = result[0]
    if hasattr(result, "get_data"):  # a Flask response
        result = result.get_data()
    elif hasattr(result, "response") and not isinstance(result, (str, bytes)):
        result = result.response
    if isinstance(result, (bytes, bytearray)):
        return bytes(result)
    return result.encode() if isinstance(result, str) else json.dumps(result).encode()


def decode(body: str | bytes, content_type: str) -> Any:
    """Default ``input_fn``: a numpy array."""
    import numpy as np  # noqa: PLC0415 - only where a script relies on the default

    kind = content_type.split(";", maxsplit=1)[0]
    if kind == "text/csv":
        text = body if isinstance(body, str) else body.decode()
        return np.genfromtxt(io.StringIO(text), dtype=np.float32, delimiter=",", ndmin=2)
    if kind == "application/json":
        return np.array(json.loads(body))
    if kind == "application/x-npy" and isinstance(body, bytes):
        return np.load(io.BytesIO(body), allow_pickle=False)
    raise BadRequest(f"content type {content_type} is not supported by this framework")


def encode(prediction: Any, accept: str) -> bytes:
    """Default ``output_fn``."""
    import numpy as np  # noqa: PLC0415 - as above

    kind = accept.split(";", maxsplit=1)[0]
    buffer = io.BytesIO()
    if kind == "text/csv":
        np.savetxt(buffer, np.asarray(prediction), delimiter=",", fmt="%s")
        return buffer.getvalue()
    if kind == "application/x-npy":
        np.save(buffer, np.asarray(prediction), allow_pickle=False)
        return buffer.getvalue()
    if kind in {"application/json", "*/*", ""}:
        return json.dumps(np.asarray(prediction).tolist()).encode()
    raise BadRequest(f"accept {accept} is not supported by this framework")


def payloads(content: bytes, *, split: str, strategy: str, max_bytes: int) -> Iterator[list[bytes]]:
    """The requests that one object becomes, as lists of their records."""
    if split != "Line":
        yield [content]
        return
    batch: list[bytes] = []
    size = 0
    for line in content.splitlines():
        if not line.strip():
            continue
        if batch and (strategy == "SingleRecord" or size + len(line) + 1 > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield batch


_STEP = re.compile(r"\.(\w+)|\[(?:'([^']*)'|([-\d,: ]+))\]")


def select(value: Any, path: str) -> Any:
    """Apply the part of JSONPath that filters commonly use: ``$``, ``.a``, ``['a']``, ``[0]``, ``[0,2]``, ``[1:]``."""
    if not path.startswith("$") or _STEP.sub("", path[1:]):
        raise BadRequest(f"the filter {path} cannot be applied here")
    for name, quoted, index in _STEP.findall(path):
        if not index:
            value = value[name or quoted]
        elif ":" in index:
            start, _, end = index.partition(":")
            value = value[int(start) if start.strip() else None : int(end) if end.strip() else None]
        elif "," in index:
            value = [value[int(part)] for part in index.split(",")]
        else:
            value = value[int(index)]
    return value


def _parse(record: bytes, content_type: str) -> Any:
    if content_type.startswith("text/csv"):
        return next(csv.reader([record.decode()]), [])
    return json.loads(record)


def _format(value: Any, content_type: str) -> bytes:
    if not content_type.startswith("text/csv"):
        return json.dumps(value).encode()
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(value if isinstance(value, list) else [value])
    return out.getvalue().encode()


class Agent:
    """What SageMaker does around the model server, by the members of one transform request."""

    def __init__(self, server: Server, spec: dict[str, Any]) -> None:
        self._server = server
        self._spec = spec
        self._content_type: str = spec["content_type"]
        self._accept: str = spec["accept"] or (self._content_type if self._filters else "application/json")

    @property
    def _filters(self) -> bool:
        spec = self._spec
        return bool(spec["join"]) or spec["input_filter"] != "$" or spec["output_filter"] != "$"

    def transform(self, content: bytes) -> bytes:
        """The output object of one input object."""
        spec = self._spec
        parts = payloads(content, split=spec["split"], strategy=spec["strategy"], max_bytes=spec["max_bytes"])
        answers = [self._one(records) for records in parts]
        if spec["assemble"] == "Line":
            return b"".join(answer.rstrip(b"\n") + b"\n" for answer in answers)
        return b"".join(answers)

    def _one(self, records: list[bytes]) -> bytes:
        kind = self._content_type
        given = records
        if self._spec["input_filter"] != "$":
            records = [
                _format(select(_parse(record, kind), self._spec["input_filter"]), kind)
                for record in self._lines(records)
            ]
        answer = self._server.answer(b"\n".join(records), kind, self._accept)
        if not (self._spec["join"] or self._spec["output_filter"] != "$"):
            return answer
        return self._joined(self._lines(given), answer)

    def _lines(self, records: list[bytes]) -> list[bytes]:
        # Without SplitType an object of rows is one payload, but filters go row by row all the same.
        if self._content_type.startswith(_ROW_TYPES):
            return [line for record in records for line in record.splitlines() if line.strip()]
        return records

    def _joined(self, given: list[bytes], answer: bytes) -> bytes:
        is_csv = self._content_type.startswith("text/csv")
        results = self._lines([answer])
        if len(results) != len(given):
            raise BadRequest(f"{len(given)} records were sent, {len(results)} results came back")
        rows = []
        for record, line in zip(given, results, strict=True):
            value = _parse(line, self._content_type)
            if self._spec["join"]:
                source = _parse(record, self._content_type)
                value = source + value if is_csv else self._merged(source, value)
            rows.append(_format(select(value, self._spec["output_filter"]), self._content_type))
        return b"\n".join(rows)

    @staticmethod
    def _merged(source: Any, value: Any) -> Any:
        if isinstance(source, dict):
            return {**source, "SageMakerOutput": value}
        return {"SageMakerInput": source, "SageMakerOutput": value}


def main() -> int:
    """Transform every file that the specification names."""
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        agent = Agent(Server(load(Path(spec["code"]) / spec["program"]), spec["model_dir"]), spec)
        for source, target in spec["files"]:
            content = Path(source).read_bytes()
            Path(target).write_bytes(agent.transform(gzip.decompress(content) if spec["gzip"] else content))
    except BadRequest:
        traceback.print_exc()
        return BAD_REQUEST
    return 0


if __name__ == "__main__":
    sys.exit(main())
