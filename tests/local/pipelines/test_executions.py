"""Executions: parameters, order, failures, lists, tokens."""

from __future__ import annotations

import re

import pytest
from botocore.exceptions import ClientError
from pipeline_support import (
    BUCKET,
    ROLE,
    after,
    compare,
    condition,
    fail,
    get,
    join,
    parameter,
    process,
    train,
    until,
)

ID = r"arn:aws:sagemaker:us-east-1:123456789012:pipeline/pipe/execution/[a-z0-9]{12}"


def refused(code, text):
    return pytest.raises(ClientError, match=rf"\({code}\).*{text}")


def test_steps_make_jobs_with_the_services_names_and_the_pipelines_role(pipelines, sagemaker):
    arn = pipelines.run(train("Train_the_model_of_the_week"), process("Own", arguments={"ProcessingJobName": "mine"}))

    names = {
        step: metadata.popitem()[1]["Arn"].rpartition("/")[2]
        for step, metadata in ((name, step["Metadata"]) for name, step in pipelines.steps(arn).items())
    }
    execution = arn.rpartition("/")[2]
    assert re.fullmatch(ID, arn)
    assert re.fullmatch(
        rf"pipelines-{execution}-train-the-model-of-t-[a-z0-9]{{10}}", names["Train_the_model_of_the_week"]
    )
    assert re.fullmatch(rf"mine-{execution}-[a-z0-9]{{10}}", names["Own"])
    job = sagemaker.describe_training_job(TrainingJobName=names["Train_the_model_of_the_week"])
    assert (job["TrainingJobStatus"], job["RoleArn"]) == ("Completed", ROLE)


def test_what_steps_make_can_be_referred_to(pipelines, sagemaker):
    model = {"PrimaryContainer": {"Image": "i", "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}}
    arn = pipelines.run(train("Train"), {"Name": "Model", "Type": "Model", "Arguments": model})

    name = pipelines.steps(arn)["Model"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    url = sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"]
    assert re.fullmatch(rf"s3://{BUCKET}/models/pipelines-\w+-Train-\w+/output/model.tar.gz", url)


def test_parameters_are_typed(pipelines, sagemaker):
    declared = [
        parameter("Count", "Integer", DefaultValue=1),
        parameter("Rate", "Float"),
        parameter("Flag", "Boolean", DefaultValue=False),
        parameter("Mode", EnumValues=["fast", "slow"], DefaultValue="fast"),
    ]
    resources = {"InstanceCount": get("Parameters.Count"), "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
    tests = [compare(get("Parameters.Rate"), 0.25), compare(get("Parameters.Flag"), True)]
    arn = pipelines.run(
        train("Train", arguments={"ResourceConfig": resources}),
        condition("Check", *tests, no=[fail("No")]),
        Parameters=declared,
        parameters={"Count": "3", "Rate": "0.25", "Flag": "True"},
    )

    name = pipelines.steps(arn)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    listed = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert sagemaker.describe_training_job(TrainingJobName=name)["ResourceConfig"]["InstanceCount"] == 3
    assert pipelines.status(arn) == "Succeeded"
    assert {item["Name"]: item["Value"] for item in listed} == {
        "Count": "3",
        "Rate": "0.25",
        "Flag": "True",
        "Mode": "fast",
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "Parameter 'Rate': has no value and no default"),
        ({"Rate": "1", "Nobody": "1"}, "the pipeline has no such parameter"),
        ({"Rate": "high"}, "'high' is not a number"),
        ({"Rate": "1", "Mode": "medium"}, "'medium' is not one of 'fast', 'slow'"),
        ({"Rate": ""}, 'Parameter Rate value "" is too short'),
    ],
)
def test_values_that_parameters_do_not_take_are_refused(pipelines, given, text):
    mode = parameter("Mode", EnumValues=["fast", "slow"], DefaultValue="fast")
    pipelines.create(fail("No"), Parameters=[parameter("Rate", "Float"), mode])

    with refused("ValidationException", text):
        pipelines.start(parameters=given)


@pytest.mark.parametrize("empty", [True, False])
def test_the_empty_text_may_be_a_value(pipelines, choose, empty):
    choose(empty_parameter_values=empty)
    pipelines.create(process("P"), Parameters=[parameter("Text", DefaultValue="x")])
    if empty:
        assert pipelines.status(pipelines.ended(pipelines.start(parameters={"Text": ""}))) == "Succeeded"
    else:
        with refused("ValidationException", "too short"):
            pipelines.start(parameters={"Text": ""})


@pytest.mark.parametrize(("defaults", "names"), [(True, ["A", "B"]), (False, ["B"])])
def test_the_list_of_parameters_may_leave_defaults_out(pipelines, sagemaker, choose, defaults, names):
    choose(list_defaults=defaults)
    declared = [parameter("A", DefaultValue="a"), parameter("B", DefaultValue="b")]
    arn = pipelines.run(process("P"), Parameters=declared, parameters={"B": "c"})

    pages = sagemaker.get_paginator("list_pipeline_parameters_for_execution").paginate(
        PipelineExecutionArn=arn, PaginationConfig={"PageSize": 1}
    )

    assert [item["Name"] for page in pages for item in page["PipelineParameters"]] == names


def test_a_token_starts_one_execution(pipelines, sagemaker):
    pipelines.create(process("P"))
    token = "t" * 32

    arns = {pipelines.start(ClientRequestToken=token) for _ in range(3)}
    other = pipelines.start()

    assert len(arns) == 1
    assert other not in arns
    assert len(sagemaker.list_pipeline_executions(PipelineName="pipe")["PipelineExecutionSummaries"]) == 2


def test_a_token_is_forgotten_with_its_pipeline(pipelines, sagemaker):
    token = {"ClientRequestToken": "t" * 32}
    pipelines.create(process("P"), request=token)
    first = pipelines.ended(pipelines.start(**token))
    sagemaker.delete_pipeline(PipelineName="pipe")

    pipelines.create(process("P"), request=token)

    assert pipelines.status(pipelines.ended(pipelines.start(**token))) == "Succeeded"
    with refused("ResourceNotFound", "does not exist"):
        pipelines.describe(first)


def test_an_execution_keeps_the_version_that_it_was_started_with(pipelines, sagemaker):
    pipelines.create(fail("No", "one"), request={"PipelineVersionAliases": ["live"]})
    pipelines.update(fail("No", "two"))

    latest, by_alias, by_id = (
        pipelines.ended(pipelines.start(**which))
        for which in ({}, {"PipelineVersionAlias": "live"}, {"PipelineVersionId": 1})
    )

    reasons = [pipelines.steps(arn)["No"]["FailureReason"] for arn in (latest, by_alias, by_id)]
    assert reasons == ["two", "one", "one"]
    assert [pipelines.describe(arn)["PipelineVersionId"] for arn in (latest, by_alias)] == [2, 1]
    kept = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=by_alias)
    assert "one" in kept["PipelineDefinition"]
    listed = sagemaker.list_pipeline_executions(PipelineName="pipe", PipelineVersionAlias="live")
    assert len(listed["PipelineExecutionSummaries"]) == 2


def test_executions_are_listed_newest_first_in_pages(pipelines, sagemaker):
    pipelines.create(process("P"))
    arns = [pipelines.start(PipelineExecutionDisplayName=f"run-{index}") for index in range(3)]

    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName="pipe", PaginationConfig={"PageSize": 2}
    )

    listed = [item for page in pages for item in page["PipelineExecutionSummaries"]]
    assert [item["PipelineExecutionArn"] for item in listed] == arns[::-1]
    assert [item["PipelineExecutionDisplayName"] for item in listed] == ["run-2", "run-1", "run-0"]


def test_steps_are_listed_newest_first_in_pages(pipelines, sagemaker):
    arn = pipelines.run(process("A"), process("B", DependsOn=["A"]), process("C", DependsOn=["B"], DisplayName="last"))

    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=arn, PaginationConfig={"PageSize": 1}
    )

    listed = [step for page in pages for step in page["PipelineExecutionSteps"]]
    assert [step["StepName"] for step in listed] == ["C", "B", "A"]
    assert listed[0]["StepDisplayName"] == "last"
    assert all(step["AttemptCount"] == 1 and step["EndTime"] >= step["StartTime"] for step in listed)
    assert list(pipelines.steps(arn)) == ["A", "B", "C"]


def test_an_execution_that_does_not_exist_is_not_found(pipelines, sagemaker):
    arn = pipelines.create(process("P")) + "/execution/abcdefabcdef"

    for operation in ("describe_pipeline_execution", "list_pipeline_execution_steps", "stop_pipeline_execution"):
        with refused("ResourceNotFound", "does not exist"):
            getattr(sagemaker, operation)(PipelineExecutionArn=arn)


def test_names_and_parallelism_of_a_running_execution_can_change(local_sagemaker, pipelines, sagemaker):
    slow = local_sagemaker.rule(kind="Processing", duration=60)
    pipelines.create(process("A"), process("B"), process("C"))
    arn = pipelines.start(ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    pipelines.until_step(arn, "A")
    assert list(pipelines.steps(arn)) == ["A"]

    sagemaker.update_pipeline_execution(
        PipelineExecutionArn=arn,
        PipelineExecutionDisplayName="renamed",
        PipelineExecutionDescription="why",
        ParallelismConfiguration={"MaxParallelExecutionSteps": 2},
    )

    until(lambda: len(pipelines.steps(arn)) == 2)
    assert slow.taken == 2
    found = pipelines.describe(arn)
    assert (found["PipelineExecutionDisplayName"], found["PipelineExecutionDescription"]) == ("renamed", "why")


@pytest.mark.parametrize(
    ("pipeline", "start", "default", "most"),
    [(None, None, None, 4), (2, None, None, 2), (2, 3, None, 3), (None, None, 1, 1)],
)
def test_as_many_steps_run_at_once_as_are_allowed(
    local_sagemaker, pipelines, choose, *, pipeline, start, default, most
):
    choose(default_parallelism=default)
    local_sagemaker.rule(kind="Processing", duration=60)

    def parallelism(number):
        return {"ParallelismConfiguration": {"MaxParallelExecutionSteps": number}} if number else {}

    pipelines.create(*(process(f"P{index}") for index in range(4)), request=parallelism(pipeline))
    arn = pipelines.start(**parallelism(start))

    until(lambda: len(pipelines.steps(arn)) == most)
    assert set(pipelines.states(arn).values()) <= {"Starting", "Executing"}


@pytest.mark.parametrize(("takes", "listed"), [(False, {"P", "Check"}), (True, {"P"})])
def test_conditions_may_wait_for_a_slot(local_sagemaker, pipelines, choose, takes, listed):
    choose(instant_steps_take_slots=takes)
    local_sagemaker.rule(kind="Processing", duration=60)
    pipelines.create(process("P"), condition("Check", compare(1, 1)))
    arn = pipelines.start(ParallelismConfiguration={"MaxParallelExecutionSteps": 1})

    until(lambda: set(pipelines.steps(arn)), lambda found: found == listed)


def test_no_more_executions_than_the_quota_run_at_once(local_sagemaker, pipelines, choose):
    choose(concurrent_executions=1)
    local_sagemaker.rule(kind="Processing", duration=60)
    pipelines.create(process("P"))
    pipelines.start()

    with refused("ResourceLimitExceeded", "account-level service limit"):
        pipelines.start()


def test_a_failed_step_fails_the_execution_and_what_depends_on_it_never_starts(local_sagemaker, pipelines):
    local_sagemaker.rule(name="-Bad-", outcome="Failed", reason="AlgorithmError: no data")
    arn = pipelines.run(
        train("Bad"), process("After", DependsOn=["Bad"]), process("Beside"), process("B2", DependsOn=["Beside"])
    )

    found = pipelines.describe(arn)
    assert (found["PipelineExecutionStatus"], found["FailureReason"]) == (
        "Failed",
        "Step failure: One or multiple steps failed.",
    )
    assert pipelines.states(arn) == {"Bad": "Failed", "Beside": "Succeeded", "B2": "Succeeded"}
    assert pipelines.steps(arn)["Bad"]["FailureReason"] == "AlgorithmError: no data"


def test_steps_may_stop_to_start_after_a_failure(local_sagemaker, pipelines, choose):
    choose(new_steps_after_failure=False)
    local_sagemaker.rule(name="-Bad-", outcome="Failed", duration=0)
    local_sagemaker.rule(name="-Beside-", duration=0.5)
    handler = process("Handler", DependsOn=after(Bad="Failed"))
    arn = pipelines.run(
        train("Bad"),
        process("Beside"),
        process("Later", DependsOn=["Beside"]),
        handler,
        process("H2", DependsOn=["Handler"]),
    )

    assert pipelines.states(arn) == {"Bad": "Failed", "Beside": "Succeeded", "Handler": "Succeeded", "H2": "Succeeded"}


def test_handlers_of_failures_run_and_the_execution_completes_with_failures(local_sagemaker, pipelines):
    local_sagemaker.rule(name="-Bad-", outcome="Failed", duration=0)
    arn = pipelines.run(
        train("Bad"),
        process("OnFailure", DependsOn=after(Bad="Failed")),
        process("Always", DependsOn=after(Bad="Any")),
        process("OnStop", DependsOn=after(Bad="Stopped")),
        process("OnSuccess", DependsOn=["Bad"]),
    )

    assert pipelines.states(arn) == {"Bad": "Failed", "OnFailure": "Succeeded", "Always": "Succeeded"}
    assert pipelines.status(arn) == "CompletedWithFailures"


@pytest.mark.parametrize(("fails", "status"), [(True, "Failed"), (False, "CompletedWithFailures")])
def test_an_unhandled_failure_beside_a_handled_one(local_sagemaker, pipelines, choose, fails, status):
    choose(unhandled_failure_fails=fails)
    local_sagemaker.rule(name="-Bad", outcome="Failed", duration=0)
    arn = pipelines.run(train("Bad1"), process("Handler", DependsOn=after(Bad1="Failed")), train("Bad2"))

    assert pipelines.status(arn) == status


@pytest.mark.parametrize(("takes", "listed"), [(False, {"Check"}), (True, {"Check", "Always"})])
def test_what_any_makes_of_a_step_that_never_starts(pipelines, choose, takes, listed):
    choose(any_takes_skipped=takes)
    arn = pipelines.run(
        condition("Check", compare(1, 2), yes=[process("Yes")]), process("Always", DependsOn=after(Yes="Any"))
    )

    assert set(pipelines.steps(arn)) == listed
    assert pipelines.status(arn) == "Succeeded"


def test_steps_of_the_branch_not_taken_and_what_depends_on_them_are_not_listed(pipelines):
    yes = [process("Yes"), process("Yes2", DependsOn=["Yes"])]
    arn = pipelines.run(
        process("First"),
        condition("Check", compare(get("Parameters.N"), 1), yes=yes, no=[process("No")], DependsOn=["First"]),
        process("After", DependsOn=["Yes2"]),
        Parameters=[parameter("N", "Integer", DefaultValue=2)],
    )

    steps = pipelines.steps(arn)
    assert list(steps) == ["First", "Check", "No"]
    assert steps["Check"]["Metadata"] == {"Condition": {"Outcome": "False"}}
    assert pipelines.status(arn) == "Succeeded"
    assert set(pipelines.steps(pipelines.ended(pipelines.start(parameters={"N": "1"})))) == {
        "First",
        "Check",
        "Yes",
        "Yes2",
        "After",
    }


@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        (compare(2, 1, "GreaterThan"), "True"),
        (compare(1, 1, "GreaterThan"), "False"),
        (compare(1, 1.0, "GreaterThanOrEqualTo"), "True"),
        (compare(1, 2, "LessThan"), "True"),
        (compare(2, 1, "LessThanOrEqualTo"), "False"),
        (compare("a", "b", "NotEquals"), "True"),
        (compare("1", "3", "GreaterThan"), "False"),
        (compare(get("Execution.PipelineName"), join("pi", "pe")), "True"),
        ({"Type": "In", "QueryValue": "a", "Values": ["a", "b"]}, "True"),
        ({"Type": "NotIn", "Value": "a", "In": ["a", "b"]}, "False"),
        ({"Type": "Not", "Condition": compare(1, 1)}, "False"),
        ({"Type": "Or", "Conditions": [compare(1, 2), compare(1, 1)]}, "True"),
    ],
)
def test_conditions_are_evaluated(pipelines, test, outcome):
    arn = pipelines.run(condition("Check", test))

    assert pipelines.steps(arn)["Check"]["Metadata"]["Condition"]["Outcome"] == outcome


def test_values_of_different_types_fail_a_condition(pipelines):
    arn = pipelines.run(condition("Check", compare("1", 1)))

    step = pipelines.steps(arn)["Check"]
    assert step["StepStatus"] == "Failed"
    assert "cannot compare '1' (string) with 1 (number)" in step["FailureReason"]


def test_a_fail_step_ends_with_its_message_when_all_else_has(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Processing", duration=0.4)
    message = join("the limit is", get("Parameters.N"), on=" ")
    arn = pipelines.run(fail("No", message), process("P"), Parameters=[parameter("N", "Float", DefaultValue=0.5)])

    step = pipelines.steps(arn)["No"]
    assert (step["FailureReason"], step["Metadata"]) == (
        "the limit is 0.5",
        {"Fail": {"ErrorMessage": "the limit is 0.5"}},
    )
    assert pipelines.states(arn) == {"No": "Failed", "P": "Succeeded"}
    assert pipelines.status(arn) == "Failed"


def test_a_value_out_of_a_jobs_file_decides_a_condition(local_sagemaker, pipelines, s3):
    report = {"metrics": {"mse": {"value": 4.0}}}
    local_sagemaker.rule(kind="Processing", outputs={"evaluation": {"report.json": report}})
    file = {"PropertyFileName": "Report", "OutputName": "evaluation", "FilePath": "report.json"}
    value = {"Std:JsonGet": {"PropertyFile": get("Steps.Evaluate.PropertyFiles.Report"), "Path": "metrics.mse.value"}}
    arn = pipelines.run(
        process("Evaluate", PropertyFiles=[file]),
        condition("Check", compare(value, 6.0, "LessThan")),
        condition("CheckFile", compare({"Std:JsonGet": {**value["Std:JsonGet"], "Path": "nothing"}}, 1)),
    )

    steps = pipelines.steps(arn)
    assert steps["Check"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert steps["CheckFile"]["StepStatus"] == "Failed"
    assert "there is no 'nothing'" in steps["CheckFile"]["FailureReason"]


def test_a_member_that_a_job_does_not_have_fails_the_step_that_refers_to_it(pipelines):
    wrong = {"OutputDataConfig": {"S3OutputPath": get("Steps.Train.Nothing")}}
    arn = pipelines.run(train("Train"), train("Next", arguments=wrong))

    assert pipelines.states(arn) == {"Train": "Succeeded", "Next": "Failed"}
    assert "there is no 'Nothing'" in pipelines.steps(arn)["Next"]["FailureReason"]


def test_jobs_take_part_in_the_pipelines_experiment(pipelines, sagemaker):
    experiment = {
        "ExperimentName": get("Execution.PipelineName"),
        "TrialName": join("trial-", get("Execution.PipelineExecutionId")),
    }
    arn = pipelines.run(train("Train"), PipelineExperimentConfig=experiment)

    trial = f"trial-{arn.rpartition('/')[2]}"
    name = pipelines.steps(arn)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    found = sagemaker.describe_training_job(TrainingJobName=name)["ExperimentConfig"]
    assert found == {"ExperimentName": "pipe", "TrialName": trial}
    assert pipelines.describe(arn)["PipelineExperimentConfig"] == found
    assert sagemaker.describe_trial(TrialName=trial)["ExperimentName"] == "pipe"
    assert pipelines.status(pipelines.ended(pipelines.start())) == "Succeeded"
