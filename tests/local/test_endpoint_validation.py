"""Requests are checked as AWS checks them, whatever the client checked before."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from endpoint_support import processing_request, training_request

from airflow_sagemaker_pipelines.local.service_model import sagemaker_model
from airflow_sagemaker_pipelines.local.validation import compile_pattern


@pytest.fixture
def unchecked(local_sagemaker):
    from botocore.config import Config

    return local_sagemaker.client("sagemaker", config=Config(parameter_validation=False, proxies={}))


def message_of(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return caught.value.response["Error"]["Message"]


def test_a_name_with_an_underscore_is_refused_in_awss_words(sagemaker):
    assert message_of(sagemaker.create_training_job, **training_request("my_job")) == (
        "1 validation error detected: Value 'my_job' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )


def test_every_violation_is_named_with_its_place(unchecked):
    request = training_request()
    request["ResourceConfig"]["InstanceType"] = "ml.huge"
    del request["OutputDataConfig"]["S3OutputPath"]

    message = message_of(unchecked.create_training_job, **request)

    assert message.startswith("2 validation errors detected: ")
    assert (
        "Value null at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: Member must not be null" in message
    )
    assert "Value 'ml.huge' at 'resourceConfig.instanceType'" in message
    assert "Member must satisfy enum value set: [ml.m4.xlarge, " in message


def test_numbers_and_lengths_have_their_limits(unchecked):
    request = processing_request(Environment={"LONG": "x" * 257})
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 0

    message = message_of(unchecked.create_processing_job, **request)

    assert "Member must have value greater than or equal to 1" in message
    assert "Map value must satisfy constraint: [" in message


def test_a_tag_with_a_brace_is_refused_and_a_foreign_letter_is_not(sagemaker):
    refused = training_request(Tags=[{"Key": "run", "Value": "{{ ds }}"}])
    assert "at 'tags.1.member.value'" in message_of(sagemaker.create_training_job, **refused)

    sagemaker.create_training_job(**training_request(Tags=[{"Key": "größe", "Value": "a b/c=d@e"}]))


def test_a_value_of_the_wrong_type_is_a_serialization_error(unchecked):
    with pytest.raises(ClientError) as caught:
        unchecked.describe_training_job(TrainingJobName=["x"])

    assert caught.value.response["Error"]["Code"] == "SerializationException"


def test_what_the_model_cannot_say_is_checked_too(sagemaker):
    request = training_request()
    request["AlgorithmSpecification"]["AlgorithmName"] = "algorithm"
    assert "either TrainingImage or AlgorithmName" in message_of(sagemaker.create_training_job, **request)
    assert "PrimaryContainer or Containers" in message_of(sagemaker.create_model, ModelName="m")


def test_all_patterns_of_the_service_model_but_the_known_one_can_be_checked():
    model = sagemaker_model()
    patterns = {
        shape.metadata["pattern"] for shape in map(model.shape_for, model.shape_names) if "pattern" in shape.metadata
    }

    unusable = [pattern for pattern in patterns if compile_pattern(pattern) is None]

    # Surrogate pairs: a way of Java's to write what Python has no need to.
    assert [pattern[:8] for pattern in unusable] == ["[\\u0020-"]
