"""CreatePipeline and its likes: pipelines, versions, aliases."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import s3_side
from ..crud import Operation
from ..errors import AwsError, JobError, validation_error
from ..models import CREATED_BY
from ..paging import is_between, page
from .arguments import read_definition
from .documents import present
from .store import Pipeline, Version

if TYPE_CHECKING:
    from ..engine import Engine

_MOST_ALIASES = 10
_ALIAS = re.compile(r"[a-zA-Z0-9._-]{1,128}")


def create(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """CreatePipeline: version 1. A token that was used before gets the first one's ARN."""
    home, name = engine.pipelines, params["PipelineName"]
    key = ("CreatePipeline", name.lower(), params["ClientRequestToken"])
    text = _definition_text(engine, params)
    if text is None:
        raise validation_error("Either Pipeline Definition or Pipeline Definition S3 location should be provided")
    definition = read_definition(text, engine.state.pipelines)
    now = time.time()
    pipeline = Pipeline(
        name=name,
        arn=home.arn(name),
        role_arn=params["RoleArn"],
        display_name=params.get("PipelineDisplayName") or name,
        description=params.get("PipelineDescription"),
        parallelism=params.get("ParallelismConfiguration"),
        tags={tag["Key"]: tag["Value"] for tag in params.get("Tags") or ()},
        created=now,
        modified=now,
    )
    version = Version(number=1, text=text, definition=definition, created=now)
    pipeline.versions.append(version)
    with home.lock:
        if key in home.tokens:
            return {"PipelineArn": home.tokens[key]}
        _add_aliases(pipeline, version, params.get("PipelineVersionAliases") or ())
        home.add(pipeline)
        home.tokens[key] = pipeline.arn
    return {"PipelineArn": pipeline.arn}


def update(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """UpdatePipeline: a definition that differs from the latest version's makes a new one."""
    home = engine.pipelines
    pipeline = home.get(params["PipelineName"])
    text = _definition_text(engine, params)
    definition = None if text is None else read_definition(text, engine.state.pipelines)
    aliases = params.get("PipelineVersionAliases") or ()
    with home.lock:
        changed = text is not None and definition is not None and definition.digest != pipeline.latest.definition.digest
        if aliases and not changed:
            raise validation_error("PipelineVersionAliases can be given only with a definition that has changed.")
        if changed and text is not None and definition is not None:
            number = pipeline.latest.number + 1
            version = Version(number=number, text=text, definition=definition, created=time.time())
            _add_aliases(pipeline, version, aliases)
            pipeline.versions.append(version)
        pipeline.role_arn = params.get("RoleArn", pipeline.role_arn)
        pipeline.display_name = params.get("PipelineDisplayName", pipeline.display_name)
        pipeline.description = params.get("PipelineDescription", pipeline.description)
        pipeline.parallelism = params.get("ParallelismConfiguration", pipeline.parallelism)
        pipeline.modified = time.time()
        return {"PipelineArn": pipeline.arn, "PipelineVersionId": pipeline.latest.number}


def _definition_text(engine: Engine, params: Mapping[str, Any]) -> str | None:
    text, place = params.get("PipelineDefinition"), params.get("PipelineDefinitionS3Location")
    if text is not None and place is not None:
        raise validation_error("Both Pipeline Definition and Pipeline Definition S3 Location shouldn't be present")
    if place is None:
        return text
    uri = f"s3://{place['Bucket']}/{place['ObjectKey']}"
    try:
        content = s3_side.get(engine.store, uri, version=place.get("VersionId"))
    except JobError as error:
        raise validation_error(str(error)) from error
    if content is None:
        raise validation_error(f"Unable to get the pipeline definition from {uri}: there is no such object.")
    return content.decode("utf-8", "replace")


def delete(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """DeletePipeline: not while one of its executions goes on. Their records go with it."""
    home = engine.pipelines
    with home.lock:
        pipeline = home.get(params["PipelineName"])
        running = [execution for execution in pipeline.executions if not execution.is_over]
        if running:
            raise AwsError(
                "ConflictException", f"Pipeline '{pipeline.arn}' cannot be deleted: {running[0].arn} is running."
            )
        home.remove(pipeline)
    return {"PipelineArn": pipeline.arn}


def describe(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """DescribePipeline: the latest version, or the one that is asked for."""
    pipeline = engine.pipelines.get(params["PipelineName"])
    version = pipeline.version(params.get("PipelineVersionId"), params.get("PipelineVersionAlias"))
    return present(
        {
            "PipelineArn": pipeline.arn,
            "PipelineName": pipeline.name,
            "PipelineDisplayName": pipeline.display_name,
            "PipelineDefinition": version.text,
            "PipelineDescription": pipeline.description,
            "RoleArn": pipeline.role_arn,
            "PipelineStatus": "Active",
            "CreationTime": pipeline.created,
            "LastModifiedTime": pipeline.modified,
            "LastRunTime": pipeline.last_run,
            "CreatedBy": CREATED_BY,
            "LastModifiedBy": CREATED_BY,
            "ParallelismConfiguration": pipeline.parallelism,
            "PipelineVersionDisplayName": version.display_name,
            "PipelineVersionDescription": version.description,
            "PipelineVersionAliases": version.aliases or None,
        }
    )


def list_pipelines(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListPipelines."""
    prefix = params.get("PipelineNamePrefix", "")
    found = [
        item
        for item in engine.pipelines.all()
        if item.name.startswith(prefix) and is_between(item.created, params, "Created")
    ]
    if params.get("ManagedBy") == "AWS":
        found = []
    keys = {"Name": lambda item: item.name, "CreationTime": lambda item: item.created}
    shown, token = page(found, params, defaults=("CreationTime", "Descending"), keys=keys)
    summaries = [_pipeline_summary(item) for item in shown]
    return present({"PipelineSummaries": summaries, "NextToken": token})


def _pipeline_summary(pipeline: Pipeline) -> dict[str, Any]:
    return present(
        {
            "PipelineArn": pipeline.arn,
            "PipelineName": pipeline.name,
            "PipelineDisplayName": pipeline.display_name,
            "PipelineDescription": pipeline.description,
            "RoleArn": pipeline.role_arn,
            "CreationTime": pipeline.created,
            "LastModifiedTime": pipeline.modified,
            "LastExecutionTime": pipeline.last_run,
        }
    )


def list_versions(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """ListPipelineVersions: newest first unless asked otherwise."""
    pipeline = engine.pipelines.get(params["PipelineName"])
    found = [version for version in pipeline.versions if is_between(version.created, params, "Created")]
    keys = {"Number": lambda item: item.number}
    shown, token = page(found, params, defaults=("Number", "Descending"), keys=keys)
    summaries = [
        present(
            {
                "PipelineArn": pipeline.arn,
                "PipelineVersionId": version.number,
                "CreationTime": version.created,
                "PipelineVersionDescription": version.description,
                "PipelineVersionDisplayName": version.display_name,
                "LastExecutionPipelineExecutionArn": version.last_execution,
                "PipelineVersionAliases": version.aliases or None,
            }
        )
        for version in shown
    ]
    return present({"PipelineVersionSummaries": summaries, "NextToken": token})


def update_version(engine: Engine, params: Mapping[str, Any]) -> dict[str, Any]:
    """UpdatePipelineVersion: names, and aliases, which must be taken from one version before another has them."""
    home = engine.pipelines
    with home.lock:
        pipeline = home.get(params["PipelineArn"])
        version = pipeline.version(params["PipelineVersionId"], None)
        operations = params.get("PipelineVersionAliasOperations") or {}
        for alias in operations.get("Remove") or ():
            if alias not in version.aliases:
                raise validation_error(f"Pipeline version {version.number} has no alias '{alias}'.")
        kept = [alias for alias in version.aliases if alias not in (operations.get("Remove") or ())]
        before, version.aliases = version.aliases, kept
        try:
            _add_aliases(pipeline, version, operations.get("Add") or ())
        except AwsError:
            version.aliases = before
            raise
        version.display_name = params.get("PipelineVersionDisplayName", version.display_name)
        version.description = params.get("PipelineVersionDescription", version.description)
    return {"PipelineArn": pipeline.arn, "PipelineVersionId": version.number}


def _add_aliases(pipeline: Pipeline, version: Version, aliases: Iterable[str]) -> None:
    added = list(version.aliases)
    for alias in aliases:
        if not _ALIAS.fullmatch(alias) or alias.isdigit():
            raise validation_error(f"'{alias}' is not an alias: 1 to 128 of [a-zA-Z0-9._-], and not only digits.")
        for other in pipeline.versions:
            if other is not version and alias in other.aliases:
                raise AwsError(
                    "ConflictException",
                    f"Alias '{alias}' is in use by pipeline version {other.number}; remove it there first.",
                )
        if alias not in added:
            added.append(alias)
    if len(added) > _MOST_ALIASES:
        raise validation_error(f"A pipeline version has at most {_MOST_ALIASES} aliases.")
    version.aliases = added


OPERATIONS: dict[str, Operation] = {
    "CreatePipeline": create,
    "UpdatePipeline": update,
    "DeletePipeline": delete,
    "DescribePipeline": describe,
    "ListPipelines": list_pipelines,
    "ListPipelineVersions": list_versions,
    "UpdatePipelineVersion": update_version,
}
