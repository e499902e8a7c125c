"""What the parts of a document say about each other."""

import itertools

import pytest

from airflow_sagemaker_pipelines.definition import load_definition

from .documents import choice, document, evaluation, fail, function, get, join, loop, only_problem, problems_of, step


def bad(where, what, fix, *steps, **members):
    return pytest.param(document(*steps, **members), where, what, fix, id=f"{where}: {what}"[:90])


def output(name, member="s"):
    return get(f"Steps.{name}.OutputParameters['{member}']")


@pytest.mark.parametrize(
    ("source", "where", "what", "fix"),
    [
        # unknown names
        bad(
            "$.Steps[1].DependsOn[0]",
            "there is no step 'Prepaer'",
            "Perhaps 'Prepare' is meant",
            step("Prepare"),
            step("Train", DependsOn=["Prepaer"]),
        ),
        bad(
            "$.Steps[0].DependsOn[2]",
            "there is no step 'Nope'",
            "Known: 'A', 'Bcdefg'",
            step("A", DependsOn=["Bcdefg", "Bcdefg", "Nope"]),
            step("Bcdefg"),
        ),
        bad(
            "$.Steps[0].DependsOn[1]",
            "there is no step 'Trainer'",
            "Perhaps 'Train' is meant",
            step("A", DependsOn=[{"Step": "Train", "Trigger": "Any"}, {"Step": "Trainer", "Trigger": "Failed"}]),
            step("Train"),
        ),
        bad(
            "$.Steps[0].Arguments.IfSteps[0].DependsOn[0]",
            "there is no step 'Trian'",
            "Perhaps 'Train' is meant",
            choice(if_steps=[step("In", DependsOn=["Trian"])]),
            step("Train"),
        ),
        bad(
            "$.Steps[0].SkipCheck.Get",
            "there is no parameter 'Skip'",
            "There is none",
            step("Q", "QualityCheck", CheckType="DATA_QUALITY", SkipCheck=get("Parameters.Skip")),
        ),
        bad(
            "$.Steps[0].Arguments.Conditions[0].LeftValue.Get",
            "there is no step 'Cal'",
            "Perhaps 'Call' is meant",
            choice(conditions=[{"Type": "Equals", "LeftValue": output("Cal"), "RightValue": 1}]),
            function("Call"),
        ),
        bad(
            "$.PipelineExperimentConfig.TrialName.Get",
            "there is no parameter 'Trail'",
            "Perhaps 'Trial' is meant",
            Parameters=[{"Name": "Trial"}],
            PipelineExperimentConfig={"ExperimentName": "e", "TrialName": get("Parameters.Trail")},
        ),
        bad(
            "$.PipelineExperimentConfig.TrialName.Get",
            "no step has run",
            "Use parameters and execution variables",
            step("Train"),
            PipelineExperimentConfig={"ExperimentName": "e", "TrialName": get("Steps.Train.TrainingJobName")},
        ),
        bad(
            "$.Steps[0].Arguments.x.Get",
            "the pipeline has no PipelineExperimentConfig",
            "Add one",
            function("A", {"x": get("PipelineExperimentConfig.TrialName")}),
            PipelineExperimentConfig=None,
        ),
        # Fail and Cleanup
        bad(
            "$.Steps[1].DependsOn[0]",
            "Train can not depend on the Fail step 'Abort'",
            "Remove the dependency",
            fail("Abort"),
            step("Train", DependsOn=["Abort"]),
        ),
        bad(
            "$.Steps[1].DependsOn[0]",
            "can not depend on the Fail step 'Abort'",
            "Remove the dependency",
            fail("Abort"),
            step("Train", DependsOn=[{"Step": "Abort", "Trigger": "Failed"}]),
        ),
        bad(
            "$.Steps[1].DependsOn[0]",
            "can not depend on the Fail step 'Abort'",
            "Remove the dependency",
            choice(else_steps=[fail("Abort")]),
            step("Train", DependsOn=["Abort"]),
        ),
        bad(
            "$.Steps[1].Arguments.x.Get",
            "'Abort' is a Fail step, which has no properties",
            "Remove the reference",
            fail("Abort"),
            function("A", {"x": get("Steps.Abort.ErrorMessage")}),
        ),
        bad(
            "$.Steps[2].Arguments.x.Get",
            "'Clean' is a Cleanup step, which has no properties",
            "Remove the reference",
            step("Train"),
            step("Clean", "Cleanup", Arguments={"Resources": {"S3": [{"StepName": "Train"}]}}),
            function("A", {"x": get("Steps.Clean.CleanedSteps")}),
        ),
        bad(
            "$.Steps[1].Arguments.Resources.S3[1].StepName",
            "there is no step 'Trian'",
            "Perhaps 'Train' is meant",
            step("Train"),
            step("Clean", "Cleanup", Arguments={"Resources": {"S3": [{"StepName": "Train"}, {"StepName": "Trian"}]}}),
        ),
        # loops
        bad(
            "$.Steps[1].Arguments.x.Get",
            "'Body' runs inside the loop 'Loop'",
            "Steps.Loop.IterationOutputs[…].Body",
            loop(body=[function("Body")]),
            function("A", {"x": output("Body")}),
        ),
        bad(
            "$.Steps[1].DependsOn[0]",
            "'Body' runs inside the loop 'Loop'",
            "Steps.Loop.Selected",
            loop(body=[function("Body")]),
            step("A", DependsOn=["Body"]),
        ),
        bad(
            "$.Steps[1].Arguments.ForEachBody[0].Arguments.x.Get",
            "'Body' runs inside the loop 'One'",
            "Steps.One.Selected",
            loop("One", [function("Body")]),
            loop("Two", [function("Other", {"x": output("Body")})]),
        ),
        bad(
            "$.Steps[0].Arguments.IterableItems[0].Get",
            "outside a loop's body",
            "Use it inside ForEachBody",
            loop(items=[get("ForEach.CurrentItem")], body=[function("Body")]),
        ),
        bad(
            "$.Steps[1].Name",
            "'Body-0' is a name that an iteration of 'Body' takes",
            "Rename the step",
            loop(body=[function("Body")]),
            step("Body-0"),
        ),
        bad(
            "$.Steps[0].Arguments.ElseSteps[0].Name",
            "'Body-12' is a name that an iteration of 'Body'",
            "Rename the step",
            choice(else_steps=[step("Body-12")]),
            loop(body=[function("Body")]),
        ),
        bad(
            "$.Steps[1].Arguments.ForEachBody[0].Name",
            "the name 'A' is taken by another step",
            "Rename one",
            step("A"),
            loop(body=[function("A")]),
        ),
        bad(
            "$.Steps[1].Arguments.ForEachBody[0].Name",
            "the name 'Body' is taken by another step",
            "Rename one",
            loop("One", [function("Body")]),
            loop("Two", [function("Body")]),
        ),
        bad(
            "$.Steps[0].Arguments.Selector.Field",
            "the loop's body has no step 'Bdoy'",
            "Perhaps 'Body' is meant",
            loop(body=[function("Body")], Selector={"Pick": "MaxBy", "Field": get("IterationOutput.Bdoy.x")}),
        ),
        bad(
            "$.Steps[0].Arguments.Selector.Field",
            "is not an output of the loop's body",
            "IterationOutput.<step>.<member>",
            loop(body=[function("Body")], Selector={"Pick": "MaxBy", "Field": 5}),
        ),
        bad(
            "$.Steps[0].Arguments.Selector.Pick",
            "'Max' is unknown",
            "Perhaps 'MaxBy' is meant",
            loop(body=[function("Body")], Selector={"Pick": "Max", "Field": get("IterationOutput.Body.x")}),
        ),
    ],
)
def test_what_does_not_fit_together_is_reported_with_its_place_and_its_fix(source, where, what, fix):
    problem = only_problem(source)

    assert problem.where == where
    assert what in problem.what
    assert fix in problem.fix


@pytest.mark.parametrize("kind", ["Condition", "Fail", "ForEach"])
def test_a_loop_holds_no_condition_fail_or_loop(kind):
    inner = {
        "Condition": choice("Inner"),
        "Fail": fail("Inner"),
        "ForEach": loop("Inner", [function("Deep")]),
    }[kind]
    problem = only_problem(document(loop(body=[function("Body"), inner])))

    assert problem.where == "$.Steps[0].Arguments.ForEachBody[1].Type"
    assert f"a {kind} step cannot stand in a loop" in problem.what
    assert "Move it out" in problem.fix


def test_names_like_a_loop_child_are_free_without_such_a_loop_body():
    load_definition(document(step("Body"), step("Body-0"), loop(body=[function("Other")])))


# --- cycles


def chain_of(*names):
    """Steps that each wait for the next, the last for the first."""
    following = itertools.chain(names[1:], names[:1])
    return [step(name, DependsOn=[after]) for name, after in zip(names, following, strict=True)]


def cycles_in(source):
    cycles = []
    for problem in problems_of(source):
        assert "the steps wait for each other: " in problem.what, str(problem)
        assert problem.fix == "Remove one of these dependencies or references"
        cycles.append(problem.what.partition(": ")[2].split(" → "))
    return cycles


def assert_is_cycle(cycle, waits_for):
    """Every step in the report really waits for the one after it, and the report ends where it began."""
    assert cycle[0] == cycle[-1]
    assert len(cycle) >= 2
    for step_name, upstream in itertools.pairwise(cycle):
        assert upstream in waits_for[step_name]


@pytest.mark.parametrize("names", ["A", "AB", "ABC", "ABCDEFG"])
def test_a_cycle_is_spelled_out(names):
    source = document(step("Z"), *chain_of(*names))

    (cycle,) = cycles_in(source)
    assert_is_cycle(cycle, {name: {after} for name, after in zip(names, names[1:] + names[0], strict=True)})
    assert set(cycle) == set(names)
    (problem,) = problems_of(source)
    assert problem.where == f"$.Steps[{names.index(cycle[0]) + 1}]"


def test_references_make_cycles_as_dependencies_do():
    source = document(
        function("A", {"x": join("a", output("B"))}),
        step("B", DependsOn=[{"Step": "C", "Trigger": "Any"}]),
        step("C", "QualityCheck", CheckType="DATA_QUALITY", ModelPackageGroupName=output("A")),
    )

    (cycle,) = cycles_in(source)
    assert_is_cycle(cycle, {"A": {"B"}, "B": {"C"}, "C": {"A"}})


def test_a_step_that_refers_to_itself_is_a_cycle():
    assert cycles_in(document(function("A", {"x": output("A")}))) == [["A", "A"]]


def test_a_condition_cannot_wait_for_its_own_branch():
    source = document(
        choice("Check", [{"Type": "Equals", "LeftValue": output("In"), "RightValue": 1}], if_steps=[function("In")])
    )

    (cycle,) = cycles_in(source)
    assert_is_cycle(cycle, {"Check": {"In"}, "In": {"Check"}})


def test_a_cycle_may_run_through_a_branch():
    source = document(
        function("First", {"x": output("In")}),
        choice(
            "Check", [{"Type": "Equals", "LeftValue": output("First"), "RightValue": 1}], else_steps=[function("In")]
        ),
    )

    (cycle,) = cycles_in(source)
    assert_is_cycle(cycle, {"First": {"In"}, "In": {"Check"}, "Check": {"First"}})


def test_a_cycle_inside_the_body_of_a_loop_is_found():
    source = document(loop(body=[function("A", {"x": output("B")}), function("B", {"x": output("A")})]))

    (cycle,) = cycles_in(source)
    assert_is_cycle(cycle, {"A": {"B"}, "B": {"A"}})


def test_a_body_that_waits_for_its_own_loop_is_a_cycle():
    assert cycles_in(document(loop("Loop", [step("Body", DependsOn=["Loop"])]))) == [["Loop", "Loop"]]


def test_a_body_that_waits_for_a_step_below_its_loop_is_a_cycle():
    source = document(loop("Loop", [step("Body", DependsOn=["After"])]), step("After", DependsOn=["Loop"]))

    (cycle,) = cycles_in(source)
    assert_is_cycle(cycle, {"Loop": {"After"}, "After": {"Loop"}})


def test_separate_cycles_are_all_reported():
    found = cycles_in(document(*chain_of("A", "B"), *chain_of("C", "D", "E"), *chain_of("F")))

    assert {frozenset(cycle) for cycle in found} == {frozenset("AB"), frozenset("CDE"), frozenset("F")}


def test_overlapping_cycles_are_reported_without_end():
    names = [f"S{index}" for index in range(12)]
    source = document(*[step(name, DependsOn=[other for other in names if other != name]) for name in names])

    for cycle in cycles_in(source):
        assert_is_cycle(cycle, {name: set(names) - {name} for name in names})


def test_the_conjunction_of_a_reference_and_a_dependency_is_no_cycle():
    load_definition(document(function("A"), function("B", {"x": output("A")}, DependsOn=["A"])))


# --- what may refer to what


def test_steps_may_refer_to_steps_in_other_branches_and_below():
    definition = load_definition(
        document(
            function("Top", {"x": output("In")}),
            choice("One", if_steps=[function("In")], else_steps=[function("Else", {"x": output("Late")})]),
            choice("Two", if_steps=[function("There", {"x": output("Else")})]),
            function("Late"),
        )
    )

    assert set(definition.graph.upstreams["Top"]) == {"In"}
    assert set(definition.graph.upstreams["There"]) == {"Else", "Two"}


def test_a_step_may_depend_on_a_condition_and_use_its_outcome():
    definition = load_definition(
        document(
            choice("Check"),
            step("After", DependsOn=["Check"]),
            function("Use", {"x": join(get("Steps.Check.Outcome"))}),
        )
    )

    assert set(definition.graph.upstreams["After"]) == {"Check"}
    assert set(definition.graph.upstreams["Use"]) == {"Check"}


def test_steps_of_a_loop_body_may_refer_to_each_other_and_outside():
    load_definition(
        document(
            evaluation("Evaluate"),
            loop(body=[function("A", {"x": output("B")}), function("B", {"x": output("Out")})]),
            function("Out"),
        )
    )


def test_problems_of_every_duplicate_are_reported():
    found = problems_of(document(step("A", DependsOn=["Nope"]), step("A", DependsOn=["Never"])))

    assert {problem.where for problem in found} == {
        "$.Steps[0].DependsOn[0]",
        "$.Steps[1].Name",
        "$.Steps[1].DependsOn[0]",
    }


@pytest.mark.parametrize("entry", ["", {"Step": ""}, {"Step": "", "Trigger": "Any"}])
def test_an_empty_name_is_no_step(entry):
    problem = only_problem(document(step("A", DependsOn=[entry])))

    assert problem.where == "$.Steps[0].DependsOn[0]"
    assert "there is no step ''" in problem.what
