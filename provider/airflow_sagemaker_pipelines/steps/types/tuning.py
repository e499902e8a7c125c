"""Tuning steps."""

from __future__ import annotations

from typing import Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, required, to_json
from airflow_sagemaker_pipelines.steps.job import SageMakerJob, set_role
from airflow_sagemaker_pipelines.steps.names import SHORT_NAME
from airflow_sagemaker_pipelines.steps.runner import State, StepRun

#: A Tuning step keeps its best training jobs, "up to 50" by the developer guide.
_TOP_TRAINING_JOBS = 50


class Tuning(SageMakerJob):
    """A hyperparameter tuning job."""

    step_type = StepType.TUNING
    noun = "hyperparameter tuning job"
    create = "create_hyper_parameter_tuning_job"
    describe = "describe_hyper_parameter_tuning_job"
    stop_call = "stop_hyper_parameter_tuning_job"
    name_member = "HyperParameterTuningJobName"
    name_limit = SHORT_NAME
    status_member = "HyperParameterTuningJobStatus"
    log_group = "/aws/sagemaker/TrainingJobs"
    logs_of_children = True
    console = "hyper-tuning-jobs"

    def complete(self, run: StepRun, request: dict[str, Any]) -> None:
        """The role stands in the definitions of the training jobs."""
        definitions = request.get("TrainingJobDefinitions") or [request.setdefault("TrainingJobDefinition", {})]
        for definition in definitions:
            set_role(run, definition, "RoleArn")

    def outputs(self, clients: Clients, state: State) -> dict[str, Any]:
        """Return the tuning job, and its training jobs as ``TrainingJobSummaries``, the best one first.

        The service does not say how it sorts; best first is by the final objective metric, in the direction that
        the tuning job optimises.
        """
        config = state.description.get("HyperParameterTuningJobConfig", {})
        objective = config.get("HyperParameterTuningJobObjective", {})
        operation = "ListTrainingJobsForHyperParameterTuningJob"
        answer = clients("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=state.handle["name"],
            SortBy="FinalObjectiveMetricValue",
            SortOrder="Ascending" if objective.get("Type") == "Minimize" else "Descending",
            StatusEquals="Completed",
            MaxResults=_TOP_TRAINING_JOBS,
        )
        return {
            **state.description,
            "TrainingJobSummaries": to_json(required(answer, "TrainingJobSummaries", operation)),
        }
