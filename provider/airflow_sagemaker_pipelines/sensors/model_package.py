"""Waits until a model package is approved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.sensors.base import SageMakerSensor

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.runner import Handle
    from airflow_sagemaker_pipelines.steps.status import Verdict
    from airflow_sagemaker_pipelines.triggers.step import StepTrigger

#: Approval "is optional for versioned models, and does not apply to unversioned models" (CreateModelPackage).
_VERSION_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]+:\d{12}:model-package/[^/]+/\d+")


class ModelPackageNotApprovedError(AirflowFailException):
    """The model package was rejected, or its registration has failed."""


class SageMakerModelPackageApprovalSensor(SageMakerSensor):
    """Waits until a model package is approved.

    The result in XCom is the package's DescribeModelPackage answer. A rejected package fails the task without another
    try, by :class:`ModelPackageNotApprovedError`, or skips it with ``soft_fail``; the text has the description of the
    decision, and who has last changed the package, and when. ``PendingManualApproval`` waits.

    Of a group, the sensor looks at the newest version at the time of each look: one that is registered while it waits
    takes the place of the one before. A group without versions is waited for; one that does not exist fails the task.

    :param model_package_arn: the ARN of a version in a group; may hold Jinja, such as
        ``"{{ ti.xcom_pull(task_ids='Register')['ModelPackageArn'] }}"``.
    :param model_package_group_name: instead: the name, or in another account the ARN, of a group; may hold Jinja.
    :param ignore_pending: of a group, pass over versions that are not decided about, so that the newest that is
        approved or rejected counts.
    :param poll_interval: the most seconds between two looks; people take their time.
    :param kwargs: those of :class:`~airflow_sagemaker_pipelines.sensors.base.SageMakerSensor`, such as ``timeout``,
        which by default is a week, and ``event_queue_url``, by which a version's decision is known at once.
    :raises ValueError: unless a package or a group is given.
    """

    template_fields: Sequence[str] = ("model_package_arn", "model_package_group_name")

    def __init__(
        self,
        *,
        model_package_arn: str | None = None,
        model_package_group_name: str | None = None,
        ignore_pending: bool = False,
        poll_interval: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, **kwargs)
        if (model_package_arn is None) == (model_package_group_name is None):
            raise ValueError("Give either model_package_arn or model_package_group_name")
        if ignore_pending and model_package_group_name is None:
            raise ValueError(
                "ignore_pending chooses among the versions of a group, so it needs model_package_group_name"
            )
        self.model_package_arn = model_package_arn
        self.model_package_group_name = model_package_group_name
        self.ignore_pending = ignore_pending

    def handle(self) -> Handle:
        """Return the version's ARN, or the group.

        :raises AirflowFailException: if the rendered fields name none.
        """
        arn, group = self.model_package_arn, self.model_package_group_name
        if arn is not None:
            if not isinstance(arn, str) or not _VERSION_ARN.fullmatch(arn):
                raise AirflowFailException(
                    "model_package_arn must be the ARN of a version in a group, "
                    f"arn:aws:sagemaker:<region>:<account>:model-package/<group>/<version>, not {arn!r}"
                )
            return {"name": arn}
        if not isinstance(group, str) or not group:
            raise AirflowFailException(f"model_package_group_name must be the name of a group, not {group!r}")
        return {"group": group, "ignore_pending": self.ignore_pending}

    def resource(self, handle: Handle) -> str:
        """Name the package, or the group."""
        return f"model package {handle['name']}" if "name" in handle else f"model package group {handle['group']}"

    def look(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Ask for the decision."""
        from airflow_sagemaker_pipelines.triggers.model_package import look  # noqa: PLC0415

        return look(self.connection, handle)

    def trigger(self, **arguments: Any) -> StepTrigger:
        """Make a trigger that waits for the decision."""
        from airflow_sagemaker_pipelines.triggers.model_package import ModelPackageApprovalTrigger  # noqa: PLC0415

        return ModelPackageApprovalTrigger(step_type=str(StepType.REGISTER_MODEL), stop_on_kill=False, **arguments)

    def failure(self, handle: Handle, verdict: Verdict, reason: str | None) -> Exception:
        """Return the error of a package that was not approved."""
        return ModelPackageNotApprovedError(f"The {self.resource(handle)} is not approved: {reason}")
