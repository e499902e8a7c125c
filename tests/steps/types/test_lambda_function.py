"""Lambda steps."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.hooks.aws import AwsClients, AwsConnection
from airflow_sagemaker_pipelines.steps.errors import StepFailedError, StepRequestError, StepTimeoutError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from tests.steps.types.step_runs import step_run

TEN_MINUTES = 600


def test_the_client_waits_for_the_longest_function_that_sagemaker_allows(local_sagemaker):
    config = AwsClients(AwsConnection())("lambda").meta.config

    assert config.read_timeout > TEN_MINUTES
    assert AwsClients(AwsConnection())("sagemaker").meta.config.read_timeout < TEN_MINUTES


@pytest.mark.parametrize("place", ["argument", "connection"])
def test_who_sets_a_timeout_gets_it(local_sagemaker, monkeypatch, place):
    settings = json.loads(local_sagemaker.connection())
    if place == "connection":
        settings["extra"]["config_kwargs"] = {"read_timeout": 7}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(settings))
    connection = AwsConnection(botocore_config={"read_timeout": 7} if place == "argument" else None)

    client = AwsClients(connection)("lambda")

    assert client.meta.config.read_timeout == 7
    assert client.meta.endpoint_url == local_sagemaker.url


ROLE = "arn:aws:iam::123456789012:role/function"


@pytest.fixture
def invoke(local_sagemaker):
    """Make a function out of a body and run a Lambda step with it."""

    def run(body, *outputs, **connection):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("code.py", f"import time\ndef handler(event, context):\n    {body}\n")
        function = local_sagemaker.client("lambda").create_function(
            FunctionName="sagemaker-f",
            Runtime="python3.12",
            Role=ROLE,
            Handler="code.handler",
            Code={"ZipFile": archive.getvalue()},
            Timeout=60,
        )
        step = {
            "Name": "Call",
            "Type": "Lambda",
            "FunctionArn": function["FunctionArn"],
            "Arguments": {"n": 5},
            "OutputParameters": [{"OutputName": name, "OutputType": kind} for name, kind in outputs],
        }
        run = step_run(local_sagemaker, step, clients=AwsClients(AwsConnection(**connection)))
        runner = runner_of(StepType.LAMBDA)
        return runner.start(run, runner.request(run)).description["OutputParameters"]

    return run


def test_declared_outputs_are_typed_and_the_rest_is_left_out(invoke):
    body = "return {'n': event['n'] + 1, 'text': 7, 'deep': {'a': [1]}, 'other': 1}"

    outputs = invoke(body, ("n", "Integer"), ("text", "String"), ("deep", "String"), ("absent", "String"))

    assert outputs == {"n": 6, "text": "7", "deep": '{"a": [1]}'}


def test_an_output_of_another_type_than_declared_is_refused(invoke):
    with pytest.raises(StepRequestError, match="its output 'n' is declared as Integer"):
        invoke("return {'n': 'many'}", ("n", "Integer"))


def test_an_error_in_the_function_fails_the_step_with_its_message(invoke):
    with pytest.raises(StepFailedError, match="division by zero"):
        invoke("return 1 / 0")


def test_a_function_that_returns_an_error_code_has_succeeded(invoke):
    assert invoke("return {'statusCode': 500}", ("statusCode", "Integer")) == {"statusCode": 500}


def test_a_slow_function_is_given_up_but_never_invoked_twice(invoke, local_sagemaker):
    with pytest.raises(StepTimeoutError, match="may still run"):
        invoke("time.sleep(8)", botocore_config={"read_timeout": 1, "retries": {"total_max_attempts": 1}})

    assert local_sagemaker.calls()["lambda.Invoke"] == 1


def test_the_client_never_repeats_an_invocation_by_itself(local_sagemaker):
    retries = AwsClients(AwsConnection())("lambda").meta.config.retries

    assert retries["total_max_attempts"] == 1
