"""ClarifyCheck steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import aws_call
from airflow_sagemaker_pipelines.steps.checks import CONSTRAINTS, Check, beside, output_uri
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.runner import StepRun
from airflow_sagemaker_pipelines.steps.s3 import read_file, split_s3_uri

#: The input that holds the analysis configuration, and the name of its file, which the container looks for.
CONFIG_INPUT = "analysis_config"
CONFIG_FILE = "analysis_config.json"


class ClarifyCheck(Check):
    """A check of bias or of feature attributions, by the Clarify container.

    The SDK uploads the analysis configuration without the model's name, which is known only in a run. With a
    ``ModelName`` the job gets a copy that has it, beside the job's output, in a folder with the job's name.
    """

    step_type = StepType.CLARIFY_CHECK
    title = "Clarify"
    output_name = "analysis_result"
    #: UNCERTAIN: as the developer guide calls it where it supplies a baseline.
    files = {CONSTRAINTS: "analysis.json"}  # noqa: RUF012
    #: Inferred from the shape of DriftCheckBaselines.
    package_members = {  # noqa: RUF012
        "DATA_BIAS": {CONSTRAINTS: ("Bias", "PreTrainingConstraints")},
        "MODEL_BIAS": {CONSTRAINTS: ("Bias", "PostTrainingConstraints")},
        "MODEL_EXPLAINABILITY": {CONSTRAINTS: ("Explainability", "Constraints")},
    }

    def complete(self, run: StepRun, request: dict[str, Any]) -> None:
        """Add what every check adds, and let the job read the copy of its configuration."""
        super().complete(run, request)
        if _model_name(run):
            _config_input(run, request)["S3Uri"] = beside(
                output_uri(request, self.output_name) or "", "analysis-config", request[self.name_member], CONFIG_FILE
            )

    def _create(self, run: StepRun, request: Mapping[str, Any]) -> bool:
        if model := _model_name(run):
            _write_config(run, request, model)
        return super()._create(run, request)


def _model_name(run: StepRun) -> str | None:
    return run.resolve(run.step.settings.get("ModelName")) or None


def _config_input(run: StepRun, arguments: Mapping[str, Any]) -> Any:
    """Return the ``S3Input`` of the analysis configuration."""
    for item in arguments.get("ProcessingInputs", ()):
        if item.get("InputName") == CONFIG_INPUT and item.get("S3Input"):
            return item["S3Input"]
    raise StepRequestError(f"it has a ModelName, and no input '{CONFIG_INPUT}' in S3", step=run.step.name)


def _write_config(run: StepRun, request: Mapping[str, Any], model: str) -> None:
    """Write the configuration with the model's name where the job reads it; each time the same."""
    source = run.resolve(_config_input(run, run.step.arguments)["S3Uri"])
    config = _read_config(run, source)
    config.setdefault("predictor", {})["model_name"] = model
    bucket, key = split_s3_uri(_config_input(run, request)["S3Uri"])
    key_id = request["ProcessingOutputConfig"].get("KmsKeyId")
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id} if key_id else {}
    with aws_call("PutObject", step=run.step.name):
        run.clients("s3").put_object(
            Bucket=bucket, Key=key, Body=json.dumps(config).encode(), ContentType="application/json", **encryption
        )


def _read_config(run: StepRun, uri: str) -> dict[str, Any]:
    try:
        with aws_call("GetObject", step=run.step.name):
            content = read_file(run.clients, uri)
        config = None if content is None else json.loads(content)
    except ValueError as error:
        raise StepRequestError(
            f"its analysis configuration {uri} cannot be read: {error}", step=run.step.name
        ) from error
    if not isinstance(config, dict):
        problem = "does not exist" if content is None else "is not a JSON object"
        raise StepRequestError(f"its analysis configuration {uri} {problem}", step=run.step.name)
    return config
