from __future__ import annotations

import gzip
import pickle
import threading
from typing import Any

import pytest
from runner_support import Cloud
from sklearn.linear_model import LinearRegression

from airflow_sagemaker_pipelines.local.runner import Runner, _inference

DEFAULTS = """
import os, pickle
def model_fn(model_dir):
    with open(os.path.join(model_dir, "model.pkl"), "rb") as file:
        return pickle.load(file)
"""
# Sums a row; says no to negative numbers. Has to find its model by the literal path.
OWN = """
import json, os
def model_fn(model_dir):
    return json.load(open("/opt/ml/model/factor.json"))
def input_fn(body, content_type):
    assert isinstance(body, str) and content_type == "text/csv"
    print("payload of", len(body.splitlines()))
    return [[float(x) for x in line.split(",")] for line in body.splitlines()]
def predict_fn(rows, factor):
    if any(x < 0 for row in rows for x in row):
        raise ValueError("negative")
    return [sum(row) * factor * int(os.environ.get("TIMES", "1")) for row in rows]
def output_fn(sums, accept):
    return "\\n".join(str(x) for x in sums), accept
"""


def transform(cloud: Cloud, **members: Any) -> dict[str, Any]:
    data = {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": cloud.uri("in/")}},
        "ContentType": "text/csv",
        **members.pop("TransformInput", {}),
    }
    output = {"S3OutputPath": cloud.uri("out"), "Accept": "text/csv", **members.pop("TransformOutput", {})}
    return {
        "ModelName": "model",
        "TransformInput": data,
        "TransformOutput": output,
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        **members,
    }


def model(url: str, **environment: str) -> dict[str, Any]:
    return {"PrimaryContainer": {"Image": "image", "ModelDataUrl": url, "Environment": environment}}


def own_model(cloud: Cloud, **environment: str) -> dict[str, Any]:
    url = cloud.put_tar("m/model.tar.gz", {"factor.json": "2", "code/inference.py": OWN})
    return model(url, **environment)


def test_a_scikit_learn_model_with_the_default_functions(any_runner: Runner, cloud: Cloud) -> None:
    fitted = LinearRegression().fit([[0, 0], [1, 0], [0, 1]], [1, 2, 3])  # 1 + x + 2y
    url = cloud.put_tar("m/model.tar.gz", {"model.pkl": pickle.dumps(fitted)})
    source = cloud.put_tar("code/sourcedir.tar.gz", {"serve.py": DEFAULTS})
    cloud.put("in/a.csv", "1,1\n2,0\n")
    cloud.put("in/deep/b.csv", "0,5\n")
    name = "default"

    result = any_runner.run(
        "transform",
        name,
        transform(cloud),
        threading.Event(),
        model=model(url, SAGEMAKER_PROGRAM="serve.py", SAGEMAKER_SUBMIT_DIRECTORY=source),
    )

    assert result is not None
    assert result.succeeded, cloud.log("TransformJobs", name)
    assert cloud.keys("out") == ["out/a.csv.out", "out/deep/b.csv.out"]
    assert [float(line) for line in cloud.get("out/a.csv.out").split()] == pytest.approx([4, 3])
    assert [float(line) for line in cloud.get("out/deep/b.csv.out").split()] == pytest.approx([11])


def test_own_functions_in_the_model_archive(runner: Runner, cloud: Cloud) -> None:
    cloud.put("in/a.csv", "1,2\n3,4\n5,6\n")
    request = transform(
        cloud,
        TransformInput={"SplitType": "Line"},
        TransformOutput={"AssembleWith": "Line"},
        BatchStrategy="SingleRecord",
        Environment={"TIMES": "10"},
    )

    name = f"own-{runner.mode.value}"

    result = runner.run(
        "transform", name, request, threading.Event(), model=own_model(cloud, SAGEMAKER_PROGRAM="inference.py")
    )

    assert result is not None
    assert result.succeeded, cloud.log("TransformJobs", name)
    assert cloud.get("out/a.csv.out") == b"60.0\n140.0\n220.0\n"
    assert cloud.log("TransformJobs", name) == ["payload of 1"] * 3


def test_many_records_in_one_payload_with_join_and_filters(any_runner: Runner, cloud: Cloud) -> None:
    cloud.put("in/a.csv.gz", gzip.compress(b'"id 1",1,2\nid2,3,4\n'))
    request = transform(
        cloud,
        TransformInput={"SplitType": "Line", "CompressionType": "Gzip"},
        TransformOutput={"AssembleWith": "Line"},
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )

    result = any_runner.run("transform", "join", request, threading.Event(), model=own_model(cloud))

    assert result is not None
    assert result.succeeded, cloud.log("TransformJobs", "join")
    assert cloud.get("out/a.csv.gz.out") == b"id 1,6.0\nid2,14.0\n"
    assert cloud.log("TransformJobs", "join") == ["payload of 2"]


def test_one_wrong_record_fails_the_job(any_runner: Runner, cloud: Cloud) -> None:
    cloud.put("in/a.csv", "1,2\n")
    cloud.put("in/b.csv", "-1,2\n")

    result = any_runner.run("transform", "wrong", transform(cloud), threading.Event(), model=own_model(cloud))

    assert result is not None
    assert result.failure_reason == "AlgorithmError: See job logs for more information"
    assert "ValueError: negative" in cloud.log("TransformJobs", "wrong")
    assert cloud.keys("out") == []


def test_a_filter_that_cannot_be_applied_is_not_ignored(any_runner: Runner, cloud: Cloud) -> None:
    cloud.put("in/a.csv", "1,2\n")
    request = transform(cloud, DataProcessing={"OutputFilter": "$..x"})

    result = any_runner.run("transform", "filter", request, threading.Event(), model=own_model(cloud))

    assert result is not None
    assert result.failure_reason == "ClientError: See job logs for more information"


@pytest.mark.parametrize("described", [{}, {"Containers": [{"Image": "a"}, {"Image": "b"}]}])
def test_a_model_without_script_is_not_served(any_runner: Runner, cloud: Cloud, described: dict[str, Any]) -> None:
    cloud.put("in/a.csv", "1\n")
    assert any_runner.run("transform", "none", transform(cloud), threading.Event(), model=described) is None

    weights = model(cloud.put_tar("m/model.tar.gz", {"xgboost-model": b"\x00"}))
    assert any_runner.run("transform", "none", transform(cloud), threading.Event(), model=weights) is None


def test_model_data_that_is_no_archive(any_runner: Runner, cloud: Cloud) -> None:
    url = cloud.put("m/model.tar.gz", b"not a tar")

    result = any_runner.run("transform", "notar", transform(cloud), threading.Event(), model=model(url))

    assert result is not None
    assert result.failure_reason == f"ClientError: Invalid model data: {url} is not a tar archive"


def test_payloads_respect_the_limit() -> None:
    content = b"aaaa\nbbbb\n\ncccc\n"
    several = _inference.payloads(content, split="Line", strategy="MultiRecord", max_bytes=10)
    whole = _inference.payloads(content, split="None", strategy="MultiRecord", max_bytes=10)

    assert list(several) == [[b"aaaa", b"bbbb"], [b"cccc"]]
    assert list(whole) == [[content]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", {"a": [1, 2, 3]}),
        ("$.a", [1, 2, 3]),
        ("$['a'][0]", 1),
        ("$.a[-1]", 3),
        ("$.a[0,2]", [1, 3]),
        ("$.a[:2]", [1, 2]),
    ],
)
def test_filters(path: str, expected: object) -> None:
    assert _inference.select({"a": [1, 2, 3]}, path) == expected


@pytest.mark.parametrize(("accept", "expected"), [("text/csv", b"1.5\n2.0\n"), ("application/json", b"[1.5, 2.0]")])
def test_default_output(accept: str, expected: bytes) -> None:
    assert _inference.encode([1.5, 2.0], accept) == expected


def test_default_input() -> None:
    assert _inference.decode("1,2\n3,4", "text/csv").tolist() == [[1, 2], [3, 4]]
    assert _inference.decode("[[1]]", "application/json").tolist() == [[1]]
    with pytest.raises(_inference.BadRequest):
        _inference.decode("x", "image/png")
