"""Lineage steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import aws_call, required
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.job import is_taken, without_nulls
from airflow_sagemaker_pipelines.steps.runner import State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of entity."""

    name: str
    """As associations call it."""

    @property
    def arguments(self) -> str:
        return f"{self.name}s"

    @property
    def name_member(self) -> str:
        return f"{self.name}Name"

    @property
    def arn_member(self) -> str:
        return f"{self.name}Arn"


_ACTION, _ARTIFACT, _CONTEXT = _Kind("Action"), _Kind("Artifact"), _Kind("Context")
_KINDS = (_ACTION, _ARTIFACT, _CONTEXT)


class Lineage(StepRunner):
    """Actions, artifacts and contexts, and the associations between them.

    All entities are made before the first association. What exists already is adopted: an action or context of the
    same name, an artifact of the same name, type and source, an association of the same two ends. So a retry goes on
    where an earlier try ended.
    """

    step_type = StepType.LINEAGE
    noun = "lineage entities"

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the entities and associations.

        :raises StepRequestError: if an association names an entity that the step does not make.
        """
        request: dict[str, Any] = without_nulls(run.resolve(run.step.arguments))
        names = {
            (kind.name, entity.get(kind.name_member)) for kind in _KINDS for entity in request.get(kind.arguments, ())
        }
        for association in request.get("Associations", ()):
            for end in (association["Source"], association["Destination"]):
                if not end.get("Arn") and (end["Type"], end["Name"]) not in names:
                    raise StepRequestError(
                        f"an association refers to {end['Type']} '{end['Name']}', which this step does not make; "
                        "refer to an entity of another step by its Arn",
                        step=run.step.name,
                    )
        return request

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Make everything, or find it."""
        arns = {kind.name: _make_all(run, kind, request.get(kind.arguments, ())) for kind in _KINDS}
        associations = [_associate(run, item, arns) for item in request.get("Associations", ())]
        outputs = {f"{kind.name}Arns": arns[kind.name] for kind in _KINDS} | {"Associations": associations}
        return State(handle={}, verdict=Verdict.SUCCEEDED, description=outputs)


def _make_all(run: StepRun, kind: _Kind, entities: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    make = _make_artifact if kind is _ARTIFACT else _make_named
    arns = [(entity.get(kind.name_member), make(run, kind, entity)) for entity in entities]
    # Only an artifact may have no name; then nothing can refer to it.
    return {name: arn for name, arn in arns if name is not None}


def _make_named(run: StepRun, kind: _Kind, entity: Mapping[str, Any]) -> str:
    client = run.clients("sagemaker")
    operation = f"Create{kind.name}"
    with aws_call(operation, step=run.step.name):
        try:
            answer = getattr(client, f"create_{kind.name.lower()}")(**entity)
        except ClientError as error:
            if not is_taken(error):
                raise
            operation, name = f"Describe{kind.name}", {kind.name_member: entity[kind.name_member]}
            answer = getattr(client, f"describe_{kind.name.lower()}")(**name)
        return str(required(answer, kind.arn_member, operation))


def _make_artifact(run: StepRun, kind: _Kind, entity: Mapping[str, Any]) -> str:
    """Make an artifact unless there is one.

    Names of artifacts are not unique, so AWS cannot be relied on to refuse a second one: look first, let botocore
    repeat nothing, and look again when the answer was lost. What remains possible is a second one of the same name,
    type and source, when the list does not show the first yet.
    """
    if found := _find_artifact(run, entity):
        return found
    try:
        with aws_call("CreateArtifact", step=run.step.name):
            answer = run.clients("sagemaker", repeats=False).create_artifact(**entity)
            return str(required(answer, "ArtifactArn", "CreateArtifact"))
    except StepCallError:
        if found := _find_artifact(run, entity):
            return found
        raise


def _find_artifact(run: StepRun, entity: Mapping[str, Any]) -> str | None:
    with aws_call("ListArtifacts", step=run.step.name):
        pages = (
            run.clients("sagemaker")
            .get_paginator("list_artifacts")
            .paginate(SourceUri=entity["Source"]["SourceUri"], ArtifactType=entity["ArtifactType"])
        )
        for page in pages:
            for found in required(page, "ArtifactSummaries", "ListArtifacts"):
                if found.get("ArtifactName") == entity.get("ArtifactName"):
                    return str(found["ArtifactArn"])
    return None


def _associate(run: StepRun, item: Mapping[str, Any], arns: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    ends = {
        f"{end}Arn": item[end].get("Arn") or arns[item[end]["Type"]][item[end]["Name"]]
        for end in ("Source", "Destination")
    }
    edge = {"AssociationType": item["AssociationType"]} if item.get("AssociationType") else {}
    with aws_call("AddAssociation", step=run.step.name):
        try:
            run.clients("sagemaker").add_association(**ends, **edge)
        except ClientError as error:
            if not is_taken(error):
                raise
    return ends
