"""The files that expressions read."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.definition import ExpressionError
from airflow_sagemaker_pipelines.hooks.aws import AwsClients, AwsConnection
from airflow_sagemaker_pipelines.operators.run import read_s3_text
from airflow_sagemaker_pipelines.steps import s3
from airflow_sagemaker_pipelines.steps.errors import StepCallError


@pytest.fixture
def read(local_sagemaker):
    client = local_sagemaker.client("s3")
    client.create_bucket(Bucket="lake")
    client.put_object(Bucket="lake", Key="a/report.json", Body='{"ä": 1}'.encode())
    client.put_object(Bucket="lake", Key="bytes", Body=b"\xff\xfe")
    return lambda uri: read_s3_text(AwsClients(AwsConnection()), uri, "Check")


def test_a_file_is_read_as_text(read):
    assert read("s3://lake/a/report.json") == '{"ä": 1}'


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("s3://lake/none.json", "s3://lake/none.json cannot be read: GetObject was refused with NoSuchKey"),
        ("s3://nowhere/x", "s3://nowhere/x cannot be read: GetObject was refused with NoSuchBucket"),
        ("s3://lake", "'s3://lake' is not the S3 URI of a file"),
        ("s3://lake/", "'s3://lake/' is not the S3 URI of a file"),
        ("https://lake/x", "'https://lake/x' is not the S3 URI of a file"),
        ("s3://lake/bytes", "s3://lake/bytes is not text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_says_why(read, uri, why):
    with pytest.raises(ExpressionError) as caught:
        read(uri)

    assert str(caught.value).startswith(why)


def test_a_file_has_a_largest_size(read, monkeypatch):
    monkeypatch.setattr(s3, "MAX_FILE_BYTES", 3)

    with pytest.raises(ExpressionError, match="is larger than 3 bytes"):
        read("s3://lake/a/report.json")


def test_a_file_that_is_cut_off_on_the_way_is_read_again_later(local_sagemaker):
    s3 = local_sagemaker.client("s3")
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="evaluation.json", Body=b'{"accuracy": 0.97}')
    local_sagemaker.fault("truncate", service="s3", operation="GetObject", content_length="full")
    clients = AwsClients(AwsConnection(botocore_config={"retries": {"total_max_attempts": 1}}))

    with pytest.raises(StepCallError):
        read_s3_text(clients, "s3://lake/evaluation.json", "Check")
