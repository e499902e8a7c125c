"""Brings a definition into SageMaker: the pipeline is created, or updated when its definition differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_sagemaker_pipelines.definition import PipelineDefinition, PipelineDefinitionError, load_definition
from airflow_sagemaker_pipelines.definition.changes import describe_changes, step_digests
from airflow_sagemaker_pipelines.executions.calls import pipeline_call
from airflow_sagemaker_pipelines.executions.errors import PipelineChangedError, PipelineRequestError
from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, error_code, error_message, required

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.aws import Clients

#: What happens to the pipeline before an execution starts: it is created or updated; it must be there with this
#: definition; nobody looks.
Deploy = Literal["upsert", "require", "never"]

#: SageMaker takes this many characters of a definition in a request.
_MAX_DEFINITION_LENGTH = 1_048_576
_NOT_FOUND = frozenset({"ResourceNotFound", "ResourceNotFoundException"})
#: Two runs that create the same pipeline at once: one of them is told so, in either way.
_EXISTS = frozenset({"ConflictException", "ResourceInUse", "ValidationException"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A pipeline as it is deployed."""

    arn: str
    version_id: int | None = None
    """The version that was made just now; ``None`` if the pipeline was left as it is, or is new."""
    action: Literal["created", "updated", "unchanged"]


def upsert(
    clients: Clients,
    definition: PipelineDefinition,
    *,
    name: str,
    role_arn: str | None,
    token: str,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Deployment:
    """Create a pipeline, or update it if its definition or role differs.

    Repeating it does nothing more, and several that do it at once with one definition make one version.

    :param role_arn: the pipeline's role; needed to create it. ``None`` leaves the role of one that exists.
    :param token: the ``ClientRequestToken`` of a creation.
    :param tags: of a new pipeline.
    :raises PipelineRequestError: if AWS refuses, or a new pipeline has no role.
    :raises PipelineCallError: if AWS cannot answer now.
    """
    _check_length(definition, name)
    found = describe(clients, name)
    if found is None:
        request = _creation(definition, name, role_arn) | {"ClientRequestToken": token}
        if description:
            request["PipelineDescription"] = description
        if tags:
            request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        if (created := _create(clients, request)) is not None:
            return created
        # Somebody else has created it in the meantime.
        found = describe(clients, name)
    if found is None:
        raise PipelineRequestError("the pipeline exists, but AWS does not show it", resource=name)
    if same_definition(definition, found["PipelineDefinition"]) and (role_arn or None) in {None, found.get("RoleArn")}:
        return Deployment(arn=found["PipelineArn"], action="unchanged")
    request = {"PipelineName": name, "PipelineDefinition": definition.source}
    if role_arn:
        request["RoleArn"] = role_arn
    with pipeline_call("UpdatePipeline", name):
        answer = clients("sagemaker").update_pipeline(**request)
    return Deployment(arn=found["PipelineArn"], version_id=answer.get("PipelineVersionId"), action="updated")


def _check_length(definition: PipelineDefinition, name: str) -> None:
    if len(definition.source) > _MAX_DEFINITION_LENGTH:
        raise PipelineRequestError(
            f"the definition has {len(definition.source)} characters; a request takes {_MAX_DEFINITION_LENGTH}. Deploy "
            "it from S3 by your own means, and pass deploy='require'",
            resource=name,
        )


def _creation(definition: PipelineDefinition, name: str, role_arn: str | None) -> dict[str, Any]:
    if not role_arn:
        raise PipelineRequestError("a new pipeline needs a role: pass role_arn", resource=name)
    return {"PipelineName": name, "PipelineDefinition": definition.source, "RoleArn": role_arn}


def _create(clients: Clients, request: Mapping[str, Any]) -> Deployment | None:
    """Create a pipeline; ``None`` if there is one of this name."""
    with pipeline_call("CreatePipeline", request["PipelineName"]):
        try:
            answer = clients("sagemaker").create_pipeline(**request)
        except AWS_ERRORS as error:
            if error_code(error) in _EXISTS and "exist" in error_message(error):
                return None
            raise
        return Deployment(arn=required(answer, "PipelineArn", "CreatePipeline"), action="created")


def require(
    clients: Clients, definition: PipelineDefinition, *, name: str, version: Mapping[str, Any] | None = None
) -> Deployment:
    """Make sure that a pipeline is there and has this definition.

    :param version: ``PipelineVersionId`` or ``PipelineVersionAlias``; by default the latest counts.
    :raises PipelineRequestError: if there is no such pipeline.
    :raises PipelineChangedError: if it has another definition.
    """
    found = describe(clients, name, version)
    if found is None:
        wanted = next(iter((version or {}).values()), None)
        raise PipelineRequestError(
            "there is no such pipeline; deploy it, or pass deploy='upsert', which does so"
            if wanted is None
            else f"there is no such pipeline, or it has no version {wanted!r}",
            resource=name,
        )
    if not same_definition(definition, found["PipelineDefinition"]):
        changes = changes_from(definition, found["PipelineDefinition"])
        raise PipelineChangedError(
            f"the deployed pipeline is not the DAG's definition ({changes}). Deploy that one, pass deploy='upsert', or "
            "give the DAG the definition that is deployed",
            resource=name,
        )
    return Deployment(arn=found["PipelineArn"], action="unchanged")


def describe(clients: Clients, name: str, version: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return DescribePipeline's answer, ``None`` if there is no such pipeline."""
    with pipeline_call("DescribePipeline", name):
        try:
            answer = clients("sagemaker").describe_pipeline(PipelineName=name, **(version or {}))
        except AWS_ERRORS as error:
            if error_code(error) in _NOT_FOUND:
                return None
            raise
        for member in ("PipelineArn", "PipelineDefinition"):
            required(answer, member, "DescribePipeline")
    return dict(answer)


def definition_of_execution(clients: Clients, execution_arn: str) -> str:
    """Return the definition that an execution runs by, whatever has become of the pipeline since."""
    with pipeline_call("DescribePipelineDefinitionForExecution", execution_arn):
        answer = clients("sagemaker").describe_pipeline_definition_for_execution(PipelineExecutionArn=execution_arn)
        return str(required(answer, "PipelineDefinition", "DescribePipelineDefinitionForExecution"))


def check_execution(clients: Clients, definition: PipelineDefinition, execution_arn: str) -> None:
    """Make sure that an execution runs by a definition.

    :raises PipelineChangedError: if it runs by another one; it says which steps differ.
    """
    deployed = definition_of_execution(clients, execution_arn)
    if not same_definition(definition, deployed):
        changes = changes_from(definition, deployed)
        raise PipelineChangedError(
            f"the execution runs another definition than the DAG's ({changes})", resource=execution_arn
        )


def same_definition(definition: PipelineDefinition, deployed: str) -> bool:
    """Whether a deployed definition says the same, whatever its layout."""
    other = _loaded(deployed)
    return other is not None and other.digest == definition.digest


def changes_from(definition: PipelineDefinition, deployed: str) -> str:
    """Say in which steps a deployed definition differs from that of the DAG."""
    other = _loaded(deployed)
    return describe_changes(None if other is None else step_digests(other), step_digests(definition))


def _loaded(text: str) -> PipelineDefinition | None:
    """Read what is deployed; SageMaker may run what we cannot read."""
    try:
        return load_definition(text.encode())
    except PipelineDefinitionError:
        return None
