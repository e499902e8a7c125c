"""The table of SageMaker resource kinds: one row says how a kind is named, ordered, refused and timed.

A row gives a kind its Create, Describe, List, Delete and Stop operations (see ``crud``), for as many of them as
the API has. What a row cannot say, a class in ``behaviours`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """The statuses a kind goes through, and where its Describe answer shows time."""

    running: str = "InProgress"
    completed: str = "Completed"
    failed: str = "Failed"
    stopping: str = "Stopping"
    stopped: str = "Stopped"
    started_member: str | None = None
    ended_member: str | None = None
    log_group: str | None = None

    def is_over(self, status: str | None) -> bool:
        """Tell whether nothing more happens to a resource in this status by itself."""
        return status in (self.completed, self.failed, self.stopped)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An error a kind answers with; ``text`` may use ``{arn}``, ``{name}``, ``{label}`` and ``{status}``."""

    code: str = "ValidationException"
    text: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of resource.

    :param name: the short name used in rules and in the runner's interface: ``Training``.
    :param stem: what operations and members are made of: ``TrainingJob`` gives ``CreateTrainingJob``,
        ``TrainingJobName``, ``TrainingJobArn``, ``TrainingJobStatus``.
    :param version: a suffix of the Create and Describe operations only (``V2``).
    :param summaries: the member of the List answer that holds the entries; None for a kind that another kind lists.
    :param family: kinds of one family share one namespace of names.
    :param detail_type: what EventBridge calls the events of the kind; None if AWS sends none.
    :param runnable: a container that the code runner may execute.
    """

    name: str
    stem: str
    label: str
    arn_type: str
    duplicate: Refusal
    missing: Refusal
    version: str = ""
    family: str = ""
    summaries: str | None = None
    list_defaults: tuple[str, str] = ("CreationTime", "Ascending")
    lifecycle: Lifecycle | None = None
    detail_type: str | None = None
    runnable: bool = False
    stoppable: bool = False
    deletable: bool = False

    @property
    def name_member(self) -> str:
        """The request's member with the name."""
        return f"{self.stem}Name"

    @property
    def arn_member(self) -> str:
        """The member with the ARN."""
        return f"{self.stem}Arn"

    @property
    def status_member(self) -> str:
        """The member with the status."""
        return f"{self.stem}Status"

    @property
    def namespace(self) -> str:
        """Where names are unique."""
        return self.family or self.name

    @property
    def create_operation(self) -> str:
        """For example ``CreateTrainingJob``."""
        return f"Create{self.stem}{self.version}"

    @property
    def describe_operation(self) -> str:
        """For example ``DescribeTrainingJob``."""
        return f"Describe{self.stem}{self.version}"

    @property
    def list_operation(self) -> str:
        """For example ``ListTrainingJobs``."""
        return f"List{self.stem}s"

    def refusal_text(self, refusal: Refusal, **values: Any) -> str:
        """Fill a refusal's text in."""
        return refusal.text.format(label=self.label, **values)


_IN_USE = Refusal(
    code="ResourceInUse",
    text="{label} names must be unique within an AWS account and region, or a {label} with this name "
    "already exists ({arn})",
)
_NOT_FOUND = Refusal(text="Requested resource not found.")


def _job(name: str, stem: str, label: str, lifecycle: Lifecycle, **more: Any) -> Kind:
    values: dict[str, Any] = {
        "duplicate": _IN_USE,
        "missing": _NOT_FOUND,
        "summaries": f"{stem}Summaries",
        "stoppable": True,
        **more,
    }
    return Kind(name=name, stem=stem, label=label, lifecycle=lifecycle, **values)


TRAINING = _job(
    "Training",
    "TrainingJob",
    "Training job",
    Lifecycle(
        started_member="TrainingStartTime",
        ended_member="TrainingEndTime",
        log_group="/aws/sagemaker/TrainingJobs",
    ),
    detail_type="SageMaker Training Job State Change",
    arn_type="training-job",
    runnable=True,
    deletable=True,
)
PROCESSING = _job(
    "Processing",
    "ProcessingJob",
    "Processing job",
    Lifecycle(
        started_member="ProcessingStartTime",
        ended_member="ProcessingEndTime",
        log_group="/aws/sagemaker/ProcessingJobs",
    ),
    detail_type="SageMaker Processing Job State Change",
    arn_type="processing-job",
    runnable=True,
    deletable=True,
)
TRANSFORM = _job(
    "Transform",
    "TransformJob",
    "Transform job",
    Lifecycle(
        started_member="TransformStartTime",
        ended_member="TransformEndTime",
        log_group="/aws/sagemaker/TransformJobs",
    ),
    detail_type="SageMaker Transform Job State Change",
    arn_type="transform-job",
    list_defaults=("CreationTime", "Descending"),
    runnable=True,
)
TUNING = _job(
    "Tuning",
    "HyperParameterTuningJob",
    "Hyperparameter tuning job",
    Lifecycle(ended_member="HyperParameterTuningEndTime"),
    detail_type="SageMaker HyperParameter Tuning Job State Change",
    arn_type="hyper-parameter-tuning-job",
    missing=Refusal(code="ResourceNotFound", text="Requested resource not found."),
    list_defaults=("Name", "Ascending"),
    deletable=True,
)
AUTO_ML = _job(
    "AutoML",
    "AutoMLJob",
    "AutoML job",
    Lifecycle(ended_member="EndTime"),
    arn_type="automl-job",
    missing=Refusal(code="ResourceNotFound", text="Requested resource not found."),
    family="AutoML",
    list_defaults=("Name", "Descending"),
)
AUTO_ML_V2 = _job(
    "AutoMLV2",
    "AutoMLJob",
    "AutoML job",
    Lifecycle(ended_member="EndTime"),
    arn_type="automl-job",
    missing=Refusal(code="ResourceNotFound", text="Requested resource not found."),
    family="AutoML",
    version="V2",
    summaries=None,
    stoppable=False,
)
MODEL = Kind(
    name="Model",
    stem="Model",
    label="model",
    arn_type="model",
    duplicate=Refusal(text='Cannot create already existing model "{arn}".'),
    missing=Refusal(text='Could not find model "{arn}".'),
    summaries="Models",
    list_defaults=("CreationTime", "Descending"),
    detail_type="SageMaker Model State Change",
    deletable=True,
)
ENDPOINT_CONFIG = Kind(
    name="EndpointConfig",
    stem="EndpointConfig",
    label="endpoint configuration",
    arn_type="endpoint-config",
    duplicate=Refusal(text='Cannot create already existing endpoint configuration "{arn}".'),
    missing=Refusal(text='Could not find endpoint configuration "{arn}".'),
    summaries="EndpointConfigs",
    list_defaults=("CreationTime", "Descending"),
    deletable=True,
)
ENDPOINT = Kind(
    name="Endpoint",
    stem="Endpoint",
    label="endpoint",
    arn_type="endpoint",
    duplicate=Refusal(text='Cannot create already existing endpoint "{arn}".'),
    missing=Refusal(text='Could not find endpoint "{arn}".'),
    summaries="Endpoints",
    list_defaults=("CreationTime", "Descending"),
    lifecycle=Lifecycle(running="Creating", completed="InService", stopped="Failed"),
    detail_type="SageMaker Endpoint State Change",
    deletable=True,
)
MODEL_PACKAGE_GROUP = Kind(
    name="ModelPackageGroup",
    stem="ModelPackageGroup",
    label="Model Package Group",
    arn_type="model-package-group",
    duplicate=Refusal(text="Model Package Group already exists: {arn}"),
    missing=Refusal(text="ModelPackageGroup {arn} does not exist."),
    summaries="ModelPackageGroupSummaryList",
    deletable=True,
)
# Its operations are written out in ``model_packages``: versions, tokens and updates are no table's matter.
MODEL_PACKAGE = Kind(
    name="ModelPackage",
    stem="ModelPackage",
    label="Model Package",
    arn_type="model-package",
    duplicate=Refusal(code="ConflictException", text="Model Package already exists: {arn}"),
    missing=Refusal(text="ModelPackage {arn} does not exist."),
    summaries="ModelPackageSummaryList",
    detail_type="SageMaker Model Package State Change",
)

KINDS: tuple[Kind, ...] = (
    TRAINING,
    PROCESSING,
    TRANSFORM,
    TUNING,
    AUTO_ML,
    AUTO_ML_V2,
    MODEL,
    ENDPOINT_CONFIG,
    ENDPOINT,
    MODEL_PACKAGE_GROUP,
    MODEL_PACKAGE,
)
