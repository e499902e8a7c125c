"""Experiments and trials: each name once, a trial only in an experiment that is there."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from endpoint_support import training_request


def refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]


@pytest.mark.parametrize("name", ["abalone", "Abalone"])
def test_a_second_experiment_of_a_name_is_refused(sagemaker, name):
    sagemaker.create_experiment(ExperimentName="abalone")

    error = refusal(sagemaker.create_experiment, ExperimentName=name)

    assert error["Code"] == "ValidationException"
    assert "already exists" in error["Message"]


def test_a_second_trial_of_a_name_is_refused_in_any_experiment(sagemaker):
    for name in ("one", "two"):
        sagemaker.create_experiment(ExperimentName=name)
    sagemaker.create_trial(TrialName="run", ExperimentName="one")

    error = refusal(sagemaker.create_trial, TrialName="run", ExperimentName="two")

    assert error["Code"] == "ValidationException"
    assert "already exists" in error["Message"]
    assert sagemaker.describe_trial(TrialName="run")["ExperimentName"] == "one"


def test_what_is_not_there_is_not_found(sagemaker):
    trial = refusal(sagemaker.create_trial, TrialName="run", ExperimentName="nowhere")
    experiment = refusal(sagemaker.describe_experiment, ExperimentName="nowhere")

    assert trial["Code"] == experiment["Code"] == "ResourceNotFound"


def test_a_job_tells_where_it_is_recorded(sagemaker):
    config = {"ExperimentName": "abalone", "TrialName": "run", "TrialComponentDisplayName": "best"}
    sagemaker.create_training_job(**training_request(ExperimentConfig=config))

    assert sagemaker.describe_training_job(TrainingJobName="train-1")["ExperimentConfig"] == config
