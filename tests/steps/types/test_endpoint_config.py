"""EndpointConfig steps."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_run_support import BUCKET, begin, check_request, model, outputs_of, step_run, variant

CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/capture",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}


@pytest.fixture(autouse=True)
def models(local_sagemaker):
    model(local_sagemaker, "m")
    model(local_sagemaker, "n")


def config(name=None, model_name="m", **arguments):
    named = {"EndpointConfigName": name} if name else {}
    variants = [variant(model_name)]
    return {
        "Name": "My_Config",
        "Type": "EndpointConfig",
        "Arguments": {**named, "ProductionVariants": variants, "Tags": [{"Key": "k", "Value": "v"}], **arguments},
    }


@pytest.mark.parametrize("name", [None, "my-config"])
def test_the_request_fits_the_api(local_sagemaker, name):
    run = step_run(local_sagemaker, config(name))

    check_request("CreateEndpointConfig", runner_of(run.step.type).request(run))


def test_a_name_is_taken_as_it_is(local_sagemaker):
    run = step_run(local_sagemaker, config("my-config"))

    state = begin(run)

    assert state.verdict is Verdict.SUCCEEDED
    assert outputs_of(run, state)["EndpointConfigName"] == "my-config"


def test_without_a_name_one_is_made_for_each_run(local_sagemaker):
    names = [begin(step_run(local_sagemaker, config(), run_id=run)).handle["name"] for run in ("a", "b")]

    assert names[0] != names[1]
    assert all("My-Config" in name for name in names)


def test_the_same_configuration_is_adopted(local_sagemaker):
    states = [begin(step_run(local_sagemaker, config("my-config"), run_id=run)) for run in ("a", "b")]

    assert states[0].description == states[1].description
    assert len(local_sagemaker.client("sagemaker").list_endpoint_configs()["EndpointConfigs"]) == 1


def test_another_configuration_of_the_same_name_is_refused_with_the_difference(local_sagemaker):
    begin(step_run(local_sagemaker, config("my-config", "m")))

    with pytest.raises(StepRequestError, match=r"ProductionVariants\[0\]\.ModelName is \"m\", not \"n\""):
        begin(step_run(local_sagemaker, config("my-config", "n")))


def test_a_configuration_with_more_in_it_is_another_one(local_sagemaker):
    begin(step_run(local_sagemaker, config("my-config", DataCaptureConfig=CAPTURE)))

    with pytest.raises(StepRequestError, match="it has DataCaptureConfig"):
        begin(step_run(local_sagemaker, config("my-config")))
