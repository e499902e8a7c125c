import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.definition import (
    ExecutionVariable,
    ExpressionError,
    Scope,
    load_definition,
    resolve,
)

from .documents import document, evaluation, fail, function, get, join, loop, only_problem, step

PARAMETERS = {"Text": "t", "Count": 3, "Rate": 0.25, "Flag": True, "Empty": "", "Zero": 0, "Off": False}
DECLARED = [
    {"Name": "Text"},
    {"Name": "Count", "Type": "Integer"},
    {"Name": "Rate", "Type": "Float"},
    {"Name": "Flag", "Type": "Boolean"},
    {"Name": "Empty"},
    {"Name": "Zero", "Type": "Integer"},
    {"Name": "Off", "Type": "Boolean"},
    {"Name": "Get"},
    {"Name": "1-x_"},
]
EXECUTION = {
    "StartDateTime": "2021-05-12T21:01:08.119Z",
    "CurrentDateTime": "2021-05-12T21:02:00.000Z",
    "PipelineName": "abalone",
    "PipelineArn": "arn:aws:sagemaker:us-east-1:111122223333:pipeline/abalone",
    "PipelineExecutionId": "p4jn9xou8a8s",
    "PipelineExecutionArn": "arn:aws:sagemaker:us-east-1:111122223333:pipeline/abalone/execution/p4jn9xou8a8s",
    "TrainingJobName": "pipelines-p4jn9xou8a8s-Train-x",
    "ProcessingJobName": "pipelines-p4jn9xou8a8s-Prepare-x",
}
REPORT = {
    "m": {"mse": {"value": 4.5}},
    "rows": [{"count": 3}, {"count": 4}],
    "ok": True,
    "name": "n",
    "p 99": 1,
    "a.b": {"c": [10, 20]},
    "list": [1, 2],
    "nothing": None,
}
OUTPUTS = {
    "Evaluate": {
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": {"S3Uri": "s3://b/report/"}}]}
    },
    "Train": {
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
        "ResourceConfig": {"InstanceCount": 2},
        "EnableNetworkIsolation": False,
        "HyperParameters": {"a.b": "c"},
        "Odd": None,
        "Tags": [{"Key": "k", "Value": "v"}],
    },
    "Train-2": {"TrainingJobName": "second"},
    "Tune": {"TrainingJobSummaries": [{"TrainingJobName": "best"}, {"TrainingJobName": "next"}]},
    "Job": {"JobConfigDocument": json.dumps({"ServiceOutput": {"Mlflow": {"RunId": "r1"}}, "n": 7})},
    "Check": {"Outcome": False},
    "Function": {"OutputParameters": {"score": 0.75, "a.b": "dotted"}},
}
FILES = {
    "s3://b/report/evaluation.json": json.dumps(REPORT),
    "s3://b/out/results.json": json.dumps({"Result": [1, {"k": "second"}]}),
    "s3://b/broken.json": "{",
    "s3://b/nan.json": '{"auc": NaN}',
}
STEPS = [
    evaluation("Evaluate"),
    step("Train"),
    step("Train-2"),
    step("Tune", "Tuning"),
    step("Job", "Job", Arguments={"JobCategory": "c", "JobConfigSchemaVersion": "1", "JobConfigDocument": "{}"}),
    step("Check", "Condition", Arguments={"Conditions": []}),
    function("Function"),
]


def read_text(uri):
    if uri not in FILES:
        raise ExpressionError(f"{uri} cannot be read: NoSuchKey")
    return FILES[uri]


def load(arguments, **members):
    config = {"ExperimentName": "exp", "TrialName": "trial"}
    return load_definition(
        document(*STEPS, function("Caller", arguments), Parameters=DECLARED, PipelineExperimentConfig=config, **members)
    )


def scope_of(definition, **changes):
    values = {
        "parameters": PARAMETERS | {"Get": "g", "1-x_": "odd name"},
        "execution": {ExecutionVariable(name): value for name, value in EXECUTION.items()},
        "outputs": OUTPUTS,
        "steps": definition.all_steps,
        "experiment": {"ExperimentName": "exp", "TrialName": "trial"},
        "read_text": read_text,
    }
    return Scope(**(values | changes))


def value_of(expression, **changes):
    definition = load({"x": expression})
    return resolve(definition.all_steps["Caller"].arguments, scope_of(definition, **changes))["x"]


def json_get(path, step_name="Evaluate", name="Report"):
    return {"Std:JsonGet": {"PropertyFile": get(f"Steps.{step_name}.PropertyFiles.{name}"), "Path": path}}


def json_get_uri(path, uri):
    return {"Std:JsonGet": {"S3Uri": uri, "Path": path}}


def same(left, right):
    """Equal, and of equal types all the way down: 1, 1.0 and True differ."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


# --- Get


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_keeps_its_type(name):
    assert same(value_of(get(f"Parameters.{name}")), PARAMETERS[name])


def test_a_parameter_may_have_any_legal_name():
    assert value_of(get("Parameters.1-x_")) == "odd name"
    assert value_of(get("Parameters.Get")) == "g"


@pytest.mark.parametrize("name", EXECUTION)
def test_each_of_the_eight_execution_variables_has_its_value(name):
    assert value_of(get(f"Execution.{name}")) == EXECUTION[name]


def test_there_are_exactly_eight_execution_variables():
    assert set(map(str, ExecutionVariable)) == set(EXECUTION)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("Steps.Train.ModelArtifacts.S3ModelArtifacts", "s3://b/model.tar.gz"),
        ("Steps.Train.ResourceConfig.InstanceCount", 2),
        ("Steps.Train.EnableNetworkIsolation", False),
        ("Steps.Train.HyperParameters['a.b']", "c"),
        ('Steps.Train.HyperParameters["a.b"]', "c"),
        ("Steps.Train.Odd", None),
        ("Steps.Train.Tags", [{"Key": "k", "Value": "v"}]),
        ("Steps.Train-2.TrainingJobName", "second"),
        ("Steps.Tune.TrainingJobSummaries[1].TrainingJobName", "next"),
        ("Steps.Evaluate.ProcessingOutputConfig.Outputs['report'].S3Output.S3Uri", "s3://b/report/"),
        ("Steps.Job.JobConfigDocument.ServiceOutput.Mlflow.RunId", "r1"),
        ("Steps.Check.Outcome", False),
        ("Steps.Function.OutputParameters['score']", 0.75),
        ("Steps.Function.OutputParameters['a.b']", "dotted"),
        ("PipelineExperimentConfig.ExperimentName", "exp"),
        ("PipelineExperimentConfig.TrialName", "trial"),
    ],
)
def test_a_reference_is_replaced_by_its_typed_value(reference, value):
    assert same(value_of(get(reference)), value)


def test_json_text_is_descended_into_in_job_documents_only():
    assert value_of(get("Steps.Job.JobConfigDocument")) == OUTPUTS["Job"]["JobConfigDocument"]
    with pytest.raises(ExpressionError, match="HyperParameters"):
        value_of(get("Steps.Train.HyperParameters['a.b'].x"), outputs={"Train": {"HyperParameters": {"a.b": "{}"}}})


@pytest.mark.parametrize(
    ("reference", "changes"),
    [
        ("Parameters.Text", {"parameters": {}}),
        ("Execution.TrainingJobName", {"execution": {}}),
        ("Steps.Train.TrainingJobName", {"outputs": {}}),
        ("Steps.Train.TrainingJobName", {}),
        ("Steps.Train.ModelArtifacts.X", {}),
        ("PipelineExperimentConfig.TrialName", {"experiment": {}}),
    ],
)
def test_a_reference_without_a_value_is_an_expression_error_that_names_it(reference, changes):
    with pytest.raises(ExpressionError, match=reference.replace(".", r"\.")):
        value_of(get(reference), **changes)


def test_an_expression_is_found_at_any_depth_and_the_rest_stays():
    arguments = {
        "a": [1, {"b": [get("Parameters.Count"), None, [], {}]}, "{{ ds }} %s", 1.5, True],
        "c": {"d": {"e": join(get("Parameters.Text"), "!")}},
    }
    definition = load(arguments)

    assert same(
        resolve(definition.all_steps["Caller"].arguments, scope_of(definition)),
        {"a": [1, {"b": [3, None, [], {}]}, "{{ ds }} %s", 1.5, True], "c": {"d": {"e": "t!"}}},
    )


@pytest.mark.parametrize(
    "data",
    [
        {"Get": "Parameters.Text", "Set": "x"},
        {"Get": "literal", "Std:Join": 1},
        {"Std:Join": {"Values": ["a"]}, "Std:JsonGet": {}},
        {"Std:Foo": 1, "x": 2},
        {"get": "Parameters.Text"},
        {"std:Join": {"Values": []}},
        {"Getter": "x"},
        {},
    ],
)
def test_an_object_with_other_than_one_function_key_is_data(data):
    assert same(value_of(data), data)


def test_expressions_inside_a_data_object_with_a_get_member_are_still_replaced():
    assert value_of({"Get": get("Parameters.Text"), "x": get("Parameters.Count")}) == {"Get": "t", "x": 3}


def test_settings_beside_the_arguments_may_hold_expressions():
    check = step(
        "Quality",
        "QualityCheck",
        CheckType="DATA_QUALITY",
        SkipCheck=get("Parameters.Flag"),
        ModelPackageGroupName=join("g-", get("Parameters.Text")),
    )
    definition = load_definition(document(check, Parameters=DECLARED))

    assert resolve(definition.all_steps["Quality"].settings, scope_of(definition)) == {
        "CheckType": "DATA_QUALITY",
        "SkipCheck": True,
        "ModelPackageGroupName": "g-t",
    }


def test_resolving_leaves_the_model_and_the_scope_alone():
    definition = load({"x": {"y": [1, get("Steps.Train.Tags")]}})
    before = json.dumps(OUTPUTS)

    first = resolve(definition.all_steps["Caller"].arguments, scope_of(definition))
    first["x"]["y"][0] = "changed"
    first["new"] = 1
    second = resolve(definition.all_steps["Caller"].arguments, scope_of(definition))

    assert second == {"x": {"y": [1, [{"Key": "k", "Value": "v"}]]}}
    assert json.dumps(OUTPUTS) == before


# --- Std:Join


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (join(), ""),
        (join("a"), "a"),
        (join("a", "b"), "ab"),
        (join("a", "b", on=""), "ab"),
        (join("a", "b", on="/"), "a/b"),
        (join("", "", on="-"), "-"),
        (join("s3:/", "bucket", get("Execution.PipelineExecutionId"), "x", on="/"), "s3://bucket/p4jn9xou8a8s/x"),
        (join(1, -2, 0, on=","), "1,-2,0"),
        (join(True, False, on=","), "true,false"),
        (join(get("Parameters.Flag"), get("Parameters.Off"), on=","), "true,false"),
        (join(get("Steps.Check.Outcome")), "false"),
        (join(get("Parameters.Count")), "3"),
        (join(get("Parameters.Rate")), "0.25"),
        (join(0.1, 1.0, -2.5, 100.0, 0.0, on=" "), "0.1 1.0 -2.5 100.0 0.0"),
        (join(10**18), "1000000000000000000"),
        (join(join("a", join("b", "c", on="-"), on="/"), "d", on="|"), "a/b-c|d"),
        (join("mse=", json_get("m.mse.value")), "mse=4.5"),
        (join(json_get("ok"), json_get("rows[1].count"), on=" "), "true 4"),
        (
            join(
                json_get_uri(
                    "Result[1]['k']", join(get("Steps.Train.OutputDataConfig.S3OutputPath"), "results.json", on="/")
                )
            ),
            "second",
        ),
        (join("ünï", "{{ ds }}", "%d", "'\"", on="\n"), "ünï\n{{ ds }}\n%d\n'\""),
        ({"Std:Join": {"Values": ["a", "b"], "On": None}}, "ab"),
    ],
)
def test_join_renders_its_values_as_text(expression, text):
    assert value_of(expression) == text


@pytest.mark.parametrize(
    "value", [None, [], {}, [1], {"a": 1, "b": 2}, get("Steps.Train.Odd"), get("Steps.Train.Tags")]
)
def test_join_has_no_text_for_null_lists_and_objects(value):
    with pytest.raises(ExpressionError, match="Std:Join"):
        value_of(join("a", value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_join_has_no_text_for_what_is_no_json_number(value):
    with pytest.raises(ExpressionError, match="Std:Join"):
        value_of(join(get("Parameters.Rate")), parameters={"Rate": value})


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_rendered_float_reads_back_as_the_same_number(value):
    text = value_of(join(get("Parameters.Rate")), parameters={"Rate": value})

    assert float(text) == value
    assert "." in text


# --- Std:JsonGet


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("m.mse.value", 4.5),
        ("$.m.mse.value", 4.5),
        ("$['m'].mse.value", 4.5),
        ("m['mse']['value']", 4.5),
        ("rows[0].count", 3),
        ("ok", True),
        ("name", "n"),
        ("['p 99']", 1),
        ("['a.b'].c[1]", 20),
        ("nothing", None),
        ("list", [1, 2]),
    ],
)
def test_json_get_keeps_the_type_of_what_it_reads(path, value):
    assert same(value_of(json_get(path)), value)


def test_json_get_reads_by_uri():
    base = get("Steps.Train.OutputDataConfig.S3OutputPath")

    assert value_of(json_get_uri("Result[0]", join(base, "results.json", on="/"))) == 1
    assert value_of(json_get_uri("Result[0]", "s3://b/out/results.json")) == 1


@pytest.mark.parametrize("uri", ["s3://b/report", "s3://b/report/"])
@pytest.mark.parametrize("file_path", ["evaluation.json", "deep/er.json"])
def test_a_property_file_lies_below_its_output(uri, file_path):
    files = [{"PropertyFileName": "F", "OutputName": "report", "FilePath": file_path}]
    definition = load_definition(
        document(evaluation("E", PropertyFiles=files), function("C", {"x": json_get("a", "E", "F")}))
    )
    asked = []

    def read(address):
        asked.append(address)
        return '{"a": 1}'

    outputs = {"E": {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": {"S3Uri": uri}}]}}}
    scope = Scope(outputs=outputs, steps=definition.all_steps, read_text=read)

    assert resolve(definition.all_steps["C"].arguments["x"], scope) == 1
    assert asked == [f"s3://b/report/{file_path}"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (json_get_uri("a", "s3://b/none.json"), "s3://b/none.json cannot be read: NoSuchKey"),
        (json_get_uri("a", "s3://b/broken.json"), "s3://b/broken.json does not hold valid JSON"),
        (json_get_uri("auc", "s3://b/nan.json"), "s3://b/nan.json does not hold valid JSON: NaN"),
        (json_get("m.rmse.value"), "s3://b/report/evaluation.json: 'm.rmse.value' does not exist"),
    ],
)
def test_a_file_that_cannot_answer_is_an_expression_error(expression, message):
    with pytest.raises(ExpressionError) as caught:
        value_of(expression)

    assert message in str(caught.value)


@pytest.mark.parametrize("changes", [{"steps": {}}, {"outputs": {}}, {"outputs": {"Evaluate": {}}}])
def test_a_property_file_of_a_step_without_output_is_an_expression_error(changes):
    with pytest.raises(ExpressionError, match=r"Steps\.Evaluate"):
        value_of(json_get("m.mse.value"), **changes)


def test_a_scope_reads_no_files_unless_told_how():
    with pytest.raises(ExpressionError, match=r"s3://b/x\.json cannot be read here"):
        value_of(json_get_uri("a", "s3://b/x.json"), read_text=Scope().read_text)


# --- what is no expression


def bad(expression, where, what, fix):
    return pytest.param(expression, where, what, fix, id=json.dumps(expression)[:60])


@pytest.mark.parametrize(
    ("expression", "where", "what", "fix"),
    [
        bad(
            {"Std:Jion": {"Values": []}},
            "['Std:Jion']",
            "the function 'Std:Jion' is unknown",
            "Perhaps 'Std:Join' is meant",
        ),
        bad({"Std:Base64": 1}, "['Std:Base64']", "the function 'Std:Base64' is unknown", "Std:J"),
        bad({"Std:": 1}, "['Std:']", "is unknown", "Std:Join"),
        bad(get("Text"), ".Get", "unknown root 'Text'", "Parameters"),
        bad(get("Parameter.Text"), ".Get", "unknown root 'Parameter'", "Perhaps 'Parameters' is meant"),
        bad(get("parameters.Text"), ".Get", "unknown root 'parameters'", "Perhaps 'Parameters' is meant"),
        bad(get(""), ".Get", "unknown root ''", "Parameters"),
        bad(get(5), ".Get", "is an integer", "Write a reference such as 'Parameters.InputData'"),
        bad(get(None), ".Get", "is null", "Write a reference such as 'Parameters.InputData'"),
        bad(get(["Parameters.Text"]), ".Get", "is a list", "Write a reference"),
        bad(get(get("Parameters.Text")), ".Get", "is an object", "Write a reference"),
        bad(get("Parameters"), ".Get", "'Parameters' is not a reference", "Write Parameters.<name>"),
        bad(get("Parameters."), ".Get", "'Parameters.' is not a reference", "Write Parameters.<name>"),
        bad(get("Parameters.Txet"), ".Get", "there is no parameter 'Txet'", "Perhaps 'Text' is meant"),
        bad(get("Parameters.Text.x"), ".Get", "there is no parameter 'Text.x'", "Perhaps 'Text' is meant"),
        bad(get("Execution.PipelineNam"), ".Get", "there is no variable 'PipelineNam'", "PipelineName"),
        bad(get("Execution.pipelineName"), ".Get", "there is no variable 'pipelineName'", "PipelineName"),
        bad(get("Execution.PipelineName.x"), ".Get", "there is no variable", "PipelineName"),
        bad(get("Execution"), ".Get", "is not a reference", "Write Execution."),
        bad(get("Steps"), ".Get", "is not a reference", "Write Steps.<step>.<member>"),
        bad(get("Steps.Train"), ".Get", "is not a reference", "Write Steps.<step>.<member>"),
        bad(get("Steps.Train."), ".Get", "is not a reference", "Write Steps.<step>.<member>"),
        bad(get("Steps..TrainingJobName"), ".Get", "is not a reference", "Write Steps.<step>.<member>"),
        bad(get("Steps.Train.Tags['k'"), ".Get", "is not a reference", "Write Steps.<step>.<member>"),
        bad(get("Steps.Trian.TrainingJobName"), ".Get", "there is no step 'Trian'", "Perhaps 'Train' is meant"),
        bad(get("Steps.Evaluate.PropertyFiles.Report"), "", "is a file, not a value", "Std:JsonGet"),
        bad(get("PipelineExperimentConfig.Trial"), ".Get", "there is no 'Trial'", "TrialName"),
        bad(get("ForEach.Item"), ".Get", "only 'CurrentItem' exists", "Write ForEach.CurrentItem"),
        bad(get("ForEach.CurrentItem"), ".Get", "outside a loop", "Use it inside ForEachBody"),
        bad(get("IterationOutput.Train.x"), ".Get", "outside a loop's selector", "Use it in Selector.Field"),
        bad({"Std:Join": None}, "['Std:Join']", "is null", "Write an object {…}"),
        bad({"Std:Join": ["a"]}, "['Std:Join']", "is a list", "Write an object {…}"),
        bad({"Std:Join": {"On": "/"}}, "['Std:Join'].Values", "is missing", "Add 'Values'"),
        bad({"Std:Join": {"Values": "ab"}}, "['Std:Join'].Values", "is a string", "Write a list […]"),
        bad({"Std:Join": {"On": 1, "Values": []}}, "['Std:Join'].On", "is an integer", "Write a string"),
        bad(
            {"Std:Join": {"On": get("Parameters.Text"), "Values": []}},
            "['Std:Join'].On",
            "is an object",
            "Write a string",
        ),
        bad(
            join(join(get("Parameters.No"))),
            "['Std:Join'].Values[0]['Std:Join'].Values[0].Get",
            "no parameter 'No'",
            "Known",
        ),
        bad({"Std:JsonGet": "a"}, "['Std:JsonGet']", "is a string", "Write an object {…}"),
        bad(
            {"Std:JsonGet": {"Path": "a"}},
            "['Std:JsonGet']",
            "exactly one of 'PropertyFile' and 'S3Uri'",
            "Name the file",
        ),
        bad(
            {
                "Std:JsonGet": {
                    "Path": "a",
                    "S3Uri": "s3://b/x",
                    "PropertyFile": get("Steps.Evaluate.PropertyFiles.Report"),
                }
            },
            "['Std:JsonGet']",
            "exactly one of 'PropertyFile' and 'S3Uri'",
            "Name the file",
        ),
        bad({"Std:JsonGet": {"S3Uri": "s3://b/x"}}, "['Std:JsonGet'].Path", "is missing", "Add 'Path'"),
        bad(json_get(get("Parameters.Text")), "['Std:JsonGet'].Path", "is an object", "Write a string"),
        bad(json_get("a[?(@.x)]"), "['Std:JsonGet'].Path", "cannot be read", "filters and wildcards are not supported"),
        bad(json_get("a[*].b"), "['Std:JsonGet'].Path", "cannot be read", "filters and wildcards are not supported"),
        bad(
            json_get("m", name="Reprot"),
            "['Std:JsonGet'].PropertyFile.Get",
            "no property file 'Reprot'",
            "Perhaps 'Report' is meant",
        ),
        bad(
            json_get("m", "Train"),
            "['Std:JsonGet'].PropertyFile.Get",
            "'Train' has no property file 'Report'",
            "There is none",
        ),
        bad(
            json_get("m", "Evalute"),
            "['Std:JsonGet'].PropertyFile.Get",
            "there is no step 'Evalute'",
            "Perhaps 'Evaluate' is meant",
        ),
        bad(
            {"Std:JsonGet": {"PropertyFile": "Report", "Path": "a"}},
            "['Std:JsonGet'].PropertyFile",
            "is a string",
            "Write an object",
        ),
        bad(
            {"Std:JsonGet": {"PropertyFile": {}, "Path": "a"}},
            "['Std:JsonGet'].PropertyFile.Get",
            "is null",
            "Write a reference",
        ),
        bad(
            {"Std:JsonGet": {"PropertyFile": get("Parameters.Text"), "Path": "a"}},
            "['Std:JsonGet'].PropertyFile",
            "'Parameters.Text' is not a property file",
            "Steps.<step>.PropertyFiles.<name>",
        ),
    ],
)
def test_a_wrong_expression_is_reported_with_its_place_and_its_fix(expression, where, what, fix):
    config = {"ExperimentName": "exp", "TrialName": "trial"}
    source = document(
        *STEPS, function("Caller", {"x": expression}), Parameters=DECLARED, PipelineExperimentConfig=config
    )

    problem = only_problem(source)
    assert problem.where == f"$.Steps[{len(STEPS)}].Arguments.x{where}"
    assert what in problem.what
    assert fix in problem.fix


# --- loops


def test_the_current_item_is_addressed_inside_the_body_of_a_loop():
    arguments = {
        "all": get("ForEach.CurrentItem"),
        "a": get("ForEach.CurrentItem.a.b"),
        "k": get("ForEach.CurrentItem['k.1']"),
        "i": get("ForEach.CurrentItem.list[1]"),
    }
    definition = load_definition(document(loop(body=[function("Body", arguments)])))
    item = {"a": {"b": 1}, "k.1": "two", "list": [1, True]}
    body = definition.all_steps["Body"].arguments

    for given_item in (item, json.dumps(item)):
        resolved = resolve(body, Scope(current_item=given_item))
        assert same(resolved, {"all": given_item, "a": 1, "k": "two", "i": True})


def test_an_item_that_is_no_json_has_no_members():
    definition = load_definition(document(loop(body=[function("Body", {"x": get("ForEach.CurrentItem.a")})])))

    with pytest.raises(ExpressionError, match=r"ForEach\.CurrentItem\.a"):
        resolve(definition.all_steps["Body"].arguments, Scope(current_item="plain text"))


def test_iteration_outputs_are_properties_of_the_loop():
    references = {
        "i": get("Steps.Loop.IterationOutputs[1].Body.OutputParameters['s']"),
        "s": get("Steps.Loop.Selected.OutputParameters['s']"),
        "n": get("Steps.Loop.InputItemCount"),
    }
    definition = load_definition(document(loop(body=[function("Body")]), function("After", references)))
    outputs = {
        "Loop": {
            "IterationOutputs": [{}, {"Body": {"OutputParameters": {"s": 2}}}],
            "Selected": {"OutputParameters": {"s": 9}},
            "InputItemCount": 2,
        }
    }

    assert resolve(definition.all_steps["After"].arguments, Scope(outputs=outputs)) == {"i": 2, "s": 9, "n": 2}


# --- references are listed


def test_every_reference_of_a_step_is_listed_with_its_place():
    definition = load(
        {
            "a": get("Parameters.Text"),
            "b": [join(get("Steps.Train.TrainingJobName"), json_get("x"))],
            "c": {"Get": "Parameters.Nope", "more": 1},
        }
    )
    listed = {str(reference): at[2:] for reference, at in definition.all_steps["Caller"].references}

    assert listed == {
        "Parameters.Text": ("Arguments", "a", "Get"),
        "Steps.Train.TrainingJobName": ("Arguments", "b", 0, "Std:Join", "Values", 0, "Get"),
        "Steps.Evaluate.PropertyFiles.Report": (
            "Arguments",
            "b",
            0,
            "Std:Join",
            "Values",
            1,
            "Std:JsonGet",
            "PropertyFile",
            "Get",
        ),
    }


def test_a_fail_step_message_may_be_an_expression():
    definition = load_definition(
        document(fail(message=join("bad", get("Parameters.Rate"), on=" ")), Parameters=[{"Name": "Rate"}])
    )

    assert resolve(definition.all_steps["Abort"].arguments, Scope(parameters={"Rate": "9"})) == {
        "ErrorMessage": "bad 9"
    }


# --- against an oracle


def oracle_text(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


SCALARS = (
    st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=6) | st.integers(-4000, 4000).map(lambda n: n / 8)
)
PLAIN_KEYS = st.text("abcGet:.", min_size=1, max_size=4).filter(lambda key: key != "Get" and not key.startswith("Std:"))


@st.composite
def worlds(draw):
    """Parameters, step outputs and an expression over them with the value it must have."""
    parameters = {f"P{index}": value for index, value in enumerate(draw(st.lists(SCALARS, min_size=1, max_size=4)))}
    output = draw(st.dictionaries(PLAIN_KEYS, SCALARS | st.lists(SCALARS, max_size=2), min_size=1, max_size=4))
    file = draw(st.dictionaries(PLAIN_KEYS, SCALARS, min_size=1, max_size=3))
    leaves = [(get(f"Parameters.{name}"), value) for name, value in parameters.items()]
    leaves += [(get(f"Steps.Train['{key}']"), value) for key, value in output.items()]
    leaves += [
        (get(f"Steps.Train['{key}'][{index}]"), item)
        for key, value in output.items()
        if isinstance(value, list)
        for index, item in enumerate(value)
    ]
    leaves += [(json_get(f"['{key}']"), value) for key, value in file.items()]
    leaves += [(json_get_uri(f"$['{key}']", join("s3://b", "file", on="/")), value) for key, value in file.items()]
    scalar = st.sampled_from([leaf for leaf in leaves if not isinstance(leaf[1], list)]) | SCALARS.map(lambda v: (v, v))

    def joined(parts):
        return st.tuples(st.lists(parts, max_size=4), st.text(max_size=2)).map(
            lambda pair: (
                join(*[expression for expression, _ in pair[0]], on=pair[1]),
                pair[1].join(oracle_text(value) for _, value in pair[0]),
            )
        )

    text = st.recursive(scalar, joined, max_leaves=6)
    tree = st.recursive(
        text | st.sampled_from(leaves),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda pairs: ([e for e, _ in pairs], [v for _, v in pairs]))
            | st.dictionaries(PLAIN_KEYS, inner, max_size=3).map(
                lambda pairs: ({k: e for k, (e, _) in pairs.items()}, {k: v for k, (_, v) in pairs.items()})
            )
        ),
        max_leaves=8,
    )
    return parameters, output, file, draw(tree)


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_resolving_agrees_with_a_naive_oracle(world):
    parameters, output, file, (expression, expected) = world
    definition = load_definition(
        document(
            evaluation("Evaluate"),
            step("Train"),
            function("Caller", {"x": expression}),
            Parameters=[{"Name": name} for name in parameters],
        )
    )
    scope = Scope(
        parameters=parameters,
        outputs={"Train": output, "Evaluate": OUTPUTS["Evaluate"]},
        steps=definition.all_steps,
        read_text=lambda uri: json.dumps({"s3://b/file": file, "s3://b/report/evaluation.json": file}[uri]),
    )

    assert same(resolve(definition.all_steps["Caller"].arguments["x"], scope), expected)
