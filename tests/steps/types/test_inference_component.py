"""InferenceComponent steps."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_run_support import (
    IMAGE,
    begin,
    check_request,
    endpoint_config,
    finish,
    model,
    outputs_of,
    step_run,
)

ROLL_BACK = {
    "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0},
    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
}


@pytest.fixture(autouse=True)
def shared(local_sagemaker):
    model(local_sagemaker, "m")
    model(local_sagemaker, "n")
    endpoint_config(local_sagemaker, "config")
    client = local_sagemaker.client("sagemaker")
    for name in ("shared", "other"):
        client.create_endpoint(EndpointName=name, EndpointConfigName="config")


def component(model_name="m", *, copies=1, endpoint="shared", **arguments):
    return {
        "Name": "Component",
        "Type": "InferenceComponent",
        "Arguments": {
            "InferenceComponentName": "ic",
            "EndpointName": endpoint,
            "VariantName": "AllTraffic",
            "Specification": {
                "ModelName": model_name,
                "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 1024},
            },
            "RuntimeConfig": {"CopyCount": copies},
            **arguments,
        },
    }


@pytest.fixture
def calls(local_sagemaker):
    def count(operation):
        return local_sagemaker.calls().get(f"sagemaker.{operation}InferenceComponent", 0)

    return count


def test_the_request_fits_the_api(local_sagemaker):
    run = step_run(local_sagemaker, component())

    check_request("CreateInferenceComponent", runner_of(run.step.type).request(run))


def test_a_component_that_is_not_there_is_created(local_sagemaker):
    run = step_run(local_sagemaker, component())

    outputs = outputs_of(run, finish(run))

    assert outputs["InferenceComponentStatus"] == "InService"
    assert outputs["InferenceComponentArn"].endswith(":inference-component/ic")


@pytest.mark.parametrize(
    "changed", [component("n"), component(copies=2), component(Tags=[{"Key": "k", "Value": "v"}], copies=3)]
)
def test_one_that_is_there_is_updated(local_sagemaker, calls, changed):
    finish(step_run(local_sagemaker, component()))

    state = finish(step_run(local_sagemaker, changed))

    assert state.verdict is Verdict.SUCCEEDED
    assert state.description["Specification"]["ModelName"] == changed["Arguments"]["Specification"]["ModelName"]
    assert (calls("Create"), calls("Update")) == (1, 1)


def test_one_that_is_as_it_should_be_is_left_alone(local_sagemaker, calls):
    container = {"Container": {"Image": IMAGE, "ArtifactUrl": "s3://b/m.tar.gz"}}
    container["ComputeResourceRequirements"] = {"MinMemoryRequiredInMb": 1024}
    document = component(Specification=container)
    finish(step_run(local_sagemaker, document))

    state = begin(step_run(local_sagemaker, document))

    assert state.verdict is Verdict.SUCCEEDED
    assert calls("Update") == 0


def test_a_second_start_attaches(local_sagemaker, calls):
    states = [begin(step_run(local_sagemaker, component())) for _ in range(2)]

    assert [state.verdict for state in states] == [Verdict.RUNNING] * 2
    assert calls("Create") == 1


def test_a_failed_component_says_why_and_a_retry_updates_it(local_sagemaker, calls):
    local_sagemaker.rule(kind="InferenceComponent", outcome="Failed", reason="no memory left", times=1)
    run = step_run(local_sagemaker, component())

    failed = finish(run)

    assert (failed.verdict, failed.reason) == (Verdict.FAILED, "no memory left")
    assert finish(run).verdict is Verdict.SUCCEEDED
    assert (calls("Create"), calls("Update")) == (1, 1)


def test_a_roll_back_is_a_failure(local_sagemaker):
    finish(step_run(local_sagemaker, component()))
    local_sagemaker.rule(operation="UpdateInferenceComponent", outcome="Failed", reason="alarm", times=1)

    failed = finish(step_run(local_sagemaker, component("n", DeploymentConfig=ROLL_BACK)))

    assert failed.verdict is Verdict.FAILED
    assert "rolled back, alarm" in failed.reason


def test_a_component_of_another_endpoint_is_not_touched(local_sagemaker, calls):
    finish(step_run(local_sagemaker, component()))

    with pytest.raises(StepRequestError, match='EndpointName is "shared", not "other"'):
        begin(step_run(local_sagemaker, component("n", endpoint="other")))

    assert calls("Update") == 0


def test_a_kill_leaves_the_component_alone(local_sagemaker):
    run = step_run(local_sagemaker, component())
    state = begin(run)

    runner_of(run.step.type).stop(run.clients, state.handle)

    assert finish(run, state).verdict is Verdict.SUCCEEDED
