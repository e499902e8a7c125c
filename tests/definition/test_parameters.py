import pytest

from airflow_sagemaker_pipelines.definition import (
    ParameterType,
    PipelineParameterError,
    load_definition,
    parse_scalar,
    start_values,
)

from .documents import document, only_problem, problems_of

DECLARED = [
    {"Name": "Text", "Type": "String", "DefaultValue": "t"},
    {"Name": "Untyped"},
    {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
    {"Name": "Rate", "Type": "Float", "DefaultValue": 0.5},
    {"Name": "Flag", "Type": "Boolean", "DefaultValue": True},
    {"Name": "Kind", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
]


def declared(*parameters):
    return load_definition(document(Parameters=list(parameters))).parameters


def values(**given):
    return dict(start_values(declared(*DECLARED), {"Untyped": "u"} | given))


def problems(given, *parameters):
    with pytest.raises(PipelineParameterError) as caught:
        start_values(declared(*(parameters or DECLARED)), given)
    return {problem.where: problem for problem in caught.value.problems}


# --- declarations


def test_declarations_keep_their_order_type_default_and_enumeration():
    parameters = declared(*DECLARED)

    assert list(parameters) == ["Text", "Untyped", "Count", "Rate", "Flag", "Kind"]
    assert [parameter.type for parameter in parameters.values()] == [
        ParameterType.STRING,
        ParameterType.STRING,
        ParameterType.INTEGER,
        ParameterType.FLOAT,
        ParameterType.BOOLEAN,
        ParameterType.STRING,
    ]
    assert [parameter.default for parameter in parameters.values()] == ["t", None, 1, 0.5, True, "a"]
    assert parameters["Kind"].enum_values == ("a", "b")


@pytest.mark.parametrize(
    ("kind", "default"), [("String", ""), ("Integer", 0), ("Float", 0.0), ("Boolean", False), ("String", "0")]
)
def test_an_empty_or_zero_default_is_a_default(kind, default):
    parameters = declared({"Name": "P", "Type": kind, "DefaultValue": default})
    value = start_values(parameters, {})["P"]

    assert value == default
    assert type(value) is type(default)


def test_a_float_may_have_a_whole_default():
    value = start_values(declared({"Name": "P", "Type": "Float", "DefaultValue": 3}), {})["P"]

    assert (value, type(value)) == (3.0, float)


def test_a_description_is_kept():
    assert declared({"Name": "P", "Description": "what for"})["P"].description == "what for"


def bad(parameter, where, what, fix):
    return pytest.param([parameter], f"$.Parameters[0]{where}", what, fix, id=str(parameter)[:70])


@pytest.mark.parametrize(
    ("parameters", "where", "what", "fix"),
    [
        bad("P", "", "is a string", "Write an object {…}"),
        bad({}, ".Name", "is missing", "Add 'Name'"),
        bad({"Name": "a.b"}, ".Name", "'a.b' is not allowed", "Match"),
        bad({"Name": ""}, ".Name", "'' is not allowed", "Match"),
        bad({"Name": "é"}, ".Name", "'é' is not allowed", "Match"),
        bad({"Name": 5}, ".Name", "is an integer", "Write a string"),
        bad({"Name": "P", "Type": "Int"}, ".Type", "'Int' is unknown", "Perhaps 'Integer' is meant"),
        bad({"Name": "P", "Type": "string"}, ".Type", "'string' is unknown", "Perhaps 'String' is meant"),
        bad({"Name": "P", "Type": 1}, ".Type", "is an integer", "Write a string"),
        bad(
            {"Name": "P", "DefaultValue": 1},
            ".DefaultValue",
            "is an integer, but the parameter is of type String",
            "Write a string",
        ),
        bad(
            {"Name": "P", "DefaultValue": True},
            ".DefaultValue",
            "is a boolean, but the parameter is of type String",
            "Write a string",
        ),
        bad({"Name": "P", "DefaultValue": {"Get": "x"}}, ".DefaultValue", "is an object", "Write a string"),
        bad(
            {"Name": "P", "Type": "Integer", "DefaultValue": "1"},
            ".DefaultValue",
            "is a string, but the parameter is of type Integer",
            "Write a whole number",
        ),
        bad(
            {"Name": "P", "Type": "Integer", "DefaultValue": 1.5},
            ".DefaultValue",
            "is a number, but the parameter is of type Integer",
            "Write a whole number",
        ),
        bad(
            {"Name": "P", "Type": "Integer", "DefaultValue": True},
            ".DefaultValue",
            "is a boolean",
            "Write a whole number",
        ),
        bad({"Name": "P", "Type": "Integer", "DefaultValue": []}, ".DefaultValue", "is a list", "Write a whole number"),
        bad(
            {"Name": "P", "Type": "Float", "DefaultValue": "0.5"},
            ".DefaultValue",
            "is a string, but the parameter is of type Float",
            "Write a number",
        ),
        bad({"Name": "P", "Type": "Float", "DefaultValue": False}, ".DefaultValue", "is a boolean", "Write a number"),
        bad(
            {"Name": "P", "Type": "Boolean", "DefaultValue": "true"},
            ".DefaultValue",
            "is a string, but the parameter is of type Boolean",
            "Write true or false",
        ),
        bad(
            {"Name": "P", "Type": "Boolean", "DefaultValue": 1}, ".DefaultValue", "is an integer", "Write true or false"
        ),
        bad({"Name": "P", "DefaultValue": "x" * 4097}, ".DefaultValue", "has 4097 characters", "Use at most 4096"),
        bad({"Name": "P", "Description": "x" * 4097}, ".Description", "has 4097 characters", "Use at most 4096"),
        bad(
            {"Name": "P", "DefaultValue": "c", "EnumValues": ["a", "b"]},
            ".DefaultValue",
            "'c' is not among EnumValues",
            "Use one of 'a', 'b'",
        ),
        bad(
            {"Name": "P", "DefaultValue": "A", "EnumValues": ["a"]},
            ".DefaultValue",
            "'A' is not among EnumValues",
            "Use one of 'a'",
        ),
        bad({"Name": "P", "EnumValues": "a"}, ".EnumValues", "is a string", "Write a list […]"),
        bad({"Name": "P", "EnumValues": ["a", 1]}, ".EnumValues[1]", "is an integer", "Write a string"),
        bad(
            {"Name": "P", "Type": "Integer", "DefaultValue": 3, "EnumValues": ["1", "2"]},
            ".DefaultValue",
            "3 is not among EnumValues",
            "Use one of 1, 2",
        ),
    ],
)
def test_a_wrong_declaration_is_reported_with_its_place_and_its_fix(parameters, where, what, fix):
    problem = only_problem(document(Parameters=parameters))

    assert problem.where == where
    assert what in problem.what
    assert fix in problem.fix


def test_a_parameter_declared_twice_is_reported():
    problem = only_problem(document(Parameters=[{"Name": "P"}, {"Name": "P"}]))

    assert problem.where == "$.Parameters[1].Name"
    assert "'P' is declared twice" in problem.what
    assert "Rename or remove one" in problem.fix


def test_all_wrong_declarations_are_reported():
    found = problems_of(document(Parameters=[{"Name": "a b"}, 5, {"Name": "P", "Type": "Float", "DefaultValue": "x"}]))

    assert [problem.where for problem in found] == [
        "$.Parameters[0].Name",
        "$.Parameters[1]",
        "$.Parameters[2].DefaultValue",
    ]


# --- start values


def test_without_given_values_the_defaults_hold():
    assert values() == {"Text": "t", "Untyped": "u", "Count": 1, "Rate": 0.5, "Flag": True, "Kind": "a"}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("Text", "x", "x"),
        ("Text", "5", "5"),
        ("Text", "true", "true"),
        ("Text", " padded ", " padded "),
        ("Text", "{{ ds }}", "{{ ds }}"),
        ("Untyped", "7", "7"),
        ("Count", "3", 3),
        ("Count", "-3", -3),
        ("Count", "+3", 3),
        ("Count", "007", 7),
        ("Count", "9223372036854775807", 2**63 - 1),
        ("Count", 3, 3),
        ("Rate", "0.25", 0.25),
        ("Rate", "1", 1.0),
        ("Rate", "1.0", 1.0),
        ("Rate", "-1e-3", -0.001),
        ("Rate", "1E5", 100000.0),
        ("Rate", 0.25, 0.25),
        ("Rate", 2, 2.0),
        ("Flag", "True", True),
        ("Flag", "true", True),
        ("Flag", "TRUE", True),
        ("Flag", "False", False),
        ("Flag", "false", False),
        ("Flag", "fAlSe", False),
        ("Flag", False, False),
        ("Kind", "b", "b"),
        ("Text", "x" * 1024, "x" * 1024),
    ],
)
def test_text_becomes_the_type_of_the_parameter(name, given, value):
    found = values(**{name: given})[name]

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "fix"),
    [
        ("Text", 5, "Give a string"),
        ("Text", True, "Give a string"),
        ("Text", None, "Give a string"),
        ("Text", ["a"], "Give a string"),
        ("Count", "", "Give a whole number"),
        ("Count", "1.0", "Give a whole number"),
        ("Count", "1e3", "Give a whole number"),
        ("Count", "three", "Give a whole number"),
        ("Count", " 3", "Give a whole number"),
        ("Count", "1_000", "Give a whole number"),
        ("Count", "٣", "Give a whole number"),
        ("Count", "9" * 5000, "Give a whole number"),
        ("Count", 10**5000, "Give a whole number"),
        ("Count", 1.0, "Give a whole number"),
        ("Count", True, "Give a whole number"),
        ("Count", None, "Give a whole number"),
        ("Rate", "", "Give a number"),
        ("Rate", "nan", "Give a number"),
        ("Rate", "inf", "Give a number"),
        ("Rate", "-Infinity", "Give a number"),
        ("Rate", "1e999", "Give a number"),
        ("Rate", "1_0.5", "Give a number"),
        ("Rate", " 1", "Give a number"),
        ("Rate", "٣", "Give a number"),
        ("Rate", "0x10", "Give a number"),
        ("Rate", "1,5", "Give a number"),
        ("Rate", float("nan"), "Give a number"),
        ("Rate", 10**400, "Give a number"),
        ("Rate", True, "Give a number"),
        ("Flag", "yes", "Give true or false"),
        ("Flag", "1", "Give true or false"),
        ("Flag", "", "Give true or false"),
        ("Flag", " true", "Give true or false"),
        ("Flag", 1, "Give true or false"),
        ("Flag", 0, "Give true or false"),
        ("Kind", "c", "Give a string of those"),
        ("Kind", "A", "Give a string of those"),
        ("Kind", "", "Give a string of those"),
        ("Text", "x" * 1025, "Give at most 1024"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) or value < 10**9 else "large",
)
def test_a_value_of_another_type_is_refused(name, given, fix):
    found = problems({"Untyped": "u", name: given})

    assert list(found) == [f"Parameter '{name}'"]
    assert fix in found[f"Parameter '{name}'"].fix


def test_a_value_outside_the_enumeration_is_refused_with_the_legal_ones():
    problem = problems({"Untyped": "u", "Kind": "c"})["Parameter 'Kind'"]

    assert "'c' is not one of 'a', 'b'" in problem.what


@pytest.mark.parametrize(
    ("kind", "legal", "given", "value"),
    [("Integer", ["1", "2"], "2", 2), ("Float", ["0.5"], "0.50", 0.5), ("Boolean", ["true"], "True", True)],
)
def test_enumerations_of_other_types_compare_by_value(kind, legal, given, value):
    parameters = declared({"Name": "P", "Type": kind, "EnumValues": legal})

    assert start_values(parameters, {"P": given})["P"] == value


def test_a_missing_value_without_default_is_refused():
    problem = problems({})["Parameter 'Untyped'"]

    assert "has no value and no default" in problem.what
    assert problem.fix == "Give a value"


def test_an_unknown_name_is_refused_with_the_nearest():
    found = problems({"Untyped": "u", "Cuont": "1"})

    assert list(found) == ["Parameter 'Cuont'"]
    assert "no such parameter" in found["Parameter 'Cuont'"].what
    assert found["Parameter 'Cuont'"].fix == "Perhaps 'Count' is meant"


def test_a_pipeline_without_parameters_takes_none():
    with pytest.raises(PipelineParameterError, match="There is none"):
        start_values(declared(), {"P": "1"})
    assert dict(start_values(declared(), {})) == {}


def test_all_problems_come_at_once():
    found = problems({"Count": "x", "Rate": "y", "Flag": "z", "Kind": "q", "Text": "x" * 1025, "Nope": "1"})

    assert set(found) == {
        f"Parameter '{name}'" for name in ("Untyped", "Count", "Rate", "Flag", "Kind", "Text", "Nope")
    }


def test_the_message_lists_all_problems():
    with pytest.raises(PipelineParameterError, match=r"2 problems(.|\n)*'Nope'(.|\n)*'Untyped'"):
        start_values(declared(*DECLARED), {"Nope": "1"})


def test_start_values_follow_the_declared_order_and_cannot_be_changed():
    found = start_values(declared(*DECLARED), {"Untyped": "u", "Kind": "b", "Text": "x"})

    assert list(found) == ["Text", "Untyped", "Count", "Rate", "Flag", "Kind"]
    with pytest.raises(TypeError):
        found["Text"] = "y"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("String", "5", "5"), ("Integer", "5", 5), ("Float", "5", 5.0), ("Boolean", "FALSE", False)],
)
def test_output_parameters_are_parsed_like_parameters(kind, text, value):
    found = parse_scalar(ParameterType(kind), text)

    assert (found, type(found)) == (value, type(value))
