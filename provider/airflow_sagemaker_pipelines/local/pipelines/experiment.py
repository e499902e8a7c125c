"""The experiment and the run group that an execution's jobs belong to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from moto.sagemaker.models import sagemaker_backends

from airflow_sagemaker_pipelines.definition import ExecutionVariable, ExpressionError, Scope, resolve

from ..errors import AwsError
from ..service_model import operation_model
from ..validation import validate
from .calls import call
from .dates import moment_text

if TYPE_CHECKING:
    from .execution import Execution


class Experiment:
    """Made when the first job needs it; one that exists is added to."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._made = False

    @cached_property
    def names(self) -> Mapping[str, str]:
        """``ExperimentName`` and ``TrialName``; empty if the definition has none, or they have no values."""
        execution = self._execution
        config = execution.definition.experiment_config
        if config is None:
            return {}
        scope = Scope(
            parameters=execution.parameters,
            execution={
                ExecutionVariable.START_DATE_TIME: moment_text(execution.start_date_time),
                ExecutionVariable.CURRENT_DATE_TIME: moment_text(execution.start_date_time),
                ExecutionVariable.PIPELINE_NAME: execution.pipeline.name,
                ExecutionVariable.PIPELINE_ARN: execution.pipeline.arn,
                ExecutionVariable.PIPELINE_EXECUTION_ID: execution.id,
                ExecutionVariable.PIPELINE_EXECUTION_ARN: execution.arn,
            },
        )
        try:
            return {
                "ExperimentName": str(resolve(config.experiment_name, scope)),
                "TrialName": str(resolve(config.trial_name, scope)),
            }
        except ExpressionError:
            return {}

    def of_job(self, own: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a job's ``ExperimentConfig``: of its own only the display name counts.

        :raises CallError: if the experiment or the run group cannot be made.
        """
        if not self.names:
            return {}
        if not self._made:
            self._make()
            self._made = True
        display = (own or {}).get("TrialComponentDisplayName")
        return {**self.names, **({"TrialComponentDisplayName": display} if display else {})}

    def _make(self) -> None:
        store = self._execution.home.engine.store
        backend = sagemaker_backends[store.account][store.region]
        experiment, trial = self.names["ExperimentName"], self.names["TrialName"]
        with call("sagemaker", "CreateExperiment"):
            _validate("CreateExperiment", {"ExperimentName": experiment})
            if experiment.lower() not in map(str.lower, backend.experiments):
                backend.create_experiment(experiment)
        with call("sagemaker", "CreateTrial"):
            _validate("CreateTrial", {"ExperimentName": experiment, "TrialName": trial})
            if trial.lower() not in map(str.lower, backend.trials):
                backend.create_trial(trial, experiment)


def _validate(operation: str, request: Mapping[str, Any]) -> None:
    model = operation_model(operation)
    if model is None:
        raise AwsError("UnknownOperationException", operation)
    validate(model.input_shape, request)
