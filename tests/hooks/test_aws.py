"""AWS clients of an Airflow connection."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import pytest

from airflow_sagemaker_pipelines.hooks import aws
from airflow_sagemaker_pipelines.hooks.aws import AwsClients, AwsConnection, shared_clients


@pytest.fixture
def connection(local_sagemaker, monkeypatch):
    """Set the extra fields of the Airflow connection ``mine``."""

    def set_extra(**extra):
        settings = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(settings))
        return AwsConnection(aws_conn_id="mine")

    return set_extra


def test_the_connections_endpoint_and_region_count(local_sagemaker, connection):
    clients = AwsClients(connection(endpoint_url=local_sagemaker.url, region_name="eu-central-1"))

    assert clients("sagemaker").meta.endpoint_url == local_sagemaker.url
    assert clients.region_name == "eu-central-1"
    clients("s3").create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert [bucket["Name"] for bucket in local_sagemaker.client("s3").list_buckets()["Buckets"]] == ["mine"]


def test_arguments_win_over_the_connection(local_sagemaker, connection):
    connection(
        endpoint_url=local_sagemaker.url,
        region_name="eu-central-1",
        verify=True,
        config_kwargs={"read_timeout": 90},
    )
    mine = AwsConnection(aws_conn_id="mine", region_name="us-west-2", verify=False, botocore_config={"read_timeout": 7})

    client = AwsClients(mine)("sagemaker")

    assert client.meta.region_name == "us-west-2"
    assert client.meta.config.read_timeout == 7
    assert client._endpoint.http_session._verify is False


def test_without_an_argument_the_connections_config_counts(local_sagemaker, connection):
    mine = connection(endpoint_url=local_sagemaker.url, region_name="us-east-1", config_kwargs={"read_timeout": 90})

    assert AwsClients(mine)("sagemaker").meta.config.read_timeout == 90


def test_a_role_of_the_connection_is_assumed(local_sagemaker, connection):
    mine = connection(
        endpoint_url=local_sagemaker.url, region_name="us-east-1", role_arn="arn:aws:iam::999999999999:role/Other"
    )

    identity = AwsClients(mine)("sts").get_caller_identity()

    assert identity["Arn"].startswith("arn:aws:sts::999999999999:assumed-role/Other/")
    assert local_sagemaker.calls()["sts.AssumeRole"] == 1


def test_without_a_connection_boto3_looks_for_credentials_itself(local_sagemaker):
    clients = AwsClients(AwsConnection(aws_conn_id=None))

    assert clients("sts").get_caller_identity()["Account"] == "123456789012"
    assert clients("sagemaker").meta.endpoint_url == local_sagemaker.url


def test_a_client_is_made_once(local_sagemaker):
    clients = AwsClients(AwsConnection())

    assert clients("sagemaker") is clients("sagemaker")
    assert clients("sagemaker") is not clients("s3")


def test_several_threads_may_ask(local_sagemaker):
    clients = AwsClients(AwsConnection())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: clients("sagemaker").list_models()["Models"], range(16)))

    assert answers == [[]] * 16


def test_the_settings_survive_the_way_through_the_database():
    connection = AwsConnection(
        aws_conn_id=None, region_name="us-east-1", verify="/ca.pem", botocore_config={"retries": {"mode": "adaptive"}}
    )

    assert AwsConnection(**json.loads(json.dumps(connection.serialize()))) == connection
    assert pickle.loads(pickle.dumps(connection)) == connection


def test_settings_may_come_in_any_mapping():
    config = {"read_timeout": 7}
    connection = AwsConnection(botocore_config=MappingProxyType(config))

    assert connection.key == AwsConnection(botocore_config=config).key
    assert json.loads(json.dumps(connection.serialize()))["botocore_config"] == config
    assert pickle.loads(pickle.dumps(connection)) == connection


def test_connections_have_the_same_key_if_their_settings_are_the_same():
    one = AwsConnection(botocore_config={"read_timeout": 7, "retries": {"mode": "adaptive", "max_attempts": 2}})
    same = AwsConnection(botocore_config={"retries": {"max_attempts": 2, "mode": "adaptive"}, "read_timeout": 7})

    assert one.key == same.key
    assert len({one.key, AwsConnection().key, AwsConnection(aws_conn_id=None).key}) == 3


def test_all_waits_of_a_connection_share_their_clients(local_sagemaker):
    config = {"read_timeout": 7}
    first, second, other = (
        shared_clients(AwsConnection(botocore_config=settings)) for settings in (config, dict(config), {})
    )

    assert first is second
    assert other is not first


def test_an_edited_connection_reaches_waits_that_go_on(local_sagemaker, connection, monkeypatch):
    now = 0.0
    monkeypatch.setattr(aws.time, "monotonic", lambda: now)
    mine = connection(endpoint_url=local_sagemaker.url, region_name="us-east-1")
    assert shared_clients(mine).region_name == "us-east-1"

    connection(endpoint_url=local_sagemaker.url, region_name="eu-west-1")
    now = 601.0

    assert shared_clients(mine).region_name == "eu-west-1"
