"""Selective execution: some steps run, what they need is reused."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from pipeline_support import fail, get, process, train


def config(*names, source=None):
    selected = {"SelectedSteps": [{"StepName": name} for name in names]}
    return {"SelectiveExecutionConfig": {**selected, **({"SourcePipelineExecutionArn": source} if source else {})}}


def refused(text):
    return pytest.raises(ClientError, match=rf"\(ValidationException\).*{text}")


def chain():
    """A → B → C → D, where B uses what A made."""
    use = {"OutputDataConfig": {"S3OutputPath": get("Steps.A.OutputDataConfig.S3OutputPath")}}
    return [
        train("A"),
        train("B", arguments=use),
        process("C", DependsOn=["B"]),
        process("D", DependsOn=["C"]),
    ]


def test_selected_steps_run_and_what_they_need_is_reused(pipelines):
    source = pipelines.run(*chain())

    arn = pipelines.ended(pipelines.start(**config("B", "C", source=source)))

    steps = pipelines.steps(arn)
    assert list(steps) == ["A", "B", "C"]
    assert steps["A"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": source}
    assert steps["A"]["Metadata"] == pipelines.steps(source)["A"]["Metadata"]
    assert "SelectiveExecutionResult" not in steps["B"]
    assert steps["B"]["Metadata"] != pipelines.steps(source)["B"]["Metadata"]
    found = pipelines.describe(arn)
    assert found["PipelineExecutionStatus"] == "Succeeded"
    assert found["SelectiveExecutionConfig"] == config("B", "C", source=source)["SelectiveExecutionConfig"]


def test_steps_that_need_nothing_need_no_source(pipelines):
    pipelines.create(*chain())

    assert list(pipelines.steps(pipelines.ended(pipelines.start(**config("A", "B"))))) == ["A", "B"]


def test_selections_that_do_not_fit_together_are_refused(pipelines):
    source = pipelines.run(*chain())
    pipelines.create(*chain(), name="other")

    with refused(r"Invalid SourcePipelineExecutionArn: null. The selected steps \[B\] have dependencies on \[A\]"):
        pipelines.start(**config("B"))
    with refused("'B': lies between selected steps but is not selected"):
        pipelines.start(**config("A", "C", source=source))
    with refused("the pipeline has no such step"):
        pipelines.start(**config("Z"))
    with refused("not an execution of pipeline other"):
        pipelines.start("other", **config("B", source=source))
    with refused("does not exist"):
        pipelines.start(**config("B", source=f"{source[:-3]}xyz"))


def test_a_running_execution_is_no_source(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Training", duration=60)
    pipelines.create(*chain())
    source = pipelines.start()

    with refused("is in status Executing"):
        pipelines.start(**config("B", source=source))


@pytest.mark.parametrize("checked", [True, False])
def test_a_source_without_what_is_needed(local_sagemaker, pipelines, choose, checked):
    choose(source_checked_at_start=checked)
    local_sagemaker.rule(name="-A-", outcome="Failed", times=1)
    source = pipelines.run(*chain())

    if checked:
        with refused(r"depend on steps \[A\], which did not succeed"):
            pipelines.start(**config("B", source=source))
    else:
        arn = pipelines.ended(pipelines.start(**config("B", source=source)))
        assert (pipelines.steps(arn), pipelines.status(arn)) == ({}, "Succeeded")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_stopped_source(local_sagemaker, pipelines, choose, allowed):
    choose(source_stopped=allowed)
    slow = local_sagemaker.rule(name="-B-", duration=60, times=1)
    pipelines.create(*chain())
    source = pipelines.start()
    pipelines.until_step(source, "B")
    pipelines.stop(source)
    pipelines.ended(source)
    assert slow.taken == 1

    if allowed:
        assert pipelines.status(pipelines.ended(pipelines.start(**config("B", source=source)))) == "Succeeded"
    else:
        with refused("is in status Stopped"):
            pipelines.start(**config("B", source=source))


def test_parameters_are_not_inherited_from_the_source(pipelines, sagemaker):
    declared = [{"Name": "M", "Type": "String", "DefaultValue": "default"}]
    source = pipelines.run(
        process("A"), fail("F", get("Parameters.M"), DependsOn=["A"]), Parameters=declared, parameters={"M": "given"}
    )

    arn = pipelines.ended(pipelines.start(**config("F", source=source)))

    assert pipelines.steps(source)["F"]["FailureReason"] == "given"
    assert pipelines.steps(arn)["F"]["FailureReason"] == "default"
