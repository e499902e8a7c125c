"""Models and model packages, which are there as soon as they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...kinds import MODEL_PACKAGE_GROUP
from ..calls import sagemaker
from ..dates import with_times_as_text
from ..step_run import Outcome

if TYPE_CHECKING:
    from ..context import Context


def create_model(context: Context) -> Outcome:
    """CreateModel, under a name of its own."""
    request = {**context.arguments, "ModelName": context.job_name}
    request.setdefault("ExecutionRoleArn", context.role)
    arn = sagemaker(context.engine, "CreateModel", request)["ModelArn"]
    context.run.metadata = {"Model": {"Arn": arn}}
    answer = sagemaker(context.engine, "DescribeModel", {"ModelName": request["ModelName"]})
    return Outcome(outputs=with_times_as_text(answer))


def register(context: Context) -> Outcome:
    """CreateModelPackage: the next version of the group, which is made if it is missing; or a package of its own."""
    engine, request = context.engine, dict(context.arguments)
    group = request.get("ModelPackageGroupName")
    if group:
        request.pop("ModelPackageName", None)
        if context.settings.create_model_package_group and engine.store.find(MODEL_PACKAGE_GROUP, str(group)) is None:
            sagemaker(engine, "CreateModelPackageGroup", {"ModelPackageGroupName": group})
    else:
        request["ModelPackageName"] = context.job_name
    request["MetadataProperties"] = {**(request.get("MetadataProperties") or {}), "GeneratedBy": context.execution.arn}
    arn = sagemaker(engine, "CreateModelPackage", request)["ModelPackageArn"]
    context.run.metadata = {"RegisterModel": {"Arn": arn}}
    return Outcome(outputs=with_times_as_text(sagemaker(engine, "DescribeModelPackage", {"ModelPackageName": arn})))
