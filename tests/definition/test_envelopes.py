"""What each step type needs beside the keys that all steps share."""

import json

import pytest

from airflow_sagemaker_pipelines.definition import StepType, load_definition

from .documents import (
    FUNCTION,
    choice,
    document,
    evaluation,
    fail,
    function,
    get,
    join,
    loop,
    only_problem,
    problems_of,
    step,
)

EMR_STEP = {"HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", "s3://b/a.py"]}}
CLUSTER = {
    "ReleaseLabel": "emr-6.6.0",
    "Instances": {"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceCount": 1}]},
}
JOB = {"JobCategory": "AgentRFT", "JobConfigSchemaVersion": "1.0.0", "JobConfigDocument": "{}"}
ASSOCIATION = {
    "Source": {"Name": "act", "Type": "Action"},
    "Destination": {"Arn": join("arn", get("Execution.PipelineExecutionId"), on="/")},
    "AssociationType": "Produced",
}

#: A legal step of each type.
STEPS = {
    "Processing": evaluation("A"),
    "Training": step("A", ServerlessJobConfig=None),
    "Tuning": step("A", "Tuning", Arguments={"HyperParameterTuningJobConfig": {"Strategy": "Bayesian"}}),
    "Transform": step("A", "Transform", Arguments={"TransformOutput": {"S3OutputPath": None}}),
    "AutoML": step("A", "AutoML"),
    "Model": step("A", "Model"),
    "RegisterModel": step("A", "RegisterModel", Arguments={"ModelMetrics": {"Bias": {}}}),
    "Condition": choice("A"),
    "Fail": fail("A"),
    "Callback": step(
        "A", "Callback", SqsQueueUrl="https://sqs", OutputParameters=[{"OutputName": "o", "OutputType": "Integer"}]
    ),
    "Lambda": function("A", {"n": 5}, OutputParameters=[{"OutputName": "o", "OutputType": "String"}]),
    "QualityCheck": step("A", "QualityCheck", CheckType="DATA_QUALITY", FailOnViolation=None, SkipCheck=False),
    "ClarifyCheck": step("A", "ClarifyCheck", CheckType="MODEL_BIAS", ModelName="m", ModelPackageGroupName=None),
    "EMR": step("A", "EMR", Arguments={"StepConfig": EMR_STEP, "ClusterId": "j-1", "ExecutionRoleArn": "arn"}),
    "EMRServerless": step("A", "EMRServerless", Arguments={"JobConfig": {"jobDriver": {}}, "ApplicationId": "00a"}),
    "EndpointConfig": step("A", "EndpointConfig", Arguments={"ProductionVariants": [{"VariantName": "V"}]}),
    "Endpoint": step("A", "Endpoint", Arguments={"EndpointConfigName": "c"}),
    "InferenceComponent": step("A", "InferenceComponent", Arguments={"InferenceComponentName": "i"}),
    "Lineage": step("A", "Lineage", Arguments={"Associations": [ASSOCIATION]}),
    "Job": step("A", "Job", Arguments=JOB),
    "Cleanup": step("A", "Cleanup", Arguments={"Resources": {"S3": [{"StepName": "Up", "S3Uris": ["s3://b/o"]}]}}),
    "ForEach": loop("A", [function("Body")]),
}
UNDOCUMENTED = {
    "Athena",
    "HubContent",
    "BedrockCustomModel",
    "BedrockCustomModelDeployment",
    "BedrockProvisionedModelThroughput",
    "BedrockModelImport",
}


def test_every_step_type_is_covered_here():
    assert set(STEPS) | UNDOCUMENTED == set(map(str, StepType))
    assert len(StepType) == 28


@pytest.mark.parametrize("kind", STEPS)
def test_a_legal_step_of_each_type_loads(kind):
    source = STEPS[kind]
    loaded = load_definition(document(source, step("Up"))).all_steps["A"]

    assert loaded.type == kind
    assert set(loaded.settings) == {
        key
        for key, value in source.items()
        if value is not None and key not in {"Name", "Type", "Arguments", "OutputParameters", "PropertyFiles"}
    }
    if kind not in {"Condition", "ForEach"}:
        assert list(loaded.arguments) == list(source["Arguments"])


def bad(source, where, what, fix):
    return pytest.param(source, where, what, fix, id=f"{source['Type']}: {where} {what}"[:90])


def emr(**arguments):
    return step("A", "EMR", Arguments={"StepConfig": EMR_STEP} | arguments)


def cleanup(resources):
    return step("A", "Cleanup", Arguments={"Resources": resources})


def lineage(**association):
    return step("A", "Lineage", Arguments={"Associations": [ASSOCIATION | association]})


@pytest.mark.parametrize(
    ("source", "where", "what", "fix"),
    [
        bad(step("A", "Lambda"), ".FunctionArn", "is missing", "Add 'FunctionArn'"),
        bad(step("A", "Lambda", FunctionArn=5), ".FunctionArn", "is an integer", "Write a string or an expression"),
        bad(step("A", "Lambda", Arguments={"FunctionArn": "f"}), ".FunctionArn", "is missing", "Add 'FunctionArn'"),
        bad(step("A", "Callback"), ".SqsQueueUrl", "is missing", "Add 'SqsQueueUrl'"),
        bad(function("A", OutputParameters={}), ".OutputParameters", "is an object", "Write a list […]"),
        bad(function("A", OutputParameters=["o"]), ".OutputParameters[0]", "is a string", "Write an object {…}"),
        bad(function("A", OutputParameters=[{}]), ".OutputParameters[0].OutputName", "is missing", "Add 'OutputName'"),
        bad(
            function("A", OutputParameters=[{"OutputName": "o", "OutputType": "Int"}]),
            ".OutputParameters[0].OutputType",
            "'Int' is unknown",
            "Perhaps 'Integer' is meant",
        ),
        bad(
            function("A", OutputParameters=[{"OutputName": "o"}, {"OutputName": "o"}]),
            ".OutputParameters[1].OutputName",
            "'o' is declared twice",
            "Remove one",
        ),
        bad(step("A", "Fail"), ".Arguments.ErrorMessage", "is missing", "Add 'ErrorMessage'"),
        bad(fail("A", 5), ".Arguments.ErrorMessage", "is an integer", "Write a string or an expression"),
        bad(step("A", "QualityCheck"), ".CheckType", "is missing", "Add 'CheckType'"),
        bad(
            step("A", "QualityCheck", CheckType="DATA_BIAS"),
            ".CheckType",
            "'DATA_BIAS' is unknown",
            "Perhaps 'DATA_QUALITY'",
        ),
        bad(step("A", "ClarifyCheck", CheckType="DATA_QUALITY"), ".CheckType", "'DATA_QUALITY' is unknown", ""),
        bad(step("A", "ClarifyCheck", CheckType="MODEL_BIAS"), ".ModelName", "is missing", "Add 'ModelName'"),
        bad(
            step("A", "ClarifyCheck", CheckType="MODEL_EXPLAINABILITY", ModelName=None),
            ".ModelName",
            "is missing",
            "Add",
        ),
        bad(emr(), ".Arguments", "has neither of 'ClusterId' and 'ClusterConfig'", "Give exactly one"),
        bad(
            emr(ClusterId="j", ClusterConfig=CLUSTER),
            ".Arguments",
            "has both of 'ClusterId' and 'ClusterConfig'",
            "Give exactly one",
        ),
        bad(emr(ClusterId="j", StepConfig=None), ".Arguments.StepConfig", "is missing", "Add 'StepConfig'"),
        bad(
            emr(ClusterConfig=CLUSTER, ExecutionRoleArn="r"),
            ".Arguments.ExecutionRoleArn",
            "beside ClusterConfig",
            "with ClusterId only",
        ),
        bad(
            emr(ClusterConfig={"Instances": {"InstanceGroups": [], "InstanceFleets": []}}),
            ".Arguments.ClusterConfig.Instances",
            "has both of 'InstanceGroups' and 'InstanceFleets'",
            "Give exactly one",
        ),
        bad(
            emr(ClusterConfig={"Instances": {"x": 1}}),
            ".Arguments.ClusterConfig.Instances",
            "has neither of 'InstanceGroups' and 'InstanceFleets'",
            "Give exactly one",
        ),
        bad(
            step("A", "EMRServerless", Arguments={"ApplicationId": "a"}),
            ".Arguments.JobConfig",
            "is missing",
            "Add 'JobConfig'",
        ),
        bad(
            step("A", "EMRServerless", Arguments={"JobConfig": {"a": 1}}),
            ".Arguments",
            "has neither of 'ApplicationId' and",
            "Give exactly one",
        ),
        bad(step("A", "EndpointConfig"), ".Arguments.ProductionVariants", "is missing", "Add 'ProductionVariants'"),
        bad(step("A", "Endpoint"), ".Arguments.EndpointConfigName", "is missing", "Add 'EndpointConfigName'"),
        bad(step("A", "Lineage"), ".Arguments", "creates nothing", "Actions, Artifacts, Contexts, Associations"),
        bad(lineage(Source=None), ".Arguments.Associations[0].Source", "is missing", "Add 'Source'"),
        bad(
            lineage(Source={"Name": "n", "Type": "Model"}),
            ".Arguments.Associations[0].Source.Type",
            "'Model' is unknown",
            "Action",
        ),
        bad(
            lineage(Destination={"Type": "Action"}),
            ".Arguments.Associations[0].Destination.Name",
            "is missing",
            "Add 'Name'",
        ),
        bad(
            step("A", "Job", Arguments=JOB | {"JobCategory": None}),
            ".Arguments.JobCategory",
            "is missing",
            "Add 'JobCategory'",
        ),
        bad(
            step("A", "Job", Arguments=JOB | {"JobConfigDocument": None}),
            ".Arguments.JobConfigDocument",
            "is missing",
            "Add",
        ),
        bad(cleanup(None), ".Arguments.Resources", "is missing", "Add 'Resources'"),
        bad(cleanup({"x": 1}), ".Arguments.Resources.S3", "is missing", "Add 'S3'"),
        bad(cleanup({"S3": ["Up"]}), ".Arguments.Resources.S3[0]", "is a string", "Write an object {…}"),
        bad(cleanup({"S3": [{"S3Uris": []}]}), ".Arguments.Resources.S3[0].StepName", "is missing", "Add 'StepName'"),
        bad(
            loop("A", [function("B")], IterableItems=None),
            ".Arguments.IterableItems",
            "is missing",
            "Add 'IterableItems'",
        ),
        bad(loop("A", [function("B")], IterableItems=[]), ".Arguments.IterableItems", "has 0 items", "Give 1 to 100"),
        bad(
            loop("A", [function("B")], IterableItems=["x"] * 101),
            ".Arguments.IterableItems",
            "has 101 items",
            "Give 1 to 100",
        ),
        bad(
            loop("A", [function("B")], IterableItems="[1]"),
            ".Arguments.IterableItems",
            "is a string",
            "Write a list or an expression",
        ),
        bad(
            loop("A", [function("B")], MaxConcurrency=None),
            ".Arguments.MaxConcurrency",
            "is missing",
            "Add 'MaxConcurrency'",
        ),
        bad(
            loop("A", [function("B")], MaxConcurrency=0),
            ".Arguments.MaxConcurrency",
            "0 is out of range",
            "from 1 to 50",
        ),
        bad(
            loop("A", [function("B")], MaxConcurrency=51),
            ".Arguments.MaxConcurrency",
            "51 is out of range",
            "from 1 to 50",
        ),
        bad(loop("A", [function("B")], ForEachBody=None), ".Arguments.ForEachBody", "is missing", "Add 'ForEachBody'"),
        bad(evaluation("A", PropertyFiles={}), ".PropertyFiles", "is an object", "Write a list […]"),
        bad(
            evaluation("A", PropertyFiles=[{"PropertyFileName": "R", "OutputName": "reprot", "FilePath": "e.json"}]),
            ".PropertyFiles[0].OutputName",
            "the step has no output 'reprot'",
            "Perhaps 'report' is meant",
        ),
        bad(
            evaluation("A", PropertyFiles=[{"OutputName": "report", "FilePath": "e.json"}]),
            ".PropertyFiles[0].PropertyFileName",
            "is missing",
            "Add 'PropertyFileName'",
        ),
        bad(
            evaluation("A", PropertyFiles=[{"PropertyFileName": "R", "OutputName": "report", "FilePath": join("e")}]),
            ".PropertyFiles[0].FilePath",
            "is an object",
            "Write a string",
        ),
        bad(
            evaluation("A", PropertyFiles=[{"PropertyFileName": "R", "OutputName": "report", "FilePath": "e"}] * 2),
            ".PropertyFiles[1].PropertyFileName",
            "'R' is declared twice",
            "Rename one",
        ),
        bad(
            step("A", PropertyFiles=[{"PropertyFileName": "R", "OutputName": "report", "FilePath": "e.json"}]),
            ".PropertyFiles",
            "stands on a Training step",
            "Only Processing steps have property files",
        ),
    ],
)
def test_what_a_step_lacks_is_reported_with_its_place_and_its_fix(source, where, what, fix):
    problem = only_problem(document(source, step("Up")))

    assert problem.where == f"$.Steps[0]{where}"
    assert what in problem.what
    assert fix in problem.fix


@pytest.mark.parametrize("kind", sorted(set(STEPS) - {"Lambda", "Callback"}))
@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_every_other_type_needs_arguments(kind, value):
    found = problems_of(document(STEPS[kind] | {"Arguments": value}, step("Up")))

    assert "$.Steps[0].Arguments" in {problem.where for problem in found}


def test_an_empty_message_of_a_fail_step_is_legal():
    assert load_definition(document(fail("A", ""))).all_steps["A"].arguments["ErrorMessage"] == ""


@pytest.mark.parametrize("kind", ["DATA_QUALITY", "MODEL_QUALITY"])
def test_quality_checks_of_both_types_load(kind):
    load_definition(document(step("A", "QualityCheck", CheckType=kind)))


def test_a_data_bias_check_needs_no_model():
    load_definition(document(step("A", "ClarifyCheck", CheckType="DATA_BIAS")))


@pytest.mark.parametrize("members", [{"ClusterId": get("Parameters.P")}, {"ClusterConfig": CLUSTER}])
def test_an_emr_step_has_a_cluster_or_makes_one(members):
    load_definition(document(emr(**members), Parameters=[{"Name": "P"}]))


def test_a_serverless_application_may_be_made_by_the_step():
    arguments = {"JobConfig": {"jobDriver": {}}, "ApplicationConfig": {"name": "n"}}

    load_definition(document(step("A", "EMRServerless", Arguments=arguments)))


def test_a_job_document_may_be_put_together():
    document_text = join('{"run": "', get("Execution.PipelineExecutionId"), '"}')

    load_definition(document(step("A", "Job", Arguments=JOB | {"JobConfigDocument": document_text})))


def test_arguments_are_kept_whatever_they_are_called():
    arguments = {"Get": "Parameters.Nope", "null": None, "nested": {"a": [None, 1.5, True, "{{ ds }}"]}}
    call = load_definition(document(function("A", arguments | {"x": 1}))).all_steps["A"]

    assert call.arguments["Get"] == "Parameters.Nope"
    assert call.arguments["null"] is None
    assert call.arguments["nested"]["a"] == (None, 1.5, True, "{{ ds }}")
    assert json.loads(call.source)["Arguments"] == arguments | {"x": 1}


def test_output_parameters_have_types():
    outputs = [{"OutputName": kind, "OutputType": kind} for kind in ("String", "Integer", "Float", "Boolean")]
    call = load_definition(document(function("A", OutputParameters=[*outputs, {"OutputName": "untyped"}])))

    assert {name: str(kind) for name, kind in call.all_steps["A"].output_parameters.items()} == {
        "String": "String",
        "Integer": "Integer",
        "Float": "Float",
        "Boolean": "Boolean",
        "untyped": "String",
    }
    assert call.all_steps["A"].settings["FunctionArn"] == FUNCTION


def test_members_of_a_loop_are_read():
    definition = load_definition(
        document(
            loop(
                "A",
                [function("B"), step("C")],
                IterableItems=[1, "x", get("Parameters.P")],
                MaxConcurrency=50,
                Selector={"Pick": "MinBy", "Field": get("IterationOutput.B.OutputParameters['s']")},
            ),
            Parameters=[{"Name": "P"}],
        )
    )
    each = definition.all_steps["A"]

    assert [child.name for child in each.body] == ["B", "C"]
    assert {child.loop for child in each.body} == {"A"}
    assert each.max_concurrency == 50
    assert each.iterable_items[:2] == (1, "x")
    assert (each.selector.pick, str(each.selector.field)) == ("MinBy", "IterationOutput.B.OutputParameters.s")
