"""Lambda steps."""

from __future__ import annotations

import json

import pytest

from airflow_sagemaker_pipelines.hooks.aws import AwsClients, AwsConnection

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
