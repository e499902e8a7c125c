"""Rules decide what becomes of jobs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from endpoint_support import (
    BUCKET,
    processing_request,
    training_request,
    wait_processing,
    wait_training,
)


def ask(endpoint, method, path, document=None):
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(endpoint.url + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def test_a_posted_rule_fails_the_job_with_its_reason(local_sagemaker, sagemaker):
    rule = {"kind": "Training", "name": "^bad", "outcome": "Failed", "reason": "AlgorithmError: no data"}
    ask(local_sagemaker, "POST", "/_local/rules", rule)
    sagemaker.create_training_job(**training_request("bad-1"))
    sagemaker.create_training_job(**training_request("good-1"))

    bad, good = wait_training(sagemaker, "bad-1"), wait_training(sagemaker, "good-1")

    assert (bad["TrainingJobStatus"], bad["FailureReason"]) == ("Failed", "AlgorithmError: no data")
    assert bad["SecondaryStatusTransitions"][-1]["StatusMessage"] == "AlgorithmError: no data"
    assert good["TrainingJobStatus"] == "Completed"


def test_a_rule_is_taken_as_often_as_it_says(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Processing", outcome="Failed", times=2)
    statuses = []
    for index in range(3):
        sagemaker.create_processing_job(**processing_request(f"p-{index}"))
        statuses.append(wait_processing(sagemaker, f"p-{index}")["ProcessingJobStatus"])

    assert statuses == ["Failed", "Failed", "Completed"]
    assert ask(local_sagemaker, "GET", "/_local/rules")["rules"][0]["taken"] == 2


def test_a_rule_can_look_at_the_image(local_sagemaker, sagemaker):
    local_sagemaker.rule(image="xgboost", outcome="Failed")
    sagemaker.create_training_job(**training_request("plain"))
    other = training_request("boosted")
    other["AlgorithmSpecification"]["TrainingImage"] = "683313688378.dkr.ecr.us-east-1.amazonaws.com/xgboost:1"
    sagemaker.create_training_job(**other)

    assert wait_training(sagemaker, "plain")["TrainingJobStatus"] == "Completed"
    assert wait_training(sagemaker, "boosted")["TrainingJobStatus"] == "Failed"


def test_a_rule_gives_the_files_of_an_output_before_the_job_is_over(local_sagemaker, sagemaker, s3):
    report = {"metrics": {"auc": {"value": 0.9}}}
    local_sagemaker.rule(kind="Processing", outputs={"evaluation": {"evaluation.json": report, "note": "x"}})
    sagemaker.create_processing_job(**processing_request())

    wait_processing(sagemaker, "process-1")

    written = s3.get_object(Bucket=BUCKET, Key="evaluation/evaluation.json")["Body"].read()
    assert json.loads(written) == report
    assert s3.get_object(Bucket=BUCKET, Key="evaluation/note")["Body"].read() == b"x"


def test_a_rule_for_an_output_that_the_job_lacks_fails_it(local_sagemaker, sagemaker, s3):
    local_sagemaker.rule(kind="Processing", outputs={"evaluations": {"a.json": {}}})
    sagemaker.create_processing_job(**processing_request())

    job = wait_processing(sagemaker, "process-1")

    assert job["ProcessingJobStatus"] == "Failed"
    assert "'evaluations'" in job["FailureReason"]


def test_a_rule_gives_final_metrics(local_sagemaker, sagemaker):
    local_sagemaker.rule(kind="Training", metrics={"auc": 0.75})
    sagemaker.create_training_job(**training_request())

    metrics = wait_training(sagemaker, "train-1")["FinalMetricDataList"]

    assert [(item["MetricName"], item["Value"]) for item in metrics] == [("auc", 0.75)]


def test_a_rule_that_makes_no_sense_is_refused_with_the_reason(local_sagemaker):
    for document, word in (
        ({"outcome": "Exploded"}, "Exploded"),
        ({"nmae": "x"}, "nmae"),
        ({"name": "("}, "unterminated"),
        ("Failed", "JSON object"),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(local_sagemaker, "POST", "/_local/rules", document)
        assert caught.value.code == 400
        assert word in caught.value.read().decode()


def test_cleared_rules_are_in_force_no_more(local_sagemaker, sagemaker):
    local_sagemaker.rule(outcome="Failed")
    ask(local_sagemaker, "DELETE", "/_local/rules")
    sagemaker.create_training_job(**training_request())

    assert wait_training(sagemaker, "train-1")["TrainingJobStatus"] == "Completed"
