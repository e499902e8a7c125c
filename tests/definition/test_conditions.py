import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.definition import ExpressionError, Scope, evaluate, load_definition, resolve

from .documents import choice, document, evaluation, function, get, join, only_problem, step

DECLARED = [{"Name": name} for name in ("Text", "One", "Number", "Flag")]


def conditions_of(*conditions):
    definition = load_definition(
        document(
            evaluation("Evaluate"),
            function("Call"),
            choice("Check", conditions),
            Parameters=DECLARED,
        )
    )
    return definition.all_steps["Check"].conditions


def holds(*conditions, **scope):
    context = Scope(**scope)
    return evaluate(conditions_of(*conditions), lambda value: resolve(value, context))


def compare(kind, left, right):
    return {"Type": kind, "LeftValue": left, "RightValue": right}


ORDERINGS = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
YES = compare("Equals", 1, 1)
NO = compare("Equals", 1, 2)


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 2), (2, 1), (2, 2), (1.5, 2), (2, 1.5), (2, 2.0), (-1, 0), ("a", "b"), ("b", "a"), ("a", "a")],
)
@pytest.mark.parametrize("kind", ORDERINGS)
def test_each_comparison_of_numbers_and_of_strings(kind, left, right):
    assert holds(compare(kind, left, right)) is ORDERINGS[kind](left, right)


@pytest.mark.parametrize(
    ("left", "right", "greater"),
    [
        ("10", "9", False),
        ("9", "10", True),
        ("1", "3", False),
        ("1", "0", True),
        ("a", "B", True),
        ("ab", "a", True),
        ("", "a", False),
        ("2021-05-12T21:01:08.119Z", "2020-12-01", True),
        ("2020-11-30T00:00:00Z", "2020-12-01", False),
    ],
)
def test_strings_compare_character_by_character(left, right, greater):
    assert holds(compare("GreaterThan", left, right)) is greater
    assert holds(compare("LessThan", right, left)) is greater


def test_a_string_parameter_compares_with_a_number_made_text():
    scope = {"parameters": {"Text": "1"}}

    assert holds(compare("GreaterThan", get("Parameters.Text"), join("3")), **scope) is False
    assert holds(compare("GreaterThan", get("Parameters.Text"), join(0)), **scope) is True


@pytest.mark.parametrize("kind", ORDERINGS)
@pytest.mark.parametrize(
    ("left", "right"),
    [("1", 1), (1, "1"), ("1.0", 1.0), ("true", True), (True, "true"), (True, 1), (0, False), (1.0, True)],
)
def test_operands_of_different_types_cannot_be_compared(kind, left, right):
    with pytest.raises(ExpressionError) as caught:
        holds(compare(kind, left, right))

    assert f"{kind} cannot compare {left!r}" in str(caught.value)
    assert "make both a string" in str(caught.value)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("right", [True, False])
def test_booleans_are_equal_or_not_but_have_no_order(left, right):
    assert holds(compare("Equals", left, right)) is (left == right)
    assert holds(compare("NotEquals", left, right)) is (left != right)
    for kind in ("GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"):
        with pytest.raises(ExpressionError, match="booleans"):
            holds(compare(kind, left, right))


@pytest.mark.parametrize("value", [None, [], {"a": 1}, [1]])
@pytest.mark.parametrize("kind", ["Equals", "LessThan", "In"])
def test_an_operand_that_resolves_to_no_scalar_cannot_be_compared(kind, value):
    reference = get("Steps.Call.OutputParameters['x']")
    condition = (
        {"Type": "In", "QueryValue": reference, "Values": ["a"]} if kind == "In" else compare(kind, reference, "a")
    )

    with pytest.raises(ExpressionError, match="string, number or boolean"):
        holds(condition, outputs={"Call": {"OutputParameters": {"x": value}}})


# --- In and NotIn


@pytest.mark.parametrize("keys", [("QueryValue", "Values"), ("Value", "In")], ids="".join)
@pytest.mark.parametrize(
    ("value", "values", "found"),
    [
        ("a", ["a", "b"], True),
        ("c", ["a", "b"], False),
        ("a", [], False),
        (1, [2, 1.0], True),
        (0.5, [0.5], True),
        (True, [True], True),
        (True, [False], False),
        ("", [""], True),
        ("a", ["A"], False),
        ("a", ["ab"], False),
    ],
)
def test_membership_in_both_spellings(keys, value, values, found):
    condition = dict(zip(keys, (value, values), strict=True))

    assert holds({"Type": "In", **condition}) is found
    assert holds({"Type": "NotIn", **condition}) is not found


@pytest.mark.parametrize("value", [True, "1"])
def test_membership_never_mixes_types(value):
    # Local mode's Python "in" would find True among [1]: booleans are no numbers in JSON.
    assert holds({"Type": "In", "QueryValue": value, "Values": [1]}) is False


def test_members_may_be_expressions():
    condition = {"Type": "In", "QueryValue": get("Parameters.Text"), "Values": ["x", join("a", get("Parameters.One"))]}

    assert holds(condition, parameters={"Text": "a1", "One": "1"})
    assert not holds(condition, parameters={"Text": "a1", "One": "2"})


@pytest.mark.parametrize("values", [[1, get("Parameters.Flag")], [get("Parameters.Flag"), 1]])
def test_a_member_that_is_no_scalar_is_an_error_wherever_it_stands(values):
    with pytest.raises(ExpressionError, match="string, number or boolean"):
        holds({"Type": "In", "QueryValue": 1, "Values": values}, parameters={"Flag": None})


# --- Not, Or, and the list


@pytest.mark.parametrize("conditions", [[], [YES], [YES, YES]])
def test_a_list_of_true_conditions_holds_and_so_does_the_empty_list(conditions):
    assert holds(*conditions) is True


@pytest.mark.parametrize("conditions", [[NO], [YES, NO], [NO, YES], [NO, NO]])
def test_one_false_condition_is_enough_for_a_list_to_fail(conditions):
    assert holds(*conditions) is False


@pytest.mark.parametrize(
    ("conditions", "outcome"),
    [([YES], True), ([NO], False), ([NO, YES], True), ([YES, NO], True), ([NO, NO], False), ([], False)],
)
def test_or_needs_one_true_condition(conditions, outcome):
    assert holds({"Type": "Or", "Conditions": conditions}) is outcome


def test_not_and_or_nest():
    def negate(condition):
        return {"Type": "Not", "Condition": condition}

    def either(*conditions):
        return {"Type": "Or", "Conditions": list(conditions)}

    assert holds(negate(NO))
    assert not holds(negate(YES))
    assert holds(negate(negate(YES)))
    assert holds(either(NO, negate(either(NO, negate(YES)))))
    assert not holds(negate(either(NO, either(NO, YES))))
    assert holds(either(negate(either(YES)), either(either(YES))), negate(NO))
    assert holds(negate({"Type": "In", "QueryValue": "c", "Values": ["a"]}))


# --- all operands first


MISSING = get("Steps.Call.OutputParameters['gone']")


@pytest.mark.parametrize(
    "conditions",
    [
        [NO, compare("Equals", MISSING, 1)],
        [{"Type": "Or", "Conditions": [YES, compare("Equals", 1, MISSING)]}],
        [{"Type": "Or", "Conditions": [YES, {"Type": "Not", "Condition": compare("Equals", 1, MISSING)}]}],
        [{"Type": "In", "QueryValue": 1, "Values": [1, MISSING]}],
        [{"Type": "NotIn", "QueryValue": MISSING, "Values": []}],
        [NO, {"Type": "In", "Value": MISSING, "In": [1]}],
    ],
)
def test_a_missing_operand_fails_whatever_the_others_are(conditions):
    with pytest.raises(ExpressionError, match="gone"):
        holds(*conditions, outputs={"Call": {"OutputParameters": {"there": 1}}})


def test_operands_are_resolved_before_the_first_comparison():
    resolved = []
    conditions = conditions_of(
        compare("Equals", "a", 1),  # cannot be compared
        {"Type": "Or", "Conditions": [compare("Equals", "b", "c"), {"Type": "Not", "Condition": YES}]},
        {"Type": "In", "QueryValue": "d", "Values": ["e", "f"]},
    )

    def note(value):
        resolved.append(value)
        return value

    with pytest.raises(ExpressionError, match="cannot compare"):
        evaluate(conditions, note)
    assert sorted(map(str, resolved)) == sorted(["a", "1", "b", "c", "1", "1", "d", "e", "f"])


def test_operands_may_be_any_expression():
    report = {"Std:JsonGet": {"PropertyFile": get("Steps.Evaluate.PropertyFiles.Report"), "Path": "m.mse"}}
    conditions = conditions_of(
        compare("LessThanOrEqualTo", report, get("Parameters.Number")),
        compare("Equals", get("Parameters.Flag"), True),
        compare("Equals", get("Steps.Call.OutputParameters['s']"), join("a", "b")),
        compare("GreaterThan", get("Execution.StartDateTime"), "2020-12-01"),
    )
    output = {"OutputName": "report", "S3Output": {"S3Uri": "s3://b/r"}}
    definition = load_definition(document(evaluation("Evaluate")))

    def outcome(mse):
        scope = Scope(
            parameters={"Number": 6.0, "Flag": True},
            execution={"StartDateTime": "2021-01-01T00:00:00Z"},
            outputs={
                "Evaluate": {"ProcessingOutputConfig": {"Outputs": [output]}},
                "Call": {"OutputParameters": {"s": "ab"}},
            },
            steps=definition.all_steps,
            read_text=lambda uri: f'{{"m": {{"mse": {mse}}}}}',
        )
        return evaluate(conditions, lambda value: resolve(value, scope))

    assert outcome(4.5) is True
    assert outcome(6) is True
    assert outcome(6.1) is False


# --- what is no condition


def bad(condition, where, what, fix):
    return pytest.param(condition, where, what, fix, id=f"{where}: {what}")


@pytest.mark.parametrize(
    ("condition", "where", "what", "fix"),
    [
        bad("yes", "", "is a string", "Write an object {…}"),
        bad(None, "", "is null", "Write an object {…}"),
        bad({}, ".Type", "is missing", "Add 'Type'"),
        bad({"Type": "Equal"}, ".Type", "'Equal' is unknown", "Perhaps 'Equals' is meant"),
        bad({"Type": "And", "Conditions": []}, ".Type", "'And' is unknown", ""),
        bad(compare("Equals", 1, None), ".RightValue", "is missing", "Add 'RightValue'"),
        bad({"Type": "LessThan", "RightValue": 1}, ".LeftValue", "is missing", "Add 'LeftValue'"),
        bad(compare("Equals", 1, [1]), ".RightValue", "is a list", "Write a string, number, boolean or expression"),
        bad(
            compare("Equals", {"a": 1}, 1),
            ".LeftValue",
            "is an object",
            "Write a string, number, boolean or expression",
        ),
        bad(
            compare("Equals", get("Parameters.Txet"), 1),
            ".LeftValue.Get",
            "no parameter 'Txet'",
            "Perhaps 'Text' is meant",
        ),
        bad({"Type": "In", "Values": []}, ".QueryValue", "is missing", "Add 'QueryValue'"),
        bad({"Type": "In", "QueryValue": 1}, ".Values", "is missing", "Add 'Values'"),
        bad({"Type": "In", "QueryValue": 1, "Values": 1}, ".Values", "is an integer", "Write a list […]"),
        bad({"Type": "In", "QueryValue": 1, "Values": [[]]}, ".Values[0]", "is a list", "Write a string, number"),
        bad({"Type": "NotIn", "In": [1]}, ".Value", "is missing", "Add 'Value'"),
        bad({"Type": "Or"}, ".Conditions", "is missing", "Add 'Conditions'"),
        bad({"Type": "Or", "Conditions": [YES, {"Type": "Xor"}]}, ".Conditions[1].Type", "'Xor' is unknown", ""),
        bad({"Type": "Not"}, ".Condition", "is missing", "Add 'Condition'"),
        bad({"Type": "Not", "Condition": [YES]}, ".Condition", "is a list", "Write an object {…}"),
        bad({"Type": "Not", "Condition": {"Type": "Nor"}}, ".Condition.Type", "'Nor' is unknown", ""),
        bad({"Type": "Not", "Expression": YES}, ".Expression", "is the old spelling", "Write 'Condition'"),
    ],
)
def test_a_wrong_condition_is_reported_with_its_place_and_its_fix(condition, where, what, fix):
    problem = only_problem(document(step("First"), choice("Check", [YES, condition]), Parameters=DECLARED))

    assert problem.where == f"$.Steps[1].Arguments.Conditions[1]{where}"
    assert what in problem.what
    assert fix in problem.fix


# --- against an oracle


class MixedError(Exception):
    pass


def kind_of(value):
    return "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def oracle(condition):
    """Evaluate literal conditions in the plainest way; every part is evaluated."""
    kind = condition["Type"]
    if kind == "Not":
        return not oracle(condition["Condition"])
    if kind == "Or":
        return True in [oracle(each) for each in condition["Conditions"]]
    if kind in {"In", "NotIn"}:
        value = condition["QueryValue"] if "QueryValue" in condition else condition["Value"]
        values = condition["Values"] if "Values" in condition else condition["In"]
        found = len([each for each in values if kind_of(each) == kind_of(value) and each == value]) > 0
        return found if kind == "In" else not found
    left, right = condition["LeftValue"], condition["RightValue"]
    if kind_of(left) != kind_of(right) or (kind_of(left) == "bool" and kind not in {"Equals", "NotEquals"}):
        raise MixedError
    return ORDERINGS[kind](left, right)


SCALARS = st.sampled_from([0, 1, 2, 1.0, 0.5, "", "a", "b", "1", "10", True, False])
NUMBERS = st.integers(-2, 2) | st.sampled_from([0.5, 1.0])
TEXTS = st.text("ab1", max_size=2)
KINDS = st.sampled_from(sorted(ORDERINGS))
LEAVES = (
    st.builds(compare, KINDS, NUMBERS, NUMBERS)
    | st.builds(compare, KINDS, TEXTS, TEXTS)
    | st.builds(compare, KINDS, SCALARS, SCALARS)
    | st.builds(
        lambda kind, keys, value, values: {"Type": kind, keys[0]: value, keys[1]: values},
        st.sampled_from(["In", "NotIn"]),
        st.sampled_from([("QueryValue", "Values"), ("Value", "In")]),
        SCALARS,
        st.lists(SCALARS, max_size=3),
    )
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda condition: {"Type": "Not", "Condition": condition}, inner)
        | st.builds(lambda conditions: {"Type": "Or", "Conditions": conditions}, st.lists(inner, max_size=3))
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(CONDITIONS, max_size=3))
def test_evaluation_agrees_with_an_oracle(conditions):
    try:
        expected = False not in [oracle(condition) for condition in conditions]
    except MixedError:
        with pytest.raises(ExpressionError):
            holds(*conditions)
    else:
        assert holds(*conditions) is expected
