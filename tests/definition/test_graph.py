import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.definition import StepSelectionError, Trigger, load_definition

from .documents import choice, document, evaluation, function, get, join, loop, step


def graph_of(*steps, **members):
    return load_definition(document(*steps, **members)).graph


def edges(graph):
    return {name: dict(upstreams) for name, upstreams in graph.upstreams.items()}


def output(name):
    return get(f"Steps.{name}.OutputParameters['s']")


REPORT = {"Std:JsonGet": {"PropertyFile": get("Steps.Evaluate.PropertyFiles.Report"), "Path": "a"}}


# --- dependencies


@pytest.mark.parametrize(
    "members",
    [
        {"DependsOn": ["Up"]},
        {"DependsOn": ["Up", "Up"]},
        {"DependsOn": [{"Step": "Up"}]},
        {"DependsOn": [{"Step": "Up", "Trigger": "Completed"}]},
        {"Arguments": {"x": output("Up")}},
        {"Arguments": {"x": [{"y": [output("Up")]}]}},
        {"Arguments": {"x": join("a", join(output("Up")))}},
        {"Arguments": {"x": {"Std:JsonGet": {"S3Uri": join("s3:/", output("Up"), on="/"), "Path": "a"}}}},
        {"Arguments": {"Get": output("Up"), "y": 1}},
        {"SkipCheck": output("Up")},
        {"SuppliedBaselineConstraints": join(output("Up"), "x")},
        {"Arguments": {"x": output("Up")}, "DependsOn": ["Up"]},
    ],
)
def test_a_step_waits_for_what_it_lists_and_what_it_refers_to(members):
    down = step("Down", "QualityCheck", **{"CheckType": "DATA_QUALITY"} | members)

    assert edges(graph_of(function("Up"), down)) == {"Up": {}, "Down": {"Up": Trigger.COMPLETED}}


def test_a_property_file_is_a_dependency():
    assert edges(graph_of(evaluation("Evaluate"), function("Down", {"x": REPORT})))["Down"] == {
        "Evaluate": Trigger.COMPLETED
    }


def test_text_that_looks_like_a_reference_is_none():
    arguments = {"x": "Steps.Up.Name", "y": {"Get": "Steps.Up.Name", "z": 1}, "Steps.Up": ["{'Get': 'Steps.Up.Name'}"]}

    assert edges(graph_of(function("Up"), function("Down", arguments)))["Down"] == {}


def test_names_that_begin_alike_are_told_apart():
    graph = graph_of(
        function("A"), function("A-B"), function("A-B-1"), function("Down", {"x": output("A-B"), "y": output("A-B-1")})
    )

    assert set(graph.upstreams["Down"]) == {"A-B", "A-B-1"}


@pytest.mark.parametrize("trigger", list(Trigger))
def test_triggers_are_kept(trigger):
    graph = graph_of(step("Up"), step("Down", DependsOn=[{"Step": "Up", "Trigger": str(trigger)}]))

    assert edges(graph)["Down"] == {"Up": trigger}


def test_a_listed_trigger_holds_for_a_reference_to_the_same_step():
    clean = step(
        "Clean",
        "Cleanup",
        Arguments={"Resources": {"S3": [{"StepName": "Train"}, {"StepName": "Other", "S3Uris": [output("Call")]}]}},
        DependsOn=[{"Step": "Train", "Trigger": "Any"}],
    )

    assert edges(graph_of(step("Train"), step("Other", "Processing"), function("Call"), clean))["Clean"] == {
        "Train": Trigger.ANY,
        "Other": Trigger.COMPLETED,
        "Call": Trigger.COMPLETED,
    }


def test_branch_steps_wait_for_their_condition_and_the_condition_not_for_what_they_use():
    graph = graph_of(
        function("Call"),
        evaluation("Evaluate"),
        choice(
            "Check",
            [
                {
                    "Type": "Or",
                    "Conditions": [{"Type": "Not", "Condition": {"Type": "In", "QueryValue": 1, "Values": [REPORT]}}],
                }
            ],
            if_steps=[function("Yes", {"x": output("Call")})],
            else_steps=[choice("Inner", if_steps=[function("Deep")])],
        ),
    )
    done = Trigger.COMPLETED

    assert edges(graph) == {
        "Call": {},
        "Evaluate": {},
        "Check": {"Evaluate": done},
        "Yes": {"Call": done, "Check": done},
        "Inner": {"Check": done},
        "Deep": {"Inner": done},
    }


@pytest.mark.parametrize("kind", ["Type", "both spellings"])
def test_operands_in_both_spellings_are_references(kind):
    keys = ("QueryValue", "Values") if kind == "Type" else ("Value", "In")
    condition = {"Type": "NotIn", keys[0]: output("A"), keys[1]: [1, output("B")]}
    graph = graph_of(function("A"), function("B"), choice("Check", [condition]))

    assert set(graph.upstreams["Check"]) == {"A", "B"}


def test_a_loop_waits_for_what_its_items_and_its_body_need():
    graph = graph_of(
        function("Items"),
        function("Config"),
        step("Lint"),
        loop(
            "Loop",
            [
                function("Body", {"x": output("Config"), "y": get("ForEach.CurrentItem")}),
                function("Next", {"x": output("Body")}, DependsOn=["Lint", "Body"]),
            ],
            IterableItems=output("Items"),
            Selector={"Pick": "MinBy", "Field": get("IterationOutput.Body.OutputParameters['s']")},
        ),
        function("After", {"x": get("Steps.Loop.Selected.OutputParameters['s']")}),
    )

    assert set(graph.upstreams) == {"Items", "Config", "Lint", "Loop", "After"}
    assert set(graph.upstreams["Loop"]) == {"Items", "Config", "Lint"}
    assert set(graph.upstreams["After"]) == {"Loop"}


def test_downstreams_are_the_reverse_of_upstreams():
    graph = graph_of(step("C", DependsOn=["A", "B"]), step("B", DependsOn=["A"]), step("A"))

    assert set(graph.downstreams("A")) == {"B", "C"}
    assert graph.downstreams("B") == ("C",)
    assert graph.downstreams("C") == ()


# --- against brute force


@st.composite
def dags(draw, largest=7):
    """Step names in the document's order, and the steps that each waits for."""
    names = [f"S{index}" for index in range(draw(st.integers(1, largest)))]
    pairs = [(up, down) for up, down in itertools.combinations(names, 2)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    waits_for = {name: {up for up, down in chosen if down == name} for name in names}
    return draw(st.permutations(names)), waits_for


def as_graph(order, waits_for):
    return graph_of(*[step(name, DependsOn=sorted(waits_for[name]) or None) for name in order])


def paths_between(waits_for, up, down):
    """All ways from a step to one below it."""
    if up == down:
        return [[down]]
    return [[*path, down] for middle in waits_for[down] for path in paths_between(waits_for, up, middle)]


@settings(max_examples=100, deadline=None)
@given(dags())
def test_the_order_puts_every_step_after_what_it_waits_for(dag):
    order, waits_for = dag
    found = as_graph(order, waits_for).order()

    assert sorted(found) == sorted(waits_for)
    assert all(found.index(up) < found.index(name) for name, ups in waits_for.items() for up in ups)
    assert as_graph(order, waits_for).order() == found


@settings(max_examples=100, deadline=None)
@given(dags())
def test_the_order_of_steps_in_the_document_does_not_change_the_edges(dag):
    order, waits_for = dag

    assert edges(as_graph(order, waits_for)) == {
        name: dict.fromkeys(ups, Trigger.COMPLETED) for name, ups in waits_for.items()
    }


@settings(max_examples=100, deadline=None)
@given(dags())
def test_reach_is_everything_on_a_way_up_or_down(dag):
    order, waits_for = dag
    graph = as_graph(order, waits_for)

    for name in waits_for:
        others = set(waits_for) - {name}
        assert graph.reach(name, up=True) == {other for other in others if paths_between(waits_for, other, name)}
        assert graph.reach(name, up=False) == {other for other in others if paths_between(waits_for, name, other)}


@settings(max_examples=200, deadline=None)
@given(dags(), st.data())
def test_selecting_agrees_with_brute_force(dag, data):
    order, waits_for = dag
    selected = data.draw(st.lists(st.sampled_from(sorted(waits_for)), min_size=1, unique=True))
    graph = as_graph(order, waits_for)
    between = {
        name
        for up, down in itertools.permutations(selected, 2)
        for path in paths_between(waits_for, up, down)
        for name in path
    } - set(selected)

    if between:
        with pytest.raises(StepSelectionError) as caught:
            graph.select(selected)
        assert {problem.where for problem in caught.value.problems} == {f"Step '{name}'" for name in between}
        assert all(problem.fix == "Select it as well" for problem in caught.value.problems)
        return
    needed = {up for name in selected for up in waits_for[name]} - set(selected)
    found = graph.select(selected)
    assert set(found.selected) == set(selected)
    assert set(found.reused) == needed
    assert set(found.skipped) == set(waits_for) - set(selected) - needed
    assert len(found.selected) + len(found.reused) + len(found.skipped) == len(waits_for)


# --- selection


CHAIN = [
    step("Process", "Processing"),
    step("Train", DependsOn=["Process"]),
    step("Eval", "Processing", DependsOn=["Train"]),
    choice(
        "MSECond",
        [{"Type": "Equals", "LeftValue": get("Steps.Eval.ProcessingJobName"), "RightValue": "x"}],
        if_steps=[step("Register", "RegisterModel")],
    ),
]


def test_the_documented_example_of_a_selection():
    graph = graph_of(*CHAIN)
    found = graph.select(["Train", "Eval"])

    assert (found.selected, found.reused, found.skipped) == (("Train", "Eval"), ("Process",), ("MSECond", "Register"))
    with pytest.raises(StepSelectionError, match="'Eval': lies between selected steps but is not selected"):
        graph.select(["Train", "MSECond"])


def test_a_branch_step_alone_reuses_its_condition():
    found = graph_of(*CHAIN).select(["Register"])

    assert (found.selected, found.reused) == (("Register",), ("MSECond",))


def test_a_selection_that_waits_for_nothing_reuses_nothing():
    assert graph_of(*CHAIN).select(["Process", "Train"]).reused == ()


def test_the_whole_pipeline_can_be_selected_in_any_order_and_twice():
    graph = graph_of(*CHAIN)
    names = list(graph.upstreams)

    for selection in (names, names[::-1], names * 2):
        found = graph.select(selection)
        assert (found.selected, found.reused, found.skipped) == (tuple(names), (), ())


def test_all_problems_of_a_selection_come_at_once():
    with pytest.raises(StepSelectionError) as caught:
        graph_of(*CHAIN).select(["Process", "Eval", "Registre", "Trian"])

    assert {problem.where: problem.fix for problem in caught.value.problems} == {
        "Step 'Registre'": "Perhaps 'Register' is meant",
        "Step 'Trian'": "Perhaps 'Train' is meant",
        "Step 'Train'": "Select it as well",
    }


def test_an_empty_selection_is_refused():
    with pytest.raises(StepSelectionError, match="Select at least one step"):
        graph_of(*CHAIN).select([])


def test_a_step_of_a_loop_body_cannot_be_selected_alone():
    with pytest.raises(StepSelectionError, match="'Body': the pipeline has no such step"):
        graph_of(loop(body=[function("Body")])).select(["Body"])
