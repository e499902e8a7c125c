"""RegisterModel steps."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, aws_call, error_code, error_message, to_json
from airflow_sagemaker_pipelines.steps.job import without_nulls
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

        Its ClientToken is the same at every try, so that AWS answers a repeated call with the first version. As the
        service does, ``MetadataProperties.GeneratedBy`` names the execution, and a package without a group gets a
        generated name, whatever name the definition has.
        """
        request: dict[str, Any] = without_nulls(run.resolve(run.step.arguments))
        prefix = request.pop("ModelPackageName", None)
        if not request.get("ModelPackageGroupName"):
            request.pop("ModelPackageGroupName", None)
            request["ModelPackageName"] = run.identity.name(0, prefix=prefix)
        request.setdefault("MetadataProperties", {}).setdefault("GeneratedBy", run.execution.arn)
        request["ClientToken"] = run.identity.token("model package", length=_CLIENT_TOKEN_LENGTH)
        return request

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Create the package, and its group when there is none."""
        client = run.clients("sagemaker")
        with aws_call("CreateModelPackage", step=run.step.name):
            if group := request.get("ModelPackageGroupName"):
                _ensure_group(client, group)
            answer = client.create_model_package(**request)
        return self.poll(run.clients, {"name": answer["ModelPackageArn"]})

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe the package."""
        answer = clients("sagemaker").describe_model_package(ModelPackageName=handle["name"])
        return State(
            handle=handle,
            verdict=verdict("ModelPackageStatus", answer.get("ModelPackageStatus")),
            description=to_json(answer),
            reason=_failed_validations(answer),
        )


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
