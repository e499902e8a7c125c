"""RegisterModel steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, aws_call, error_code, error_message, required, to_json
from airflow_sagemaker_pipelines.steps.errors import StepError, StepRequestError
from airflow_sagemaker_pipelines.steps.job import is_taken, without_nulls
from airflow_sagemaker_pipelines.steps.names import MAX_GENERATIONS
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import verdict

#: CreateModelPackage takes 1 to 36 characters.
_CLIENT_TOKEN_LENGTH = 36


class RegisterModel(StepRunner):
    """A model package: a new version in a group, or one without versions."""

    step_type = StepType.REGISTER_MODEL
    noun = "model package"

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the body of CreateModelPackage.

        Its ClientToken is the same at every try, so that AWS answers a repeated call with the first version; when the
        registration of that one has failed, :meth:`start` goes on to the next token. As the service does,
        ``MetadataProperties.GeneratedBy`` names the execution, and a package without a group gets a generated name,
        with the definition's name as prefix.
        """
        request: dict[str, Any] = without_nulls(run.resolve(run.step.arguments))
        request.pop("ModelPackageName", None)
        if not request.get("ModelPackageGroupName"):
            request.pop("ModelPackageGroupName", None)
        request.setdefault("MetadataProperties", {}).setdefault("GeneratedBy", run.execution.arn)
        return request | _identity(run, request, 0)

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Create the package, and its group when there is none; or find what an earlier try created."""
        if group := request.get("ModelPackageGroupName"):
            with aws_call("CreateModelPackageGroup", step=run.step.name):
                _ensure_group(run.clients("sagemaker"), group)
        for generation in range(MAX_GENERATIONS):
            request.update(_identity(run, request, generation))
            name = _create(run, request)
            with aws_call("DescribeModelPackage", step=run.step.name):
                state = self.poll(run.clients, {"name": name})
                required(state.description, "ModelPackageStatus", "DescribeModelPackage")
            # One that has only just been created has not failed yet.
            if run.makes_do_with(state):
                return state
        raise StepRequestError(f"{MAX_GENERATIONS} {self.noun}s of this task have failed", step=run.step.name)

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe the package."""
        answer = clients("sagemaker").describe_model_package(ModelPackageName=handle["name"])
        return State(
            handle=handle,
            verdict=verdict("ModelPackageStatus", answer.get("ModelPackageStatus")),
            description=to_json(answer),
            reason=_failed_validations(answer),
        )


def _identity(run: StepRun, request: Mapping[str, Any], generation: int) -> dict[str, str]:
    """Return the members by which AWS knows a package of one generation again."""
    purpose = f"model package {generation}" if generation else "model package"
    identity = {"ClientToken": run.identity.token(purpose, length=_CLIENT_TOKEN_LENGTH)}
    if "ModelPackageGroupName" not in request:
        prefix = run.resolve(run.step.arguments.get("ModelPackageName"))
        identity["ModelPackageName"] = run.identity.name(generation, prefix=prefix)
    return identity


def _create(run: StepRun, request: Mapping[str, Any]) -> str:
    """Create a package or find it; return what DescribeModelPackage knows it by."""
    operation = "CreateModelPackage"
    try:
        with aws_call(operation, step=run.step.name):
            return str(required(run.clients("sagemaker").create_model_package(**request), "ModelPackageArn", operation))
    except StepError as error:
        # AWS does not say for how long it remembers tokens; the name of a package without a group is its own.
        if "ModelPackageName" in request and is_taken(error.__cause__ or error):
            return str(request["ModelPackageName"])
        raise


def _ensure_group(client: Any, name: str) -> None:
    """Create a group unless it exists. The service is believed to do so; it never creates one of another account."""
    if name.startswith("arn:"):
        return
    try:
        client.describe_model_package_group(ModelPackageGroupName=name)
    except ClientError as error:
        if error_code(error) not in {"ValidationException", "ResourceNotFound", "ResourceNotFoundException"}:
            raise
    else:
        return
    try:
        client.create_model_package_group(ModelPackageGroupName=name)
    except ClientError as error:
        # Another task may have been faster.
        if "already exist" not in error_message(error):
            raise


def _failed_validations(package: dict[str, Any]) -> str | None:
    details = package.get("ModelPackageStatusDetails") or {}
    checks = [*details.get("ValidationStatuses", ()), *details.get("ImageScanStatuses", ())]
    return "; ".join(check["FailureReason"] for check in checks if check.get("FailureReason")) or None
