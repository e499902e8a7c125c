"""AutoML steps."""

from __future__ import annotations

from typing import Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients
from airflow_sagemaker_pipelines.steps.job import SageMakerJob
from airflow_sagemaker_pipelines.steps.names import SHORT_NAME
from airflow_sagemaker_pipelines.steps.runner import State

#: The names of the report files below the prefixes that the best candidate gives. AWS documents the two properties,
#: not these names; they are what Model Monitor and Clarify, which write the reports, call their results.
MODEL_INSIGHTS_REPORT = "statistics.json"
EXPLAINABILITY_REPORT = "analysis.json"

#: Property → (member of CandidateArtifactLocations, file).
_REPORTS = {
    "ModelInsightsJsonReportPath": ("ModelInsights", MODEL_INSIGHTS_REPORT),
    "ExplainabilityJsonReportPath": ("Explainability", EXPLAINABILITY_REPORT),
}


class AutoML(SageMakerJob):
    """An AutoML job, by the first version of its API, which is what AutoML steps hold."""

    step_type = StepType.AUTO_ML
    noun = "AutoML job"
    create = "create_auto_ml_job"
    describe = "describe_auto_ml_job"
    stop_call = "stop_auto_ml_job"
    name_member = "AutoMLJobName"
    name_limit = SHORT_NAME
    status_member = "AutoMLJobStatus"
    console = "auto-ml"

    def outputs(self, clients: Clients, state: State) -> dict[str, Any]:
        """Return the job, and as ``BestCandidateProperties`` the S3 URIs of its best candidate's reports.

        A candidate without a report has no such property: not every problem type and mode makes both.
        """
        properties = (state.description.get("BestCandidate") or {}).get("CandidateProperties") or {}
        locations = properties.get("CandidateArtifactLocations") or {}
        reports = {
            name: f"{locations[member].rstrip('/')}/{file}"
            for name, (member, file) in _REPORTS.items()
            if locations.get(member)
        }
        return {**state.description, "BestCandidateProperties": reports}
