"""Loads a pipeline definition from wherever it is."""

from __future__ import annotations

import codecs
import gc
import json
import os
import re
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from airflow_sagemaker_pipelines.definition.check_references import ReferenceChecker
from airflow_sagemaker_pipelines.definition.errors import PipelineDefinitionError, Problem
from airflow_sagemaker_pipelines.definition.expressions import Get, Join, JsonGet, Value, ValueParser
from airflow_sagemaker_pipelines.definition.graph import Graph, walk
from airflow_sagemaker_pipelines.definition.model import (
    VERSION,
    ExperimentConfig,
    MlflowConfig,
    PipelineDefinition,
)
from airflow_sagemaker_pipelines.definition.parameters import read_parameters
from airflow_sagemaker_pipelines.definition.read_steps import StepsReader
from airflow_sagemaker_pipelines.definition.reader import ObjectReader, Problems, json_type, nearest

#: SageMaker takes 1,048,576 characters inline and does not say how much from S3; this is a bound against accidents.
MAX_BYTES = 16 * 1024 * 1024

_METADATA_KEY = re.compile(r"[A-Za-z0-9\-_]{1,128}")


@runtime_checkable
class HasDefinition(Protocol):
    """An object that can say its definition, such as the SageMaker SDK's ``Pipeline``."""

    def definition(self) -> str:
        """Return the definition as JSON text."""


DefinitionSource: TypeAlias = "str | os.PathLike[str] | bytes | Mapping[str, Any] | HasDefinition | PipelineDefinition"


def load_definition(source: DefinitionSource, *, overridden_steps: Collection[str] = ()) -> PipelineDefinition:
    """Load and check a pipeline definition.

    :param source: the path of a JSON file, JSON text, a dict, or an object with a ``definition()`` method that
        returns JSON text (the SageMaker SDK's ``Pipeline``). Text that begins with ``{`` is JSON, other text a path.
    :param overridden_steps: names of steps that the caller runs by other means. Of these alone, types whose arguments
        AWS does not document (Athena, HubContent, Bedrock…) are let through.
    :returns: the definition as an immutable, typed value.
    :raises PipelineDefinitionError: if the source cannot be read or anything in the document is wrong. All problems
        are reported at once. No other exception comes out, whatever the source.
    """
    if isinstance(source, PipelineDefinition):
        return source
    try:
        with _collection_paused():
            return _read_document(_decode(_text_of(source)), overridden_steps)
    except RecursionError:
        raise _failure("the document", "is nested too deep", "Flatten it") from None


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Pause Python's search for garbage in cycles, of which loading makes none.

    A definition is many small objects at once, which sets that search off again and again, each time through all of
    Airflow: it took four fifths of the time to load 500 steps.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _failure(where: str, what: str, fix: str) -> PipelineDefinitionError:
    return PipelineDefinitionError([Problem(where, what, fix)])


def _text_of(source: object) -> bytes:
    """Return the document as JSON text in UTF-8."""
    try:
        return _read(source)
    except (PipelineDefinitionError, RecursionError):
        raise
    except Exception as error:  # mappings, paths and pipelines are others' code, which may raise anything
        raise _failure("the source", f"cannot be read: {_say(error)}", "Mend it") from error


def _say(error: Exception) -> str:
    # Works even for an exception that cannot be printed.
    return traceback.format_exception_only(error)[0].strip()


def _read(source: object) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str):
        # A byte order mark does not make it a path.
        if source.lstrip("\ufeff \t\r\n").startswith("{"):
            return source.encode("utf-8", "surrogatepass")
        return _read_file(source)
    if isinstance(source, os.PathLike):
        return _read_file(source)
    if isinstance(source, Mapping):
        return _encode(source)
    if callable(read_bytes := getattr(source, "read_bytes", None)) and not isinstance(source, type):
        # A path somewhere else than on this machine, such as Airflow's ObjectStoragePath.
        return bytes(read_bytes())
    definition = None if isinstance(source, type) else getattr(source, "definition", None)
    if not callable(definition):
        raise _failure(
            "the source",
            f"is of type {type(source).__name__}",
            "Pass a path, JSON text, a dict or a Pipeline",
        )
    try:
        text = definition()
    except Exception as error:  # whatever the object raises belongs into the one exception that callers handle
        raise _failure("the source", f"definition() failed: {_say(error)}", "Mend the pipeline") from error
    if not isinstance(text, str | bytes):
        raise _failure("the source", f"definition() returned {type(text).__name__}", "Return JSON text")
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _read_file(path: str | os.PathLike[str]) -> bytes:
    name = str(path)[:200]
    try:
        with Path(path).open("rb") as file:
            # A device has no size and no end.
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _failure(name or "the source", f"cannot be read: {reason}", "Pass the path of a JSON file") from error


def _encode(source: Mapping[Any, Any]) -> bytes:
    try:
        return json.dumps(dict(source), allow_nan=False, default=_plain).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, OverflowError) as error:
        raise _failure(
            "the source", f"is not JSON: {error}", "Use only objects, lists, strings, numbers, booleans, null"
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _decode(text: bytes) -> Any:
    if len(text) > MAX_BYTES:
        raise _failure("the document", "is too large", f"Use at most {MAX_BYTES} bytes")
    try:
        return msgspec.json.decode(text.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _failure("the document", f"is not JSON: {error}", "Pass what pipeline.definition() returns") from error


def _read_document(node: Any, overridden_steps: Collection[str]) -> PipelineDefinition:
    problems = Problems()
    document = ObjectReader.of(node, (), problems)
    version = document.text("Version")
    if version not in {None, VERSION}:
        document.problem("Version", f"'{str(version)[:80]}' is unknown", f"Write '{VERSION}'")
    parameters = read_parameters(document)
    experiment, experiment_values = _read_experiment(document)
    reader = StepsReader(problems, overridden_steps)
    steps = reader.read(document.items("Steps", required=True))
    all_steps = MappingProxyType({step.name: step for step in walk(steps)})
    graph = Graph([step for step in all_steps.values() if step.loop is None])
    checker = ReferenceChecker(
        parameters=parameters,
        steps=all_steps,
        graph=graph,
        names=reader.names,
        has_experiment=experiment is not None,
        problems=problems,
    )
    checker.check(walk(steps))
    for reference, at in experiment_values.references:
        checker.check_reference(reference, at, None)
    mlflow = _read_mlflow(document)
    metadata = _read_metadata(document)
    if problems:
        raise PipelineDefinitionError(problems)
    return PipelineDefinition(
        metadata=metadata,
        parameters=parameters,
        steps=steps,
        all_steps=all_steps,
        graph=graph,
        experiment_config=experiment,
        mlflow_config=mlflow,
        source=msgspec.json.encode(node).decode(),
    )


def _read_metadata(document: ObjectReader) -> Mapping[str, str]:
    reader = document.object("Metadata")
    for key in reader.node:
        if not _METADATA_KEY.fullmatch(key):
            reader.problem(key, "is not a metadata key", f"Match {_METADATA_KEY.pattern}")
        reader.text(key, max_length=1024)
    return MappingProxyType({key: value for key, value in reader.node.items() if value is not None})


def _read_experiment(document: ObjectReader) -> tuple[ExperimentConfig | None, ValueParser]:
    values = ValueParser(document.problems)
    if not document.has("PipelineExperimentConfig"):
        return None, values
    reader = document.object("PipelineExperimentConfig")
    for key in reader.node:
        if key not in {"ExperimentName", "TrialName"}:
            reader.problem(key, "is unknown", nearest(key, ("ExperimentName", "TrialName")))
    names = [_read_experiment_name(reader, key, values) for key in ("ExperimentName", "TrialName")]
    return ExperimentConfig(experiment_name=names[0], trial_name=names[1]), values


def _read_experiment_name(reader: ObjectReader, key: str, values: ValueParser) -> Value:
    node = reader.require(key)
    if node is None:
        return None
    found = len(reader.problems)
    value = values.parse(node, (*reader.at, key))
    if not isinstance(value, str | Get | Join | JsonGet) and len(reader.problems) == found:
        reader.problem(key, f"is {json_type(node)}", "Write a string or an expression")
    return value


def _read_mlflow(document: ObjectReader) -> MlflowConfig | None:
    if not document.has("MlflowConfig"):
        return None
    reader = document.object("MlflowConfig")
    arn = reader.text("MlflowResourceArn", required=True)
    return MlflowConfig(resource_arn=arn or "", experiment_name=reader.text("MlflowExperimentName", max_length=256))
