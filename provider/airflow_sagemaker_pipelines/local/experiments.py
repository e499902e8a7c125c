"""Experiments and trials: moto's, which takes any name again and again, with AWS's refusals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.sagemaker.models import SageMakerModelBackend

from .errors import AwsError, validation_error


class ExperimentsBackend(SageMakerModelBackend):
    """moto's backend, for experiments and trials that are there once."""

    def create_experiment(self, experiment_name: str) -> dict[str, str]:
        """CreateExperiment: refuses a name that is taken, whatever its case."""
        _refuse_taken("Experiment", experiment_name, self.experiments)
        return super().create_experiment(experiment_name)

    def describe_experiment(self, experiment_name: str) -> dict[str, Any]:
        """DescribeExperiment: refuses what is not there."""
        self._check_experiment(experiment_name)
        return super().describe_experiment(experiment_name)

    def create_trial(self, trial_name: str, experiment_name: str) -> dict[str, str]:
        """CreateTrial: refuses a name that is taken, and an experiment that is not there."""
        self._check_experiment(experiment_name)
        _refuse_taken("Trial", trial_name, self.trials)
        return super().create_trial(trial_name, experiment_name)

    def _check_experiment(self, name: str) -> None:
        if name.lower() not in map(str.lower, self.experiments):
            arn = f"arn:{self.partition}:sagemaker:{self.region_name}:{self.account_id}:experiment/{name.lower()}"
            raise AwsError("ResourceNotFound", f"Experiment '{arn}' does not exist.")


def _refuse_taken(label: str, name: str, taken: Iterable[str]) -> None:
    if name.lower() in map(str.lower, taken):
        raise validation_error(
            f"{label} names must be unique within an AWS account and region. {label} with name ({name}) already exists."
        )
