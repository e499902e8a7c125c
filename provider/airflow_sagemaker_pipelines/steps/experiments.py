"""``PipelineExperimentConfig`` and ``MlflowConfig``: where the jobs of an execution are recorded (section 3 of the AWS
semantics).

The experiment and the trial, SageMaker's run group, come into being with the first job that is recorded under them.
Names that are taken already are used as they are, so parallel tasks, retries and later runs do no harm. Nothing
is ever deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.steps.aws import aws_call, error_code, error_message, input_members
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.runner import StepRun

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,119}")


def add_experiment(run: StepRun, request: dict[str, Any], operation: str) -> None:
    """Let a job be recorded under the execution's experiment, when its Create call has a member for that.

    A display name that the definition gives is kept. Where experiments are switched off, it goes, too: a region
    without SageMaker Experiments takes none.

    :param operation: the Create call.
    :raises StepRequestError: if a name is none that AWS takes.
    """
    if not run.uses_experiments:
        request.pop("ExperimentConfig", None)
        return
    names = run.scope.experiment
    # Processing, training and transform jobs; not those of tuning, AutoML or CreateJob.
    if not names or "ExperimentConfig" not in input_members(run.clients, "sagemaker", operation):
        return
    for member, name in names.items():
        if not _NAME.fullmatch(name):
            raise StepRequestError(
                f"the pipeline's {member} is {name!r}; it must have up to 120 letters, digits and single hyphens, "
                "and begin and end with a letter or digit",
                step=run.step.name,
            )
    request["ExperimentConfig"] = {**request.get("ExperimentConfig", {}), **names}


def add_mlflow(run: StepRun, request: dict[str, Any], operation: str) -> None:
    """Pass the pipeline's MLflow server on to a job, when its Create call has a member for that.

    UNCERTAIN: AWS does not say how jobs learn of it. CreateTrainingJob is the only call with such a member, and older
    versions of botocore do not know it.

    :param operation: the Create call.
    """
    if run.mlflow and "MlflowConfig" in input_members(run.clients, "sagemaker", operation):
        request.setdefault("MlflowConfig", dict(run.mlflow))


def ensure_experiment(run: StepRun, request: Mapping[str, Any]) -> None:
    """Make the experiment and the trial that a job is to be recorded under, unless they exist.

    :raises StepError: if AWS refuses.
    """
    config = request.get("ExperimentConfig", {})
    if "TrialName" not in config:
        return
    names = {member: config[member] for member in ("ExperimentName", "TrialName")}
    client = run.clients("sagemaker")
    # Nearly always both exist, and one call tells.
    if not _create(run, "CreateTrial", client.create_trial, names):
        experiment = {"ExperimentName": names["ExperimentName"]}
        _create(run, "CreateExperiment", client.create_experiment, experiment)
        if not _create(run, "CreateTrial", client.create_trial, names):
            message = f"CreateTrial does not find experiment '{names['ExperimentName']}' yet"
            raise StepCallError(message, step=run.step.name, code="ResourceNotFound")


def _create(run: StepRun, operation: str, create: Callable[..., Any], names: Mapping[str, str]) -> bool:
    """Create something, or find that it exists; return whether what it belongs to exists."""
    try:
        with aws_call(operation, step=run.step.name):
            try:
                create(**names)
            except ClientError as error:
                if error_code(error) == "ResourceNotFound":
                    return False
                # Experiments answer a ValidationException whose text says so.
                if "already exist" not in error_message(error):
                    raise
    except StepRequestError as error:
        message = f"{error.message}. Without SageMaker Experiments, in a region or for a role, pass experiments=False"
        raise StepRequestError(message, step=error.step, code=error.code) from error
    return True
