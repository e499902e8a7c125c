"""AutoML jobs, both versions of the API: timed, with a best candidate at the end. No candidates are trained."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .behaviours import Behaviour

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-sklearn-automl:2.5-1-cpu-py3"
_SECONDARY = {"InProgress": "Starting", "Stopping": "Stopping"}
# What SDK 2's AutoMLStep.get_best_auto_ml_model() reads of the best candidate's container.
_ENVIRONMENT = {
    "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
    "SAGEMAKER_INFERENCE_OUTPUT": "predicted_label",
    "SAGEMAKER_INFERENCE_SUPPORTED": "predicted_label,probability,probabilities,labels",
    "SAGEMAKER_PROGRAM": "sagemaker_serve",
    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/sagemaker_serve.py",
}


class AutoMLBehaviour(Behaviour):
    """AutoML: a best candidate whose properties point to where AWS would have written."""

    def leave_outputs(self, engine: Engine, resource: Resource) -> None:
        """Decide the best candidate."""
        resource.extra["BestCandidate"] = _best_candidate(resource)

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Return the secondary status, the artifacts and, for V2, the problem type's name."""
        status = str(resource.status)
        root = _root(resource)
        document: dict[str, Any] = {
            "AutoMLJobSecondaryStatus": _SECONDARY.get(status, status),
            "AutoMLJobArtifacts": {
                "CandidateDefinitionNotebookLocation": f"{root}/sagemaker-automl-candidates/notebooks/"
                "SageMakerAutopilotCandidateDefinitionNotebook.ipynb",
                "DataExplorationNotebookLocation": f"{root}/sagemaker-automl-candidates/notebooks/"
                "SageMakerAutopilotDataExplorationNotebook.ipynb",
            },
        }
        names = {
            "TabularJobConfig": "Tabular",
            "ImageClassificationJobConfig": "ImageClassification",
            "TextClassificationJobConfig": "TextClassification",
            "TimeSeriesForecastingJobConfig": "TimeSeriesForecasting",
            "TextGenerationJobConfig": "TextGeneration",
        }
        for member in resource.request.get("AutoMLProblemTypeConfig") or ():
            document["AutoMLProblemTypeConfigName"] = names.get(member)
        return document


def _root(resource: Resource) -> str:
    return f"{resource.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{resource.name}"


def _best_candidate(resource: Resource) -> dict[str, Any]:
    now = time.time()
    root = _root(resource)
    objective = resource.request.get("AutoMLJobObjective") or {}
    metric = objective.get("MetricName", "Accuracy")
    values = resource.rule.metrics if resource.rule else {}
    name = f"{resource.name}-001"
    return {
        "CandidateName": name,
        "ObjectiveStatus": "Succeeded",
        "CandidateStatus": "Completed",
        "FinalAutoMLJobObjectiveMetric": {
            "MetricName": metric,
            "Value": float(values.get(metric, 0.9)),
            "Type": "Minimize" if metric in ("MSE", "RMSE", "MAE") else "Maximize",
        },
        "CandidateSteps": [],
        "InferenceContainers": [
            {
                "Image": _IMAGE,
                "ModelDataUrl": f"{root}/sagemaker-automl-candidates/{name}/output/model.tar.gz",
                "Environment": {**_ENVIRONMENT, "MODEL_NAME": name},
            }
        ],
        "CreationTime": resource.created,
        "EndTime": now,
        "LastModifiedTime": now,
        "CandidateProperties": {
            "CandidateArtifactLocations": {
                "Explainability": f"{root}/documentation/explainability/output",
                "ModelInsights": f"{root}/documentation/model_monitor/output",
            },
            "CandidateMetrics": [],
        },
    }
