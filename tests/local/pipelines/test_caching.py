"""Cached steps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pipeline_support import get, join, parameter, process, train, until

CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P30D"}}


def environment(value):
    return {"Environment": {"MODE": value}}


def test_an_equal_step_is_not_run_again(pipelines, sagemaker):
    after = train(
        "Next", arguments={"OutputDataConfig": {"S3OutputPath": get("Steps.Train.OutputDataConfig.S3OutputPath")}}
    )
    pipelines.create(train("Train", **CACHED), after)

    first, second, third = (pipelines.ended(pipelines.start()) for _ in range(3))

    one, two, three = (pipelines.steps(arn)["Train"] for arn in (first, second, third))
    assert one["CacheHitResult"] == {"SourcePipelineExecutionArn": ""}
    assert two["CacheHitResult"] == three["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
    assert one["Metadata"] == two["Metadata"] == three["Metadata"]
    assert two["StepStatus"] == "Succeeded"
    assert "CacheHitResult" not in pipelines.steps(second)["Next"]
    assert pipelines.status(second) == "Succeeded"


@pytest.mark.parametrize(
    ("change", "hit"),
    [
        (environment("other"), False),
        ({"ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.c5.xlarge", "VolumeSizeInGB": 5}}, True),
        ({"OutputDataConfig": {"S3OutputPath": "s3://elsewhere/models"}}, True),
        ({"HyperParameters": {"depth": "3"}}, False),
    ],
)
def test_only_some_attributes_count(pipelines, change, hit):
    pipelines.create(train("Train", arguments=environment("one"), **CACHED))
    first = pipelines.ended(pipelines.start())

    pipelines.update(train("Train", arguments={**environment("one"), **change}, **CACHED))
    second = pipelines.ended(pipelines.start())

    source = pipelines.steps(second)["Train"]["CacheHitResult"]["SourcePipelineExecutionArn"]
    assert source == (first if hit else "")


def test_attributes_are_compared_as_the_execution_resolves_them(pipelines):
    step = process("P", arguments=environment(join("m-", get("Parameters.Mode"))), **CACHED)
    pipelines.create(step, Parameters=[parameter("Mode")])

    arns = [pipelines.ended(pipelines.start(parameters={"Mode": mode})) for mode in ("a", "b", "a")]

    hits = [pipelines.steps(arn)["P"]["CacheHitResult"]["SourcePipelineExecutionArn"] for arn in arns]
    assert hits == ["", "", arns[0]]


def test_failures_and_other_pipelines_are_never_reused(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Training", outcome="Failed", times=1)
    pipelines.create(train("Train", **CACHED))
    pipelines.create(train("Train", **CACHED), name="other")

    arns = [pipelines.ended(pipelines.start(name)) for name in ("pipe", "pipe", "other")]

    hits = [pipelines.steps(arn)["Train"]["CacheHitResult"]["SourcePipelineExecutionArn"] for arn in arns]
    assert hits == ["", "", ""]


def test_a_result_expires(pipelines):
    step = train("Train", CacheConfig={"Enabled": True, "ExpireAfter": "T1S"})
    pipelines.create(step)
    first = pipelines.ended(pipelines.start())
    ended = pipelines.steps(first)["Train"]["EndTime"]
    until(lambda: _age(ended) > 1.05)

    second = pipelines.ended(pipelines.start())

    assert pipelines.steps(second)["Train"]["CacheHitResult"] == {"SourcePipelineExecutionArn": ""}


def _age(moment):
    return (datetime.now(UTC) - moment).total_seconds()


def test_a_step_that_ran_without_caching_is_a_source_for_one_with_it(pipelines):
    pipelines.create(train("Train"))
    first = pipelines.ended(pipelines.start())
    pipelines.update(train("Train", **CACHED))

    second = pipelines.ended(pipelines.start())

    assert pipelines.steps(second)["Train"]["CacheHitResult"] == {"SourcePipelineExecutionArn": first}


@pytest.mark.parametrize("cached", [True, False])
def test_types_whose_attributes_are_not_documented_may_be_cached(pipelines, sagemaker, choose, cached):
    choose(cache_undocumented=cached)
    document = {"JobCategory": "AgentRFTEvaluation", "JobConfigSchemaVersion": "1.0.0", "JobConfigDocument": "{}"}
    pipelines.create({"Name": "Job", "Type": "Job", "Arguments": document, **CACHED})

    first, second = (pipelines.ended(pipelines.start()) for _ in range(2))

    found = pipelines.steps(second)["Job"].get("CacheHitResult")
    assert found == ({"SourcePipelineExecutionArn": first} if cached else None)
