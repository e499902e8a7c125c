"""Steps that are one job of SageMaker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import StepType

from ...describe import describe
from ...errors import AwsError
from ..calls import sagemaker
from ..context import NAME_MEMBERS
from ..dates import with_times_as_text
from ..failures import failed_job
from ..step_run import FAILED, STOPPED, STOPPING, Outcome

if TYPE_CHECKING:
    from ...store import Resource
    from ..context import Context

_MOST_SUMMARIES = 50


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a type of step makes its job.

    :param stem: ``TrainingJob`` gives CreateTrainingJob and TrainingJobArn.
    :param metadata: where ListPipelineExecutionSteps shows the job.
    :param role_member: the member that the pipeline's role goes into if there is none; None for types without one.
    :param in_experiments: whether it takes part in the pipeline's experiment.
    """

    stem: str
    metadata: str
    role_member: str | None = "RoleArn"
    in_experiments: bool = False


JOBS: Mapping[StepType, Job] = {
    StepType.PROCESSING: Job(stem="ProcessingJob", metadata="ProcessingJob", in_experiments=True),
    StepType.TRAINING: Job(stem="TrainingJob", metadata="TrainingJob", in_experiments=True),
    StepType.TUNING: Job(stem="HyperParameterTuningJob", metadata="TuningJob", role_member=None),
    StepType.TRANSFORM: Job(stem="TransformJob", metadata="TransformJob", role_member=None, in_experiments=True),
    StepType.AUTO_ML: Job(stem="AutoMLJob", metadata="AutoMLJob"),
    StepType.JOB: Job(stem="Job", metadata="Job"),
}


def begin(context: Context) -> None:
    """Create the job; the step ends with it."""
    kind = JOBS[context.step.type]
    resource = create(context, kind, dict(context.arguments))
    context.made(resource, **{kind.metadata: {"Arn": resource.arn}})
    context.when_over(resource, lambda: _outcome(context, resource))


def create(context: Context, kind: Job, request: dict[str, Any]) -> Resource:
    """Create a job under a name of its own, and say how it is stopped.

    :raises CallError: if it is refused.
    """
    request[NAME_MEMBERS[context.step.type]] = context.job_name
    _set_role(context, kind, request)
    if kind.in_experiments:
        experiment = context.execution.experiment.of_job(request.pop("ExperimentConfig", None))
        if experiment:
            request["ExperimentConfig"] = experiment
    if context.step.type is StepType.JOB:
        # SDK 3 writes it; CreateJob, as botocore knows it, does not have it.
        request.pop("VpcConfig", None)
    _set_mlflow(context, request)
    answer = sagemaker(context.engine, f"Create{kind.stem}", request)
    resource = context.engine.store.by_arn(answer[f"{kind.stem}Arn"])
    if resource is None:
        raise TypeError(f"Create{kind.stem} made nothing")
    context.run.stop = lambda: stop(context, resource)
    return resource


def _set_role(context: Context, kind: Job, request: dict[str, Any]) -> None:
    if kind.role_member is not None:
        request.setdefault(kind.role_member, context.role)
    if context.step.type is StepType.TUNING:
        for member in ("TrainingJobDefinition", "TrainingJobDefinitions"):
            found = request.get(member)
            for definition in found if isinstance(found, list) else [found]:
                if isinstance(definition, dict):
                    definition.setdefault("RoleArn", context.role)


def _set_mlflow(context: Context, request: dict[str, Any]) -> None:
    """Hand the pipeline's MLflow server to training jobs; AWS does not say how the service does it."""
    config = context.execution.definition.mlflow_config
    if config is None or context.step.type is not StepType.TRAINING or "MlflowConfig" in request:
        return
    name = context.execution.start.mlflow_experiment or config.experiment_name
    request["MlflowConfig"] = {
        "MlflowResourceArn": config.resource_arn,
        **({"MlflowExperimentName": name} if name else {}),
    }


def stop(context: Context, resource: Resource) -> None:
    """Stop a job; one that is over has told so already."""
    try:
        context.engine.stop(resource)
    except AwsError:
        if not resource.is_over:
            raise


def judged(context: Context, resource: Resource) -> Outcome | None:
    """Return the outcome of a job that did not complete, or None for one that did."""
    lifecycle = resource.kind.lifecycle
    if lifecycle is None or resource.status == lifecycle.completed:
        return None
    if resource.status == lifecycle.stopped:
        asked = context.run.status == STOPPING
        status = STOPPED if asked else context.settings.stopped_job_status
        return Outcome(status=status, reason=None if status == STOPPED else "The job was stopped.")
    failed = failed_job(context.step.type, resource.failure_reason)
    return Outcome(status=FAILED, reason=failed.reason, exception_types=failed.exception_types)


def _outcome(context: Context, resource: Resource) -> Outcome:
    bad = judged(context, resource)
    if bad is not None:
        return bad
    return Outcome(outputs=properties(context, resource))


def properties(context: Context, resource: Resource) -> dict[str, Any]:
    """Return what expressions can refer to of a job."""
    with context.engine.store.lock:
        document = describe(resource)
    if context.step.type is StepType.TUNING:
        document["TrainingJobSummaries"] = _best_first(context, resource)
    elif context.step.type is StepType.AUTO_ML:
        document["BestCandidateProperties"] = _candidate_reports(document)
    outputs: dict[str, Any] = with_times_as_text(document)
    return outputs


def _best_first(context: Context, resource: Resource) -> list[dict[str, Any]]:
    config = resource.request["HyperParameterTuningJobConfig"]
    objective = config.get("HyperParameterTuningJobObjective") or {}
    descending = objective.get("Type", "Maximize") == "Maximize"
    answer = sagemaker(
        context.engine,
        "ListTrainingJobsForHyperParameterTuningJob",
        {
            "HyperParameterTuningJobName": resource.name,
            "SortBy": "FinalObjectiveMetricValue",
            "SortOrder": "Descending" if descending else "Ascending",
            "MaxResults": _MOST_SUMMARIES,
        },
    )
    summaries: list[dict[str, Any]] = answer["TrainingJobSummaries"]
    return summaries


def _candidate_reports(document: Mapping[str, Any]) -> dict[str, str]:
    """Return where the best candidate's reports are; AWS does not document the files' names."""
    properties = (document.get("BestCandidate") or {}).get("CandidateProperties") or {}
    places = properties.get("CandidateArtifactLocations") or {}
    reports = {}
    if "ModelInsights" in places:
        reports["ModelInsightsJsonReportPath"] = f"{places['ModelInsights'].rstrip('/')}/statistics.json"
    if "Explainability" in places:
        reports["ExplainabilityJsonReportPath"] = f"{places['Explainability'].rstrip('/')}/analysis.json"
    return reports
