"""What a ForEach step makes of its iterations."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.definition import ExpressionError, load_definition
from airflow_sagemaker_pipelines.steps.for_each import ChildStep, loop_outputs
from airflow_sagemaker_pipelines.steps.status import Verdict


def loop(pick=None):
    body = {"Name": "Body", "Type": "Lambda", "FunctionArn": "f"}
    selector = {"Pick": pick, "Field": {"Get": "IterationOutput.Body.OutputParameters['score']"}}
    arguments = {"IterableItems": ["a", "b", "c"], "MaxConcurrency": 2, "ForEachBody": [body]}
    if pick:
        arguments["Selector"] = selector
    document = {"Steps": [{"Name": "Loop", "Type": "ForEach", "Arguments": arguments}]}
    return load_definition(document).all_steps["Loop"]


def child(index, score=None, verdict=Verdict.SUCCEEDED):
    return ChildStep(step="Body", index=index, verdict=verdict, outputs={"OutputParameters": {"score": score}})


def test_all_iterations_that_succeed_make_the_loop_succeed():
    outputs = loop_outputs(loop(), [child(0, 1), child(1, 2)], 2)

    assert outputs["Status"] == "Succeeded"
    assert (outputs["InputItemCount"], outputs["TotalStepCount"], outputs["SucceededStepCount"]) == (2, 2, 2)
    assert outputs["IterationOutputs"][1] == {"Body": {"OutputParameters": {"score": 2}}}
    assert "Selected" not in outputs


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ((Verdict.SUCCEEDED, Verdict.FAILED), "Failed"),
        ((Verdict.STOPPED, Verdict.FAILED), "Failed"),
        ((Verdict.SUCCEEDED, Verdict.STOPPED), "Stopped"),
        ((), "Succeeded"),
    ],
)
def test_the_status_is_that_of_the_worst_child(verdicts, status):
    children = [child(index, 0, verdict) for index, verdict in enumerate(verdicts)]

    assert loop_outputs(loop(), children, len(children))["Status"] == status


@pytest.mark.parametrize(("pick", "best"), [("MaxBy", 1), ("MinBy", 0)])
def test_the_selector_picks_by_number_and_the_first_of_equals(pick, best):
    scores = {"MaxBy": (9.5, 10, 10), "MinBy": (2, 2, 10)}[pick]
    children = [
        ChildStep(
            step="Body",
            index=index,
            verdict=Verdict.SUCCEEDED,
            outputs={"OutputParameters": {"score": score}, "which": index},
        )
        for index, score in enumerate(scores)
    ]

    assert loop_outputs(loop(pick), children, 3)["Selected"]["which"] == best


def test_a_selector_over_text_is_an_error():
    with pytest.raises(ExpressionError, match="a selector compares numbers"):
        loop_outputs(loop("MaxBy"), [child(0, "high")], 1)


def test_nothing_is_selected_when_no_iteration_succeeded():
    assert "Selected" not in loop_outputs(loop("MaxBy"), [child(0, 1, Verdict.FAILED)], 1)
