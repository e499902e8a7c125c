import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest

from airflow_sagemaker_pipelines.definition import (
    PipelineDefinitionError,
    StepType,
    Trigger,
    load_definition,
)
from airflow_sagemaker_pipelines.definition.load import MAX_BYTES

from .documents import (
    choice,
    document,
    evaluation,
    fail,
    function,
    get,
    only_problem,
    problem_at,
    problems_of,
    step,
)

CORPUS = Path(__file__).parent.parent / "corpus"
DOCUMENT = document(step("Prepare", "Processing"), step("Train", DependsOn=["Prepare"]))
TEXT = json.dumps(DOCUMENT)


class Pipeline:
    """Has the one method of the SDK's Pipeline that counts."""

    def __init__(self, answer):
        self.answer = answer

    def definition(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class StaticPipeline:
    @staticmethod
    def definition():
        return TEXT


class RemotePath:
    """Can be read, but has no path on this machine: Airflow's ObjectStoragePath is one."""

    def __init__(self, content):
        self.content = content

    def read_bytes(self):
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def test_a_path_somewhere_else_is_read_by_its_own_means():
    assert load_definition(RemotePath(TEXT.encode())).digest == load_definition(TEXT).digest


def test_a_path_somewhere_else_that_cannot_be_read_says_why():
    with pytest.raises(PipelineDefinitionError, match="no such bucket"):
        load_definition(RemotePath(OSError("no such bucket")))


class FailingPathLike(os.PathLike):
    def __init__(self, error):
        self.error = error

    def __fspath__(self):
        raise self.error


class BytesPathLike(os.PathLike):
    def __fspath__(self):
        return b"/etc/hosts"


class FailingMapping(Mapping):
    def __getitem__(self, key):
        raise RuntimeError("the back end is away")

    def __iter__(self):
        return iter(["Steps"])

    def __len__(self):
        return 1


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


# --- sources


@pytest.mark.parametrize(
    "source",
    [
        TEXT,
        "\ufeff" + TEXT,
        " \n\t" + TEXT + "\n ",
        "\ufeff\r\n " + TEXT,
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        b"\n  " + TEXT.encode(),
        DOCUMENT,
        OrderedDict(DOCUMENT),
        MappingProxyType(DOCUMENT),
        {"Version": "2020-12-01", "Steps": tuple(map(MappingProxyType, DOCUMENT["Steps"]))},
        Pipeline(TEXT),
        Pipeline("\ufeff" + TEXT),
        Pipeline(TEXT.encode()),
        StaticPipeline(),
        SimpleNamespace(definition=lambda: TEXT),
    ],
    ids=[
        "text",
        "text with a byte order mark",
        "text in whitespace",
        "byte order mark, then whitespace",
        "bytes",
        "bytes with a byte order mark",
        "bytes in whitespace",
        "dict",
        "OrderedDict",
        "read-only mapping",
        "nested read-only mappings and tuples",
        "object with definition()",
        "definition() with a byte order mark",
        "definition() returning bytes",
        "static definition()",
        "definition set on the instance",
    ],
)
def test_every_kind_of_source_gives_the_same_model(source):
    definition = load_definition(source)

    assert definition == load_definition(TEXT)
    assert [(each.name, each.type) for each in definition.steps] == [
        ("Prepare", StepType.PROCESSING),
        ("Train", StepType.TRAINING),
    ]


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\n "])
def test_a_file_is_read_by_its_path(tmp_path, kind, prefix):
    file = tmp_path / "pipeline.json"
    file.write_bytes(prefix + TEXT.encode())

    assert load_definition(kind(file)) == load_definition(TEXT)


def test_text_that_is_no_object_is_a_path_relative_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "pipeline.json").write_text(TEXT)
    monkeypatch.chdir(tmp_path)

    assert load_definition("pipeline.json") == load_definition(TEXT)


def test_a_loaded_definition_is_returned_as_it_is():
    definition = load_definition(TEXT)

    assert load_definition(definition) is definition


@pytest.mark.parametrize(
    "source",
    [
        None,
        5,
        1.5,
        True,
        object(),
        ["Steps"],
        [DOCUMENT],
        {"Steps"},
        bytearray(TEXT.encode()),
        Pipeline,
        SimpleNamespace(definition=TEXT),
        Pipeline(None),
        Pipeline(DOCUMENT),
        Pipeline(ValueError("no role")),
        Pipeline(UnspeakableError()),
        Pipeline(RecursionError("deep")),
        Pipeline("no json"),
        Pipeline("\ud800"),
        FailingMapping(),
        FailingPathLike(OSError("gone")),
        FailingPathLike(TypeError("no path")),
        FailingPathLike(RuntimeError("no path")),
        BytesPathLike(),
        "",
        " ",
        "no/such/file.json",
        "null\0byte.json",
        "a" * 10_000,
        "\ud800",
        '{"Steps": "\ud800"}',
        '{"Steps": "\\ud800"}',
        "{",
        "{'Steps': []}",
        '{"Steps": []} trailing',
        '{"Steps": [NaN]}',
        '{"Steps": [1e999]}',
        '{"Steps": [' + "9" * 5000 + "]}",
        b"",
        b"\xff\xfe{}",
        b"\x00",
        b"[]",
        b"null",
        b'"Steps"',
        b"5",
        {"Steps": [{1, 2}]},
        {"Steps": [b"bytes"]},
        {"Steps": [float("nan")]},
        {"Steps": [float("inf")]},
        {"Steps": [object()]},
        {"Steps": [10**6000]},
        {"Steps": ["\ud800"]},
        {("a", "tuple"): []},
        {},
    ],
    ids=lambda source: None,
)
def test_a_bad_source_is_a_definition_error(source):
    problems = problems_of(source)

    assert all(problem.where and problem.what and problem.fix for problem in problems)


def test_a_directory_is_no_definition(tmp_path):
    problem = only_problem(tmp_path)

    assert problem.where == str(tmp_path)
    assert "Is a directory" in problem.what


def test_a_missing_file_is_named_with_the_reason():
    problem = only_problem("no/such/file.json")

    assert problem.where == "no/such/file.json"
    assert "No such file or directory" in problem.what
    assert problem.fix == "Pass the path of a JSON file"


def test_a_failing_definition_method_is_quoted_and_kept_as_cause():
    cause = ValueError("no role")

    with pytest.raises(PipelineDefinitionError, match="ValueError: no role") as caught:
        load_definition(Pipeline(cause))

    assert caught.value.__cause__ is cause


def test_a_dict_that_contains_itself_is_a_definition_error():
    steps = []
    steps.append({"Steps": steps})

    assert "is not JSON" in only_problem({"Steps": steps}).what


def test_a_later_change_of_the_source_dict_does_not_reach_the_model():
    source = json.loads(TEXT)
    definition = load_definition(source)
    source["Steps"][1]["DependsOn"].append("Other")
    source["Steps"].clear()

    assert definition == load_definition(TEXT)
    assert [dependency.step for dependency in definition.all_steps["Train"].depends_on] == ["Prepare"]


# --- bounds


@pytest.mark.parametrize("opening", ["[", '{"Steps":', '{"Steps":[{"Arguments":', '[{"a":'])
def test_endless_nesting_is_a_definition_error(opening):
    only_problem((opening * 100_000).encode())
    problems_of(Pipeline(opening * 100_000))


@pytest.mark.parametrize("depth", [300, 900, 5_000, 50_000])
def test_arguments_nested_too_deep_are_reported(depth):
    text = json.dumps(document(function(arguments={"deep": "HERE"})))
    problems = problems_of(text.replace('"HERE"', "[" * depth + "]" * depth))

    assert len(problems) == 1
    assert "deep" in problems[0].what
    assert problems[0].fix == "Flatten it"
    assert len(str(problems[0])) < 300


def test_a_nested_dict_too_deep_for_python_is_a_definition_error():
    node = {}
    for _ in range(100_000):
        node = {"a": node}

    assert "deep" in only_problem(document(function(arguments=node))).what
    while node:  # freed level by level: the interpreter would recurse
        node = node.pop("a")


def nested_conditions(levels):
    innermost = step("Train")
    for level in range(levels):
        innermost = choice(f"Check{level}", if_steps=[innermost])
    return document(innermost)


def test_forty_conditions_inside_each_other_load():
    definition = load_definition(nested_conditions(40))

    assert len(definition.all_steps) == 41
    assert definition.graph.order() == (*(f"Check{level}" for level in reversed(range(40))), "Train")


def test_a_thousand_conditions_inside_each_other_are_reported():
    assert "deep" in problems_of(nested_conditions(150))[0].what
    text = '{"Steps":[' + '{"Name":"C","Type":"Condition","Arguments":{"Conditions":[],"IfSteps":[' * 1000
    assert "deep" in problems_of(text + "]}}" * 1000 + "]}")[0].what


@pytest.mark.parametrize("kind", ["Not", "Or", "Join"])
def test_deep_conditions_and_expressions_are_reported(kind):
    node = {"Type": "Equals", "LeftValue": 1, "RightValue": 1} if kind != "Join" else 1
    for _ in range(400):
        if kind == "Not":
            node = {"Type": "Not", "Condition": node}
        elif kind == "Or":
            node = {"Type": "Or", "Conditions": [node]}
        else:
            node = {"Std:Join": {"Values": [node]}}
    if kind == "Join":
        node = {"Type": "Equals", "LeftValue": node, "RightValue": 1}
    problems = problems_of(document(choice(conditions=[node])))

    assert [problem.fix for problem in problems] == ["Flatten it"]


def test_a_document_of_many_megabytes_is_refused(tmp_path):
    text = json.dumps(document(function(arguments={"payload": "x" * MAX_BYTES})))
    file = tmp_path / "large.json"
    file.write_text(text)

    for source in (text, text.encode(), json.loads(text), file):
        problem = only_problem(source)
        assert str(MAX_BYTES) in problem.fix


def test_a_file_without_an_end_is_not_read_for_ever():
    assert problems_of("/dev/zero")[0].where in {"/dev/zero", "the document"}


def test_a_document_of_the_size_that_sagemaker_takes_loads():
    payload = "x" * 1_000_000

    definition = load_definition(document(function(arguments={"payload": payload})))

    assert definition.all_steps["Call"].arguments["payload"] == payload


# --- the top level


def test_only_the_steps_are_required():
    definition = load_definition({"Steps": []})

    assert definition.version == "2020-12-01"
    assert (definition.steps, dict(definition.all_steps), dict(definition.parameters)) == ((), {}, {})
    assert dict(definition.metadata) == {}
    assert definition.experiment_config is None
    assert definition.mlflow_config is None
    assert definition.graph.order() == ()


def test_null_members_count_as_absent():
    bare = function()
    nulled = bare | dict.fromkeys(
        ["DependsOn", "DisplayName", "Description", "RetryPolicies", "CacheConfig", "PropertyFiles", "OutputParameters"]
    )
    members = ["Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig"]
    with_nulls = load_definition({"Steps": [nulled], **dict.fromkeys(members)})
    without = load_definition({"Steps": [bare]})

    for definition in (with_nulls, without):
        assert definition.experiment_config is None
        assert definition.mlflow_config is None
        assert dict(definition.parameters) == {}
        assert dict(definition.all_steps["Call"].settings) == {"FunctionArn": bare["FunctionArn"]}
    ignored = {"source"}
    for field in dataclasses.fields(without.all_steps["Call"]):
        if field.name not in ignored:
            assert getattr(with_nulls.all_steps["Call"], field.name) == getattr(without.all_steps["Call"], field.name)


@pytest.mark.parametrize("key", ["SuppliedBaselineStatistics", "SuppliedBaselineConstraints", "ModelPackageGroupName"])
def test_null_settings_of_a_check_step_count_as_absent(key):
    check = step("Check", "QualityCheck", CheckType="DATA_QUALITY", SkipCheck=False, **{key: None})
    settings = load_definition(document(check)).all_steps["Check"].settings

    assert dict(settings) == {"CheckType": "DATA_QUALITY", "SkipCheck": False}


def test_null_branches_and_default_values_count_as_absent():
    check = step("Check", "Condition", Arguments={"Conditions": [], "IfSteps": None, "ElseSteps": None})
    definition = load_definition(
        document(
            check,
            Parameters=[{"Name": "P", "Type": None, "DefaultValue": None, "EnumValues": None, "Description": None}],
        )
    )

    assert definition.all_steps["Check"].if_steps == ()
    assert definition.parameters["P"].default is None
    assert definition.parameters["P"].type == "String"


def test_metadata_is_kept():
    assert dict(load_definition({"Steps": [], "Metadata": {"owner": "ml", "void": None}}).metadata) == {"owner": "ml"}


def test_experiment_and_mlflow_are_read():
    definition = load_definition(
        document(
            PipelineExperimentConfig={
                "ExperimentName": get("Execution.PipelineName"),
                "TrialName": "trial",
            },
            MlflowConfig={"MlflowResourceArn": "arn:aws:sagemaker:r:1:mlflow-app/a", "MlflowExperimentName": "e"},
        )
    )

    assert str(definition.experiment_config.experiment_name.reference) == "Execution.PipelineName"
    assert definition.experiment_config.trial_name == "trial"
    assert definition.mlflow_config.resource_arn == "arn:aws:sagemaker:r:1:mlflow-app/a"
    assert definition.mlflow_config.experiment_name == "e"


def bad(where, what, fix, *steps, **members):
    return pytest.param(document(*steps, **members), where, what, fix, id=f"{where}: {what}")


@pytest.mark.parametrize(
    ("source", "where", "what", "fix"),
    [
        bad("$.Version", "'2021-01-01' is unknown", "Write '2020-12-01'", Version="2021-01-01"),
        bad("$.Version", "is an integer", "Write a string", Version=2020),
        pytest.param({"Version": "2020-12-01"}, "$.Steps", "is missing", "Add 'Steps'", id="no steps"),
        pytest.param({"Steps": None}, "$.Steps", "is missing", "Add 'Steps'", id="null steps"),
        pytest.param({"Steps": {}}, "$.Steps", "is an object", "Write a list […]", id="steps are an object"),
        bad("$.Steps[0]", "is a string", "Write an object {…}", "Train"),
        bad("$.Steps[0]", "is null", "Write an object {…}", None),
        bad("$.Metadata", "is a list", "Write an object {…}", Metadata=[]),
        bad("$.Metadata['a b']", "is not a metadata key", "Match [A-Za-z0-9\\-_]{1,128}", Metadata={"a b": "x"}),
        bad("$.Metadata.a", "is an integer", "Write a string", Metadata={"a": 1}),
        bad("$.Metadata.a", "has 1025 characters", "Use at most 1024", Metadata={"a": "x" * 1025}),
        bad("$.Parameters", "is an object", "Write a list […]", Parameters={}),
        bad("$.PipelineExperimentConfig", "is a string", "Write an object {…}", PipelineExperimentConfig="e"),
        bad(
            "$.PipelineExperimentConfig.TrailName",
            "is unknown",
            "Perhaps 'TrialName' is meant",
            PipelineExperimentConfig={"ExperimentName": "e", "TrialName": "t", "TrailName": "t"},
        ),
        bad(
            "$.PipelineExperimentConfig.TrialName",
            "is an integer",
            "Write a string or an expression",
            PipelineExperimentConfig={"ExperimentName": "e", "TrialName": 5},
        ),
        bad("$.MlflowConfig.MlflowResourceArn", "is missing", "Add 'MlflowResourceArn'", MlflowConfig={"x": "y"}),
        bad(
            "$.MlflowConfig.MlflowExperimentName",
            "has 257 characters",
            "Use at most 256",
            MlflowConfig={"MlflowResourceArn": "arn", "MlflowExperimentName": "x" * 257},
        ),
        # steps
        bad("$.Steps[0].Name", "is missing", "Add 'Name'", {"Type": "Training", "Arguments": {}}),
        bad("$.Steps[0].Name", "is an integer", "Write a string", step(5)),
        bad("$.Steps[0].Name", "'a.b' is not allowed", "Match [A-Za-z0-9\\-_]{1,64}", step("a.b")),
        bad("$.Steps[0].Name", "'a b' is not allowed", "Match [A-Za-z0-9\\-_]{1,64}", step("a b")),
        bad("$.Steps[0].Name", "'' is not allowed", "Match [A-Za-z0-9\\-_]{1,64}", step("")),
        bad("$.Steps[0].Name", "'é' is not allowed", "Match [A-Za-z0-9\\-_]{1,64}", step("é")),
        bad("$.Steps[0].Name", "'A\\n' is not allowed", "Match [A-Za-z0-9\\-_]{1,64}", step("A\n")),
        bad("$.Steps[0].Name", f"'{'x' * 65}' is not allowed", "Match [A-Za-z0-9\\-_]{1,64}", step("x" * 65)),
        bad("$.Steps[0].Type", "is missing", "Add 'Type'", {"Name": "A", "Arguments": {}}),
        bad("$.Steps[0].Type", "'Trainig' is unknown", "Perhaps 'Training' is meant", step("A", "Trainig")),
        bad("$.Steps[0].Type", "'training' is unknown", "Perhaps 'Training' is meant", step("A", "training")),
        bad("$.Steps[0].Type", "is a list", "Write a string", step("A", ["Training"])),
        bad("$.Steps[0].Arguments", "is a list", "Write an object {…}", step("A", Arguments=[])),
        bad("$.Steps[0].Arguments", "is missing", "Add 'Arguments'", {"Name": "A", "Type": "Training"}),
        bad("$.Steps[0].DisplayName", "has 257 characters", "Use at most 256", step("A", DisplayName="x" * 257)),
        bad("$.Steps[0].DisplayName", "is an object", "Write a string", step("A", DisplayName=get("Parameters.P"))),
        bad("$.Steps[0].Description", "has 3073 characters", "Use at most 3072", step("A", Description="x" * 3073)),
        bad("$.Steps[0].DependsOn", "is a string", "Write a list […]", step("A", DependsOn="B"), step("B")),
        bad(
            "$.Steps[0].DependsOn[1]",
            "is an integer",
            'Write a step\'s name or {"Step": …, "Trigger": …}',
            step("A", DependsOn=["B", 5]),
            step("B"),
        ),
        bad(
            "$.Steps[0].DependsOn[0].Trigger",
            "'Failes' is unknown",
            "Perhaps 'Failed' is meant",
            step("A", DependsOn=[{"Step": "B", "Trigger": "Failes"}]),
            step("B"),
        ),
        bad(
            "$.Steps[0].DependsOn[0].Step",
            "is missing",
            "Add 'Step'",
            step("A", DependsOn=[{"Trigger": "Failed"}]),
            step("B"),
        ),
        bad(
            "$.Steps[0].DependsOn[0].Step",
            "is an object",
            "Write a string",
            step("A", DependsOn=[{"Step": get("Parameters.P")}]),
        ),
        bad(
            "$.Steps[0].DependsOn[1]",
            "'B' is listed with two triggers",
            "Keep Failed or Completed",
            step("A", DependsOn=[{"Step": "B", "Trigger": "Failed"}, "B"]),
            step("B"),
        ),
        bad("$.Steps[1].Name", "the name 'A' is taken", "Rename one", step("A"), step("A")),
        bad(
            "$.Steps[1].Arguments.IfSteps[0].Name",
            "the name 'A' is taken",
            "Rename one",
            step("A"),
            choice(if_steps=[step("A")]),
        ),
        bad(
            "$.Steps[0].Arguments.ElseSteps[0].Name",
            "the name 'A' is taken",
            "Rename one",
            choice(if_steps=[step("A")], else_steps=[step("A")]),
        ),
        bad(
            "$.Steps[0].Arguments.IfSteps",
            "is an object",
            "Write a list […]",
            step("C", "Condition", Arguments={"Conditions": [], "IfSteps": {}}),
        ),
        bad("$.Steps[0].Arguments.Conditions", "is missing", "Add 'Conditions'", step("C", "Condition")),
    ],
)
def test_what_is_wrong_is_reported_with_its_path_and_its_fix(source, where, what, fix):
    problem = only_problem(source)

    assert problem.where == where
    assert what in problem.what
    assert fix in problem.fix


def test_a_step_inside_a_condition_cannot_have_the_name_of_the_condition():
    source = document(choice("C", if_steps=[step("C")]))

    assert "the name 'C' is taken" in problem_at(source, "$.Steps[0].Arguments.IfSteps[0].Name").what


@pytest.mark.parametrize("key", ["ExperimentName", "TrialName"])
def test_an_experiment_names_both_its_members(key):
    config = {"ExperimentName": "e", "TrialName": "t"} | {key: None}

    assert only_problem(document(PipelineExperimentConfig=config)).where == f"$.PipelineExperimentConfig.{key}"


UNDOCUMENTED = [
    "Athena",
    "HubContent",
    "BedrockCustomModel",
    "BedrockCustomModelDeployment",
    "BedrockProvisionedModelThroughput",
    "BedrockModelImport",
]


@pytest.mark.parametrize("kind", UNDOCUMENTED)
def test_an_undocumented_step_type_is_refused_by_name_unless_overridden(kind):
    source = document(step("Odd", kind, Arguments={"a": get("Execution.PipelineName")}))

    problem = only_problem(source)
    assert problem.where == "$.Steps[0].Type"
    assert f"'{kind}'" in problem.what
    assert "not supported" in problem.what
    assert "Override" in problem.fix
    assert load_definition(source, overridden_steps=["Odd"]).all_steps["Odd"].type == kind


def test_overriding_a_step_lets_no_invented_type_through():
    with pytest.raises(PipelineDefinitionError, match="'Wait' is unknown"):
        load_definition(document(step("A", "Wait")), overridden_steps=["A"])


@pytest.mark.parametrize("kind", ["Lambda", "Callback"])
def test_lambda_and_callback_steps_need_no_arguments(kind):
    settings = {"FunctionArn": "f"} if kind == "Lambda" else {"SqsQueueUrl": "q"}
    definition = load_definition(document({"Name": "A", "Type": kind, **settings}))

    assert dict(definition.all_steps["A"].arguments) == {}


# --- reports


def test_all_problems_of_a_document_come_at_once():
    problems = problems_of(
        {
            "Version": "1",
            "Parameters": [{"Name": "bad name"}, {"Name": "N", "Type": "Integer", "DefaultValue": "1"}],
            "Steps": [
                step("A", DependsOn=["Nope"]),
                step("A"),
                step("B", "Unknown"),
                function("C", {"x": get("Steps.D.y"), "y": get("Parameters.N.z")}),
                function("D", {"x": get("Steps.C.y")}),
                step("E", DependsOn=["F"]),
                fail("F"),
            ],
        }
    )

    assert {problem.where for problem in problems} >= {
        "$.Version",
        "$.Parameters[0].Name",
        "$.Parameters[1].DefaultValue",
        "$.Steps[0].DependsOn[0]",
        "$.Steps[1].Name",
        "$.Steps[2].Type",
        "$.Steps[3].Arguments.y.Get",
        "$.Steps[5].DependsOn[0]",
    }
    cycles = [problem for problem in problems if "wait for each other" in problem.what]
    assert [problem.where in {"$.Steps[3]", "$.Steps[4]"} for problem in cycles] == [True]
    assert len(problems) == 9


def test_two_nameless_steps_are_two_problems_not_three():
    nameless = {"Type": "Training", "Arguments": {}}
    problems = problems_of(document(nameless, nameless))

    assert [problem.where for problem in problems] == ["$.Steps[0].Name", "$.Steps[1].Name"]
    assert {problem.what for problem in problems} == {"is missing"}


def test_a_step_of_unknown_type_still_counts_as_a_step_for_references():
    problem = only_problem(document(step("A", "Trainnig"), function(arguments={"x": get("Steps.A.y")})))

    assert problem.where == "$.Steps[0].Type"


def test_the_message_lists_every_problem_with_its_place():
    with pytest.raises(PipelineDefinitionError) as caught:
        load_definition(document(step("a.b"), step("C", "Trainin")))

    message = str(caught.value)
    assert "2 problems" in message
    assert "$.Steps[0].Name: 'a.b' is not allowed. Match" in message
    assert "$.Steps[1].Type: 'Trainin' is unknown. Perhaps 'Training' is meant." in message


def test_a_very_long_report_is_cut_but_the_problems_are_complete():
    with pytest.raises(PipelineDefinitionError) as caught:
        load_definition(document(*[step(f"bad name {number}") for number in range(120)]))

    assert len(caught.value.problems) == 120
    assert "120 problems" in str(caught.value)
    assert str(caught.value).count("$.Steps") < 120
    assert "and 70 more" in str(caught.value)


def test_the_exception_survives_pickling():
    with pytest.raises(PipelineDefinitionError) as caught:
        load_definition(document(step("a.b")))

    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is PipelineDefinitionError
    assert copy.problems == caught.value.problems
    assert str(copy) == str(caught.value)


# --- the model


def test_common_members_of_a_step_are_read():
    definition = load_definition(
        document(
            evaluation("Evaluate"),
            step(
                "Train",
                DependsOn=["Evaluate", {"Step": "Lint", "Trigger": "Any"}],
                DisplayName="Train it",
                Description="d",
                CacheConfig={"Enabled": True, "ExpireAfter": "P30D"},
                RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"]}],
            ),
            step("Lint", "Processing"),
        )
    )
    train = definition.all_steps["Train"]

    assert (train.display_name, train.description) == ("Train it", "d")
    assert [(each.step, each.trigger) for each in train.depends_on] == [
        ("Evaluate", Trigger.COMPLETED),
        ("Lint", Trigger.ANY),
    ]
    assert train.cache_config.enabled
    assert train.cache_config.expire_after.days == 30
    assert len(train.retry_policies) == 1
    report = definition.all_steps["Evaluate"].property_files["Report"]
    assert (report.name, report.output_name, report.file_path) == ("Report", "report", "evaluation.json")


def test_branches_and_loops_are_part_of_all_steps():
    definition = load_definition(
        document(
            choice("Outer", if_steps=[choice("Inner", else_steps=[step("Deep")])], else_steps=[fail("Stop")]),
            step("Last"),
        )
    )

    assert [each.name for each in definition.steps] == ["Outer", "Last"]
    assert list(definition.all_steps) == ["Outer", "Inner", "Deep", "Stop", "Last"]
    branches = {
        name: each.branch and (each.branch.condition, each.branch.outcome)
        for name, each in definition.all_steps.items()
    }
    assert branches == {
        "Outer": None,
        "Inner": ("Outer", True),
        "Deep": ("Inner", False),
        "Stop": ("Outer", False),
        "Last": None,
    }


def test_a_step_gives_its_own_json_without_the_steps_inside():
    inner = step("Train")
    outer = choice("Check", [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}], [inner], DisplayName="d")
    definition = load_definition(document(outer))

    assert json.loads(definition.all_steps["Train"].source) == inner
    assert json.loads(definition.all_steps["Check"].source) == {
        **outer,
        "Arguments": {"Conditions": outer["Arguments"]["Conditions"]},
    }


def test_the_digest_ignores_layout_and_sees_content():
    reordered = json.dumps(dict(reversed(DOCUMENT.items())), indent=4)

    assert load_definition(reordered).digest == load_definition(TEXT).digest
    assert load_definition(document(step("Other"))).digest != load_definition(TEXT).digest
    assert len(load_definition(TEXT).digest) == 64


def test_two_loads_are_equal():
    text = (CORPUS / "sdk2_main.json").read_text()

    assert load_definition(text) == load_definition(text)
    assert repr(load_definition(text)) == repr(load_definition(text))


RICH = document(
    evaluation("Evaluate"),
    choice(
        "Check",
        [{"Type": "In", "QueryValue": get("Parameters.P"), "Values": ["a", "b"]}],
        [function("Call", {"a": {"b": [1, {"c": 2}]}}, OutputParameters=[{"OutputName": "o"}])],
        [fail()],
    ),
    Parameters=[{"Name": "P", "EnumValues": ["a", "b"]}],
    Metadata={"k": "v"},
)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: setattr(d, "version", "x"),
        lambda d: setattr(d, "steps", ()),
        lambda d: setattr(d.steps[0], "name", "x"),
        lambda d: setattr(d.steps[1], "if_steps", ()),
        lambda d: setattr(d.steps[1].conditions[0], "negated", True),
        lambda d: setattr(d.parameters["P"], "default", "x"),
        lambda d: d.parameters.update(x=1),
        lambda d: d.parameters.__setitem__("x", 1),
        lambda d: d.all_steps.__setitem__("x", 1),
        lambda d: d.all_steps.pop("Call"),
        lambda d: d.metadata.__setitem__("k", "w"),
        lambda d: d.all_steps["Call"].arguments.__setitem__("a", 1),
        lambda d: d.all_steps["Call"].arguments["a"].__setitem__("b", 1),
        lambda d: d.all_steps["Call"].arguments["a"]["b"].append(1),
        lambda d: d.all_steps["Call"].arguments["a"]["b"].__setitem__(0, 1),
        lambda d: d.all_steps["Call"].arguments["a"]["b"][1].__setitem__("c", 3),
        lambda d: d.all_steps["Call"].settings.__setitem__("FunctionArn", "x"),
        lambda d: d.all_steps["Call"].output_parameters.__setitem__("o", "x"),
        lambda d: d.all_steps["Evaluate"].property_files.clear(),
        lambda d: d.all_steps["Evaluate"].property_files.__setitem__("x", 1),
        lambda d: d.graph.upstreams.__setitem__("x", {}),
        lambda d: d.graph.upstreams["Call"].__setitem__("x", Trigger.ANY),
    ],
    ids=range(22),
)
def test_nothing_in_the_model_can_be_changed(change):
    definition = load_definition(RICH)

    with pytest.raises((AttributeError, TypeError)):
        change(definition)
    assert definition == load_definition(RICH)


# --- purity


def test_loading_imports_neither_airflow_nor_boto3():
    code = (
        "import sys\n"
        "from airflow_sagemaker_pipelines.definition import load_definition, start_values\n"
        "assert load_definition(sys.argv[1]).graph.order()\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(CORPUS / "sdk2_main.json")], capture_output=True, text=True, check=True
    )

    heavy = {"airflow", "boto3", "botocore", "sagemaker", "moto", "pydantic", "sqlalchemy"}
    loaded = set(json.loads(result.stdout.replace("'", '"')))
    assert "airflow_sagemaker_pipelines" in loaded
    assert not loaded & heavy, "run python -X importtime -c 'import airflow_sagemaker_pipelines.definition' to see why"
