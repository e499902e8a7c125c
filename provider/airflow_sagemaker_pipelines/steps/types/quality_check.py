"""QualityCheck steps."""

from __future__ import annotations

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.checks import CONSTRAINTS, STATISTICS, Check, PackageMembers


def _members(part: str) -> PackageMembers:
    return {CONSTRAINTS: (part, "Constraints"), STATISTICS: (part, "Statistics")}


class QualityCheck(Check):
    """A check of data or of a model's predictions, by the Model Monitor container."""

    step_type = StepType.QUALITY_CHECK
    title = "Quality"
    output_name = "quality_check_output"
    #: UNCERTAIN: as the developer guide calls them where it supplies baselines.
    files = {CONSTRAINTS: "constraints.json", STATISTICS: "statistics.json"}  # noqa: RUF012
    #: Inferred from the shape of DriftCheckBaselines.
    package_members = {  # noqa: RUF012
        "DATA_QUALITY": _members("ModelDataQuality"),
        "MODEL_QUALITY": _members("ModelQuality"),
    }
