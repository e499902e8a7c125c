"""What the endpoint adds to AWS: counts, health, reset; and what it refuses."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from endpoint_support import BUCKET, training_request

from airflow_sagemaker_pipelines.local import LocalEndpoint


def ask(endpoint, path, method="GET", **headers):
    request = urllib.request.Request(endpoint.url + path, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def test_calls_are_counted_by_service_and_operation_in_every_protocol(local_sagemaker, sagemaker, s3):
    sagemaker.create_training_job(**training_request())
    s3.put_object(Bucket=BUCKET, Key="a/b", Body=b"x")
    s3.list_objects_v2(Bucket=BUCKET)
    local_sagemaker.client("sts").get_caller_identity()
    local_sagemaker.client("sqs").create_queue(QueueName="q")

    counts = ask(local_sagemaker, "/_local/calls")

    assert counts == {
        "s3.CreateBucket": 1,
        "s3.ListObjectsV2": 1,
        "s3.PutObject": 1,
        "sagemaker.CreateTrainingJob": 1,
        "sqs.CreateQueue": 1,
        "sts.GetCallerIdentity": 1,
    }
    assert local_sagemaker.calls() == counts
    ask(local_sagemaker, "/_local/calls", "DELETE")
    assert local_sagemaker.calls() == {}


def test_a_presigned_address_works_and_is_counted(local_sagemaker, s3):
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a"})

    with urllib.request.urlopen(url, timeout=5) as response:
        assert response.read() == b"content"


def test_reset_forgets_jobs_buckets_rules_and_counts(local_sagemaker, sagemaker, s3):
    local_sagemaker.rule(kind="Training", duration=60)
    sagemaker.create_training_job(**training_request())

    ask(local_sagemaker, "/_local/reset", "POST")

    assert local_sagemaker.calls() == {}
    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert s3.list_buckets()["Buckets"] == []
    assert ask(local_sagemaker, "/_local/rules") == {"rules": []}


def test_a_job_of_before_a_reset_leaves_nothing_behind_it(local_sagemaker, sagemaker, s3):
    sagemaker.create_training_job(**training_request())
    local_sagemaker.reset()
    s3.create_bucket(Bucket=BUCKET)

    time.sleep(0.3)

    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


def test_health_says_how_the_endpoint_is_set_up(local_sagemaker):
    health = ask(local_sagemaker, "/_local/health")

    assert health["status"] == "ok"
    assert health["endpoint_url"] == local_sagemaker.url
    assert health["run_code"] is False


def test_an_operation_that_is_missing_is_told_at_once(local_sagemaker, sagemaker):
    with pytest.raises(ClientError) as caught:
        sagemaker.list_hubs()
    with pytest.raises(ClientError) as caught_xml:
        local_sagemaker.client("iam").simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:role/R", ActionNames=["s3:GetObject"]
        )

    for error, operation in ((caught.value, "ListHubs"), (caught_xml.value, "SimulatePrincipalPolicy")):
        assert error.response["Error"]["Code"] == "NotImplemented"
        assert operation in error.response["Error"]["Message"]
        assert error.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_web_pages_are_refused(local_sagemaker):
    for headers in ({"Origin": "https://example.com"}, {"Host": "rebound.example.com"}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(local_sagemaker, "/_local/health", **headers)
        assert caught.value.code == 403


def test_unknown_local_paths_and_methods_say_what_there_is(local_sagemaker):
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(local_sagemaker, "/_local/cals")
    assert caught.value.code == 404
    assert "/_local/calls" in caught.value.read().decode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(local_sagemaker, "/_local/reset")
    assert caught.value.code == 405


def test_a_second_endpoint_in_one_process_is_refused_and_the_first_lives_on(local_sagemaker, sagemaker):
    with pytest.raises(RuntimeError, match="already serves a local AWS endpoint"):
        LocalEndpoint().start()

    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
