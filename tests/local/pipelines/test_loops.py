"""ForEach steps."""

from __future__ import annotations

import json

import pytest
from pipeline_support import compare, condition, get, join, parameter, process, train, until

SCORES = [{"MetricName": "auc", "Value": 0.0}]


def loop(*body, items, selector=None, concurrency=5, **more):
    arguments = {"IterableItems": items, "MaxConcurrency": concurrency, "ForEachBody": list(body)}
    if selector:
        arguments["Selector"] = selector
    return {"Name": "Loop", "Type": "ForEach", "Arguments": arguments, **more}


def best(pick="MaxBy"):
    return {"Pick": pick, "Field": get("IterationOutput.Body.FinalMetricDataList['auc'].Value")}


def body(**arguments):
    metrics = {"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"}}
    return train("Body", arguments={**metrics, "Environment": {"ITEM": get("ForEach.CurrentItem")}, **arguments})


def test_each_item_has_its_own_steps(pipelines, sagemaker):
    arn = pipelines.run(
        loop(body(), items=get("Parameters.Items")), Parameters=[parameter("Items")], parameters={"Items": '["a", "b"]'}
    )

    steps = pipelines.steps(arn)
    assert set(steps) == {"Loop", "Body-0", "Body-1"}
    assert steps["Body-1"]["IterationContext"] == {"ParentStepName": "Loop", "Index": 1, "Item": "b"}
    assert steps["Loop"]["Metadata"]["ForEach"] == {
        "Status": "Succeeded",
        "InputItemCount": 2,
        "TotalStepCount": 2,
        "SucceededStepCount": 2,
        "FailedStepCount": 0,
        "StoppedStepCount": 0,
    }
    name = steps["Body-1"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert sagemaker.describe_training_job(TrainingJobName=name)["Environment"] == {"ITEM": "b"}


def test_steps_of_one_iteration_refer_to_each_other_and_to_members_of_the_item(pipelines, sagemaker):
    first = train(
        "First", arguments={"OutputDataConfig": {"S3OutputPath": join("s3://b/", get("ForEach.CurrentItem.name"))}}
    )
    second = train(
        "Second", arguments={"OutputDataConfig": {"S3OutputPath": get("Steps.First.OutputDataConfig.S3OutputPath")}}
    )
    arn = pipelines.run(loop(second, first, items=['{"name": "x"}', '{"name": "y"}']))

    paths = []
    for index in (0, 1):
        name = pipelines.steps(arn)[f"Second-{index}"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
        paths.append(sagemaker.describe_training_job(TrainingJobName=name)["OutputDataConfig"]["S3OutputPath"])
    assert paths == ["s3://b/x", "s3://b/y"]


def test_no_more_steps_run_at_once_than_the_loop_says(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Training", duration=60)
    pipelines.create(loop(body(), items=["a", "b", "c"], concurrency=2), process("Beside"))
    arn = pipelines.start()

    pipelines.until_step(arn, "Beside", "Succeeded")
    until(lambda: len(pipelines.steps(arn)) == 4)
    assert set(pipelines.steps(arn)) == {"Loop", "Body-0", "Body-1", "Beside"}


@pytest.mark.parametrize(
    ("pick", "first", "scores", "selected"),
    [
        ("MaxBy", True, (1, 3, 3), 1),
        ("MaxBy", False, (1, 3, 3), 2),
        ("MinBy", True, (1, 3, 1), 0),
        ("MinBy", False, (1, 3, 1), 2),
    ],
)
def test_a_selector_picks_an_iteration(local_sagemaker, pipelines, choose, *, pick, first, scores, selected):
    choose(first_of_equals=first)
    for score in scores:
        local_sagemaker.rule(kind="Training", metrics={"auc": score}, times=1)
    uses = compare(get("Steps.Loop.Selected.FinalMetricDataList['auc'].Value"), float(scores[selected]))
    counts = compare(get("Steps.Loop.IterationOutputs[1].Body.FinalMetricDataList['auc'].Value"), 3)
    arn = pipelines.run(
        loop(body(), items=["a", "b", "c"], selector=best(pick), concurrency=1), condition("Check", uses, counts)
    )

    steps = pipelines.steps(arn)
    assert steps["Loop"]["Metadata"]["ForEach"]["Selector"] == {"StepName": "Body", "Index": selected}
    assert steps["Check"]["Metadata"]["Condition"]["Outcome"] == "True"


@pytest.mark.parametrize(("goes_on", "started"), [(True, 3), (False, 1)])
def test_other_iterations_may_go_on_after_a_failure(local_sagemaker, pipelines, choose, goes_on, started):
    choose(loop_goes_on=goes_on)
    local_sagemaker.rule(kind="Training", outcome="Failed", times=1, duration=0)
    arn = pipelines.run(loop(body(), items=["a", "b", "c"], concurrency=1), process("After", DependsOn=["Loop"]))

    steps = pipelines.steps(arn)
    assert len(steps) == 1 + started
    found = steps["Loop"]["Metadata"]["ForEach"]
    assert (steps["Loop"]["StepStatus"], found["Status"], found["FailedStepCount"]) == ("Failed", "Failed", 1)
    assert pipelines.status(arn) == "Failed"


@pytest.mark.parametrize("status", ["Succeeded", "Failed"])
def test_a_loop_without_items(pipelines, choose, status):
    choose(empty_loop=status)
    arn = pipelines.run(loop(body(), items=get("Parameters.Items")), Parameters=[parameter("Items", DefaultValue="[]")])

    assert pipelines.states(arn) == {"Loop": status}


def test_items_that_are_no_list_fail_the_loop(pipelines):
    arn = pipelines.run(loop(body(), items=get("Parameters.Items")), Parameters=[parameter("Items", DefaultValue="x")])

    assert pipelines.steps(arn)["Loop"]["FailureReason"] == "ClientError: IterableItems is 'x', not a JSON list"


def test_a_stop_stops_the_iterations(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Training", duration=60)
    pipelines.create(loop(body(), items=["a", "b", "c"], concurrency=2))
    arn = pipelines.start()
    pipelines.until_step(arn, "Body-1")

    pipelines.stop(arn)
    pipelines.ended(arn)

    assert pipelines.states(arn) == {"Loop": "Stopped", "Body-0": "Stopped", "Body-1": "Stopped"}
    assert pipelines.status(arn) == "Stopped"


def test_a_retry_keeps_the_iterations_that_succeeded(local_sagemaker, pipelines):
    local_sagemaker.rule(name="-Body-1-", outcome="Failed", times=1)
    arn = pipelines.run(loop(body(), items=["a", "b"]))
    before = pipelines.steps(arn)
    assert before["Body-1"]["StepStatus"] == "Failed"

    pipelines.retry(arn)
    pipelines.ended(arn)

    steps = pipelines.steps(arn)
    assert pipelines.status(arn) == "Succeeded"
    assert steps["Body-0"] == before["Body-0"]
    assert steps["Body-1"]["Metadata"] != before["Body-1"]["Metadata"]


def test_long_and_structured_items_are_shown_as_text(pipelines):
    items = [json.dumps({"deep": list(range(3))}), 7]
    arn = pipelines.run(loop(process("Body"), items=items))

    steps = pipelines.steps(arn)
    assert [steps[f"Body-{index}"]["IterationContext"]["Item"] for index in (0, 1)] == ['{"deep": [0, 1, 2]}', "7"]
