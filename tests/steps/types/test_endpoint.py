"""Endpoint steps."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_run_support import (
    begin,
    check_request,
    endpoint_config,
    finish,
    model,
    outputs_of,
    step_run,
)


@pytest.fixture(autouse=True)
def configurations(local_sagemaker):
    model(local_sagemaker)
    for name in ("blue", "green"):
        endpoint_config(local_sagemaker, name)


def endpoint(config, name="live", **arguments):
    return {
        "Name": "Deploy",
        "Type": "Endpoint",
        "Arguments": {"EndpointName": name, "EndpointConfigName": config, "Tags": [], **arguments},
    }


def deploy(local_sagemaker, config, **more):
    return finish(step_run(local_sagemaker, endpoint(config), **more))


@pytest.fixture
def calls(local_sagemaker):
    def count(operation):
        return local_sagemaker.calls().get(f"sagemaker.{operation}", 0)

    return count


@pytest.mark.parametrize("name", [None, "live"])
def test_the_request_fits_the_api(local_sagemaker, name):
    run = step_run(local_sagemaker, endpoint("blue", name))

    check_request("CreateEndpoint", runner_of(run.step.type).request(run))


def test_an_endpoint_that_is_not_there_is_created(local_sagemaker):
    run = step_run(local_sagemaker, endpoint("blue"))

    state = finish(run)

    assert state.verdict is Verdict.SUCCEEDED
    outputs = outputs_of(run, state)
    assert (outputs["EndpointName"], outputs["EndpointConfigName"]) == ("live", "blue")
    assert outputs["EndpointStatus"] == "InService"


def test_one_that_is_there_is_updated(local_sagemaker, calls):
    deploy(local_sagemaker, "blue")
    local_sagemaker.clear_calls()
    # A deployment configuration goes with an update, tags do not.
    policy = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
    document = endpoint("green", DeploymentConfig=policy, RetainAllVariantProperties=True)

    state = finish(step_run(local_sagemaker, document, run_id="run-2"))

    assert state.verdict is Verdict.SUCCEEDED
    assert state.description["EndpointConfigName"] == "green"
    assert state.description["LastDeploymentConfig"] == policy
    assert (calls("CreateEndpoint"), calls("UpdateEndpoint")) == (0, 1)


def test_an_option_of_updates_does_not_disturb_the_creation(local_sagemaker):
    run = step_run(local_sagemaker, endpoint("blue", RetainAllVariantProperties=True))

    assert finish(run).verdict is Verdict.SUCCEEDED


def test_a_second_start_attaches_to_the_creation(local_sagemaker, calls):
    for _ in range(2):
        assert begin(step_run(local_sagemaker, endpoint("blue"))).verdict is Verdict.RUNNING

    assert (calls("CreateEndpoint"), calls("UpdateEndpoint")) == (1, 0)


def test_a_second_start_attaches_to_the_update(local_sagemaker, calls):
    deploy(local_sagemaker, "blue")
    local_sagemaker.rule(operation="UpdateEndpoint", duration=0.3)

    states = [begin(step_run(local_sagemaker, endpoint("green"))) for _ in range(2)]

    assert [state.verdict for state in states] == [Verdict.RUNNING] * 2
    assert calls("UpdateEndpoint") == 1


def test_an_endpoint_that_serves_the_configuration_is_left_as_it_is(local_sagemaker, calls):
    deploy(local_sagemaker, "blue")

    state = begin(step_run(local_sagemaker, endpoint("blue")))

    assert state.verdict is Verdict.SUCCEEDED
    assert calls("UpdateEndpoint") == 0


def test_somebody_elses_update_is_not_taken_for_ours(local_sagemaker, calls):
    deploy(local_sagemaker, "blue")
    local_sagemaker.rule(operation="UpdateEndpoint", duration=30)
    local_sagemaker.client("sagemaker").update_endpoint(EndpointName="live", EndpointConfigName="green")

    # The old configuration still serves.
    with pytest.raises(StepCallError, match="Updating with endpoint configuration 'green'"):
        begin(step_run(local_sagemaker, endpoint("blue")))


def test_a_roll_back_is_a_failure_and_a_retry_updates_again(local_sagemaker, calls):
    deploy(local_sagemaker, "blue")
    local_sagemaker.rule(operation="UpdateEndpoint", outcome="Failed", reason="ping failed", times=1)
    run = step_run(local_sagemaker, endpoint("green"))

    failed = finish(run)

    assert failed.verdict is Verdict.FAILED
    assert "'blue' and not 'green': the update was rolled back" in failed.reason
    assert "ping failed" in failed.reason
    assert finish(run).verdict is Verdict.SUCCEEDED
    assert calls("UpdateEndpoint") == 2


def test_a_failed_creation_says_why_and_a_retry_creates_anew(local_sagemaker, calls):
    local_sagemaker.rule(kind="Endpoint", outcome="Failed", reason="no capacity", times=1)
    run = step_run(local_sagemaker, endpoint("blue"))

    failed = finish(run)

    assert (failed.verdict, failed.reason) == (Verdict.FAILED, "no capacity")
    assert finish(run).verdict is Verdict.SUCCEEDED
    assert (calls("CreateEndpoint"), calls("DeleteEndpoint")) == (2, 1)


def test_an_endpoint_that_failed_before_the_run_is_not_deleted(local_sagemaker, calls):
    local_sagemaker.rule(kind="Endpoint", outcome="Failed", reason="no capacity", times=1)
    deploy(local_sagemaker, "blue")

    with pytest.raises(StepRequestError, match=r"failed before \(no capacity\).*aws sagemaker delete-endpoint"):
        begin(step_run(local_sagemaker, endpoint("blue"), started_ago=-60))

    assert calls("DeleteEndpoint") == 0


@pytest.mark.parametrize("status", ["OutOfService", "UpdateRollbackFailed", "Failed"])
def test_a_status_in_which_the_endpoint_does_not_serve_it_is_a_failure(local_sagemaker, status):
    run = step_run(local_sagemaker, endpoint("blue"))
    handle = finish(run).handle
    local_sagemaker_resource(local_sagemaker).status = status

    assert runner_of(run.step.type).poll(run.clients, handle).verdict is Verdict.FAILED


def test_a_half_rolled_back_endpoint_is_updated_by_a_retry(local_sagemaker, calls):
    run = step_run(local_sagemaker, endpoint("blue"))
    finish(run)
    local_sagemaker_resource(local_sagemaker).status = "UpdateRollbackFailed"

    begin(run)

    assert calls("UpdateEndpoint") == 1


def test_an_answer_without_a_status_is_asked_for_again(local_sagemaker):
    run = step_run(local_sagemaker, endpoint("blue"))
    handle = finish(run).handle
    local_sagemaker_resource(local_sagemaker).status = None

    assert runner_of(run.step.type).poll(run.clients, handle).verdict is Verdict.UNKNOWN


def test_a_kill_leaves_the_endpoint_alone(local_sagemaker):
    run = step_run(local_sagemaker, endpoint("blue"))
    state = begin(run)

    runner_of(run.step.type).stop(run.clients, state.handle)

    assert finish(run, state).verdict is Verdict.SUCCEEDED


def local_sagemaker_resource(endpoint, name="live"):
    """Return what the local endpoint holds of an endpoint, to put it into a status that takes AWS to get into."""
    from moto.sagemaker.models import sagemaker_backends

    from airflow_sagemaker_pipelines.local.kinds import ENDPOINT

    return sagemaker_backends["123456789012"][endpoint.region].engine.store.get(ENDPOINT, name)
