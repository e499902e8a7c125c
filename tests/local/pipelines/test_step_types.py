"""What each type of step makes, shows and leaves."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from endpoint_support import tuning_request
from pipeline_support import (
    BUCKET,
    ROLE,
    after,
    compare,
    condition,
    fail,
    get,
    parameter,
    process,
    train,
    until,
)

ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012"
IMAGE = {"Image": "image:1", "ModelDataUrl": "s3://b/m.tar.gz"}
PACKAGE = {
    "Containers": [{"Image": "image:1", "ModelDataUrl": "s3://b/m.tar.gz"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


def step(name, kind, arguments=None, **more):
    return {"Name": name, "Type": kind, "Arguments": arguments or {}, **more}


def only(metadata):
    ((member, value),) = metadata.items()
    return member, value


def job(pipelines, arn, name="Step"):
    return only(pipelines.steps(arn)[name]["Metadata"])[1]["Arn"].rpartition("/")[2]


def test_a_tuning_step_offers_its_best_jobs_first(pipelines, sagemaker):
    request = tuning_request()
    del request["HyperParameterTuningJobName"], request["TrainingJobDefinition"]["RoleArn"]
    top = compare(
        get("Steps.Step.TrainingJobSummaries[0].TrainingJobName"), get("Steps.Step.BestTrainingJob.TrainingJobName")
    )
    arn = pipelines.run(step("Step", "Tuning", request), condition("Check", top))

    name = job(pipelines, arn)
    found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert len(name) <= 32
    assert found["TrainingJobDefinition"]["RoleArn"] == ROLE
    assert only(pipelines.steps(arn)["Step"]["Metadata"])[0] == "TuningJob"
    assert pipelines.steps(arn)["Check"]["Metadata"]["Condition"]["Outcome"] == "True"


def test_an_automl_step_says_where_its_reports_are(pipelines):
    source = {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/t"}},
        "TargetAttributeName": "y",
    }
    arguments = {"InputDataConfig": [source], "OutputDataConfig": {"S3OutputPath": "s3://b/am"}}
    path = get("Steps.Step.BestCandidateProperties.ModelInsightsJsonReportPath")
    arn = pipelines.run(step("Step", "AutoML", arguments), fail("Path", path))

    assert pipelines.steps(arn)["Step"]["Metadata"]["AutoMLJob"]["Arn"].startswith(f"{ACCOUNT}:automl-job/")
    assert pipelines.steps(arn)["Path"]["FailureReason"].endswith("/statistics.json")


def test_a_transform_step_uses_a_model_of_the_pipeline(pipelines, sagemaker):
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}}
    arguments = {
        "ModelName": get("Steps.Model.ModelName"),
        "TransformInput": source,
        "TransformOutput": {"S3OutputPath": "s3://b/out"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    }
    arn = pipelines.run(step("Model", "Model", {"PrimaryContainer": IMAGE}), step("Step", "Transform", arguments))

    found = sagemaker.describe_transform_job(TransformJobName=job(pipelines, arn))
    assert found["ModelName"].lower() == job(pipelines, arn, "Model")
    assert sagemaker.describe_model(ModelName=found["ModelName"])["ExecutionRoleArn"] == ROLE


@pytest.mark.parametrize("made", [True, False])
def test_registering_a_model_may_make_its_group(pipelines, sagemaker, choose, made):
    choose(create_model_package_group=made)
    arguments = {"ModelPackageGroupName": "group", "InferenceSpecification": PACKAGE}
    arn = pipelines.run(step("Step", "RegisterModel", arguments))

    if not made:
        assert "does not exist" in pipelines.steps(arn)["Step"]["FailureReason"]
        return
    package = pipelines.steps(arn)["Step"]["Metadata"]["RegisterModel"]["Arn"]
    assert package == f"{ACCOUNT}:model-package/group/1"
    found = sagemaker.describe_model_package(ModelPackageName=package)
    assert found["MetadataProperties"]["GeneratedBy"] == arn
    assert pipelines.status(pipelines.ended(pipelines.start())) == "Succeeded"


def test_a_package_without_a_group_has_a_name_of_its_own(pipelines):
    arguments = {"ModelPackageName": "mine", "InferenceSpecification": PACKAGE}
    arn = pipelines.run(step("Step", "RegisterModel", arguments))

    assert job(pipelines, arn).startswith(f"mine-{arn.rpartition('/')[2]}-")


def deployment(version="1"):
    variant = {
        "VariantName": "All",
        "ModelName": get("Steps.Model.ModelName"),
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    return [
        step("Model", "Model", {"PrimaryContainer": {**IMAGE, "Environment": {"V": version}}}),
        step("Config", "EndpointConfig", {"ProductionVariants": [variant]}),
        step(
            "Step", "Endpoint", {"EndpointName": "live", "EndpointConfigName": get("Steps.Config.EndpointConfigName")}
        ),
    ]


def test_an_endpoint_is_created_then_updated(pipelines, sagemaker):
    pipelines.create(*deployment())
    configs = []
    for _ in range(2):
        arn = pipelines.ended(pipelines.start())
        assert pipelines.status(arn) == "Succeeded"
        configs.append(sagemaker.describe_endpoint(EndpointName="live")["EndpointConfigName"])

    assert len(set(configs)) == 2
    assert pipelines.steps(arn)["Step"]["Metadata"] == {"Endpoint": {"Arn": f"{ACCOUNT}:endpoint/live"}}
    assert "EndpointConfig" in pipelines.steps(arn)["Config"]["Metadata"]


def test_an_update_that_is_rolled_back_fails_the_step(local_sagemaker, pipelines):
    local_sagemaker.rule(operation="UpdateEndpoint", outcome="Failed", reason="it did not start")
    pipelines.create(*deployment())
    pipelines.ended(pipelines.start())

    arn = pipelines.ended(pipelines.start())

    found = pipelines.steps(arn)["Step"]
    assert (found["StepStatus"], found["FailureReason"]) == ("Failed", "it did not start")


def test_an_inference_component_is_created_then_updated(pipelines, sagemaker):
    specification = {
        "ModelName": get("Steps.Model.ModelName"),
        "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024},
    }
    component = {
        "InferenceComponentName": "part",
        "EndpointName": get("Steps.Step.EndpointName"),
        "VariantName": "All",
        "Specification": specification,
        "RuntimeConfig": {"CopyCount": 1},
    }
    pipelines.create(*deployment(), step("Part", "InferenceComponent", component))
    for _ in range(2):
        arn = pipelines.ended(pipelines.start())
        assert pipelines.status(arn) == "Succeeded"

    assert pipelines.steps(arn)["Part"]["Metadata"] == {
        "InferenceComponent": {"Arn": f"{ACCOUNT}:inference-component/part"}
    }


def test_a_stop_does_not_wait_for_an_endpoint(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="Endpoint", duration=60)
    pipelines.create(*deployment())
    arn = pipelines.start()
    pipelines.until_step(arn, "Step", "Executing")

    pipelines.stop(arn)
    pipelines.ended(arn)

    assert pipelines.states(arn)["Step"] == "Stopped"


def test_a_job_step_makes_a_job_of_its_category(pipelines, sagemaker):
    arguments = {
        "JobCategory": "AgentRFTEvaluation",
        "JobConfigSchemaVersion": "1.0.0",
        "JobConfigDocument": '{"a": {"b": "deep"}}',
        "VpcConfig": {"SecurityGroupIds": ["sg"], "Subnets": ["s"]},
    }
    arn = pipelines.run(step("Step", "Job", arguments), fail("Deep", get("Steps.Step.JobConfigDocument.a.b")))

    name = job(pipelines, arn)
    assert sagemaker.describe_job(JobCategory="AgentRFTEvaluation", JobName=name)["JobStatus"] == "Completed"
    assert pipelines.steps(arn)["Deep"]["FailureReason"] == "deep"


# --- Lambda


def function(endpoint, code, name="f", timeout=30):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("code.py", code)
    answer = endpoint.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=ROLE,
        Handler="code.handler",
        Timeout=timeout,
        Code={"ZipFile": archive.getvalue()},
    )
    return answer["FunctionArn"]


def lambda_step(arn, arguments=None, **outputs):
    declared = [{"OutputName": name, "OutputType": kind} for name, kind in outputs.items()]
    return step("Step", "Lambda", arguments, FunctionArn=arn, OutputParameters=declared)


def test_a_lambda_step_returns_typed_outputs(local_sagemaker, pipelines):
    code = "def handler(event, context):\n    return {'n': event['n'] + 1, 'text': {'a': 1}, 'other': 0}\n"
    arn = function(local_sagemaker, code)
    check = condition(
        "Check",
        compare(get("Steps.Step.OutputParameters['n']"), 3),
        compare(get("Steps.Step.OutputParameters['text']"), '{"a": 1}'),
    )
    execution = pipelines.run(
        lambda_step(arn, {"n": get("Parameters.N")}, n="Integer", text="String"),
        check,
        Parameters=[parameter("N", "Integer", DefaultValue=2)],
    )

    found = pipelines.steps(execution)
    assert found["Check"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert found["Step"]["Metadata"]["Lambda"] == {
        "Arn": arn,
        "OutputParameters": [{"Name": "n", "Value": "3"}, {"Name": "text", "Value": '{"a": 1}'}],
    }


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("def handler(event, context):\n    raise ValueError('no luck')\n", "no luck"),
        ("def handler(event, context):\n    return 'text'\n", "did not return a JSON object"),
        ("def handler(event, context):\n    return {'n': 'x'}\n", "declared as Integer"),
    ],
)
def test_functions_that_fail_their_step(local_sagemaker, pipelines, code, text):
    arn = function(local_sagemaker, code)
    execution = pipelines.run(lambda_step(arn, n="Integer"))

    assert text in pipelines.steps(execution)["Step"]["FailureReason"]


@pytest.mark.parametrize("fails", [True, False])
def test_an_output_that_a_function_does_not_return(local_sagemaker, pipelines, choose, fails):
    choose(missing_output_fails=fails)
    arn = function(local_sagemaker, "def handler(event, context):\n    return {}\n")
    execution = pipelines.run(lambda_step(arn, n="Integer"))

    assert pipelines.states(execution) == {"Step": "Failed" if fails else "Succeeded"}


def test_a_function_that_is_not_there_fails_the_step(pipelines):
    arn = pipelines.run(lambda_step("arn:aws:lambda:us-east-1:123456789012:function:none"))

    assert "Failed to invoke lambda:Invoke" in pipelines.steps(arn)["Step"]["FailureReason"]


def test_a_stop_waits_for_the_function(local_sagemaker, pipelines, s3):
    code = (
        "import boto3, time\n"
        "def handler(event, context):\n"
        "    s3 = boto3.client('s3')\n"
        f"    while 'Contents' not in s3.list_objects_v2(Bucket='{BUCKET}'):\n"
        "        time.sleep(0.05)\n"
        "    return {}\n"
    )
    pipelines.create(lambda_step(function(local_sagemaker, code)))
    arn = pipelines.start()
    pipelines.until_step(arn, "Step", "Executing")

    pipelines.stop(arn)
    assert pipelines.status(arn) == "Stopping"
    s3.put_object(Bucket=BUCKET, Key="go")
    pipelines.ended(arn)

    assert pipelines.status(arn) == "Stopped"


def test_the_steps_own_limit_fails_it_and_a_stop_that_waits_for_it(local_sagemaker, pipelines, choose):
    choose(time_scale=0.002)
    code = "import time\ndef handler(event, context):\n    time.sleep(8)\n    return {}\n"
    pipelines.create(lambda_step(function(local_sagemaker, code)))
    arn = pipelines.start()
    pipelines.until_step(arn, "Step", "Executing")

    pipelines.stop(arn)
    pipelines.ended(arn)

    assert "limit of 10 minutes" in pipelines.steps(arn)["Step"]["FailureReason"]
    assert pipelines.status(arn) == "Failed"


# --- checks


def check(kind="QualityCheck", output="quality_check_output", **more):
    arguments = process("x")["Arguments"]
    arguments["ProcessingOutputConfig"]["Outputs"][0] |= {"OutputName": output}
    if kind == "QualityCheck":
        more.setdefault("CheckType", "DATA_QUALITY")
    return step("Step", kind, arguments, **more)


BASELINE = {"SuppliedBaselineConstraints": "s3://b/c.json", "SuppliedBaselineStatistics": "s3://b/s.json"}
OUT = f"s3://{BUCKET}/evaluation"


@pytest.mark.parametrize(
    ("skip", "register", "used"),
    [
        (False, False, "s3://b/c.json"),
        (False, True, f"{OUT}/constraints.json"),
        (True, False, "s3://b/c.json"),
        (True, True, f"{OUT}/constraints.json"),
    ],
)
def test_a_check_says_which_baseline_it_used(pipelines, skip, register, used):
    arn = pipelines.run(check(SkipCheck=skip, RegisterNewBaseline=register, **BASELINE))

    found = pipelines.steps(arn)["Step"]["Metadata"]["QualityCheck"]
    assert found["BaselineUsedForDriftCheckConstraints"] == used
    assert found["CalculatedBaselineConstraints"] == f"{OUT}/constraints.json"
    assert (found["SkipCheck"], found["RegisterNewBaseline"], found["CheckType"]) == (skip, register, "DATA_QUALITY")
    assert found["CheckJobArn"].startswith(f"{ACCOUNT}:processing-job/pipelines-")


def test_a_check_without_a_baseline_fails(pipelines):
    arn = pipelines.run(check(SkipCheck=False, RegisterNewBaseline=True))

    assert "needs a previous baseline" in pipelines.steps(arn)["Step"]["FailureReason"]


@pytest.mark.parametrize(("fails", "status"), [(None, "Failed"), (True, "Failed"), (False, "Succeeded")])
def test_violations_are_reported(local_sagemaker, pipelines, s3, fails, status):
    report = {"violations": [{"feature_name": "x"}]}
    local_sagemaker.rule(kind="Processing", outputs={"quality_check_output": {"constraint_violations.json": report}})
    arn = pipelines.run(check(FailOnViolation=fails, **BASELINE))

    found = pipelines.steps(arn)["Step"]
    assert found["StepStatus"] == status
    assert found["Metadata"]["QualityCheck"]["ViolationReport"] == f"{OUT}/constraint_violations.json"
    if status == "Failed":
        assert found["FailureReason"].startswith("ClientError: Quality check failed. See violation report s3://")


def test_the_baseline_of_the_latest_approved_package_counts(pipelines, sagemaker):
    sagemaker.create_model_package_group(ModelPackageGroupName="group")
    for name in ("old", "new"):
        at = {"ContentType": "application/json", "S3Uri": f"s3://b/{name}.json"}
        sagemaker.create_model_package(
            ModelPackageGroupName="group",
            ModelApprovalStatus="Approved",
            DriftCheckBaselines={"Bias": {"PreTrainingConstraints": at}},
        )
    arn = pipelines.run(check("ClarifyCheck", "analysis_result", CheckType="DATA_BIAS", ModelPackageGroupName="group"))

    found = pipelines.steps(arn)["Step"]["Metadata"]["ClarifyCheck"]
    assert found["BaselineUsedForDriftCheckConstraints"] == "s3://b/new.json"
    assert found["CalculatedBaselineConstraints"] == f"{OUT}/analysis.json"


@pytest.mark.parametrize("given", [True, False])
def test_the_job_may_get_the_baseline_as_an_input(pipelines, sagemaker, choose, given):
    choose(baselines_as_inputs=given)
    arn = pipelines.run(check(**BASELINE))

    name = pipelines.steps(arn)["Step"]["Metadata"]["QualityCheck"]["CheckJobArn"].rpartition("/")[2]
    inputs = sagemaker.describe_processing_job(ProcessingJobName=name).get("ProcessingInputs", [])
    assert {item["S3Input"]["S3Uri"] for item in inputs} == (set(BASELINE.values()) if given else set())


def test_a_clarify_check_of_a_model_finds_its_name_in_the_configuration(pipelines, sagemaker, s3):
    s3.put_object(Bucket=BUCKET, Key="config/analysis_config.json", Body=b'{"predictor": {"x": 1}}')
    clarify = check(
        "ClarifyCheck",
        "analysis_result",
        CheckType="MODEL_EXPLAINABILITY",
        ModelName="mm",
        SkipCheck=True,
        RegisterNewBaseline=True,
    )
    place = {"S3Uri": f"s3://{BUCKET}/config/analysis_config.json", "LocalPath": "/c", "S3DataType": "S3Prefix"}
    clarify["Arguments"]["ProcessingInputs"] = [{"InputName": "analysis_config", "S3Input": place}]
    arn = pipelines.run(clarify)

    name = pipelines.steps(arn)["Step"]["Metadata"]["ClarifyCheck"]["CheckJobArn"].rpartition("/")[2]
    uri = sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingInputs"][0]["S3Input"]["S3Uri"]
    body = s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    assert json.loads(body) == {"predictor": {"x": 1, "model_name": "mm"}}


# --- EMR


INSTANCES = {"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}]}
CLUSTER = {"ReleaseLabel": "emr-7.5.0", "Instances": INSTANCES, "ServiceRole": "S", "JobFlowRole": "J"}
JAR = {"HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", "s3://b/a.py"]}}


def cluster(endpoint):
    instances = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    answer = endpoint.client("emr").run_job_flow(
        Name="shared", ReleaseLabel="emr-7.5.0", Instances=instances, JobFlowRole="J", ServiceRole="S"
    )
    return answer["JobFlowId"]


@pytest.mark.parametrize("action", ["CONTINUE", "CANCEL_AND_WAIT"])
def test_an_emr_step_runs_on_a_cluster_that_is_there(local_sagemaker, pipelines, choose, action):
    choose(emr_action_on_failure=action)
    place = cluster(local_sagemaker)
    arn = pipelines.run(
        step("Step", "EMR", {"ClusterId": place, "StepConfig": JAR}), fail("Arg", get("Steps.Step.Config.Args[1]"))
    )

    found = pipelines.steps(arn)["Step"]["Metadata"]["EMR"]
    assert found["ClusterId"] == place
    assert pipelines.steps(arn)["Arg"]["FailureReason"] == "s3://b/a.py"
    made = local_sagemaker.client("emr").describe_step(ClusterId=place, StepId=found["StepId"])["Step"]
    assert (made["Name"], made["ActionOnFailure"]) == (found["StepName"], action)


@pytest.mark.parametrize("outcome", ["Completed", "Failed"])
def test_an_emr_step_with_a_cluster_of_its_own(local_sagemaker, pipelines, outcome):
    local_sagemaker.rule(kind="EMR", outcome=outcome, reason="it broke")
    arn = pipelines.run(step("Step", "EMR", {"ClusterConfig": CLUSTER, "StepConfig": JAR}))

    found = pipelines.steps(arn)["Step"]
    assert found["StepStatus"] == {"Completed": "Succeeded", "Failed": "Failed"}[outcome]
    assert found.get("FailureReason") == (None if outcome == "Completed" else "it broke")


@pytest.mark.parametrize("own", [True, False])
def test_a_stop_cancels_an_emr_step(local_sagemaker, pipelines, own):
    local_sagemaker.rule(kind="EMR", duration=60)
    place = {"ClusterConfig": CLUSTER} if own else {"ClusterId": cluster(local_sagemaker)}
    pipelines.create(step("Step", "EMR", {**place, "StepConfig": JAR}))
    arn = pipelines.start()
    pipelines.until_step(arn, "Step", "Executing")

    pipelines.stop(arn)
    pipelines.ended(arn)

    assert pipelines.states(arn) == {"Step": "Stopped"}


@pytest.mark.parametrize("stopped", [True, False])
def test_an_emr_serverless_step_may_stop_the_application_that_it_made(local_sagemaker, pipelines, choose, stopped):
    choose(stop_created_application=stopped)
    work = {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}, "executionRoleArn": ROLE}
    arguments = {"JobConfig": work, "ApplicationConfig": {"name": "app", "releaseLabel": "emr-7.5.0", "type": "SPARK"}}
    arn = pipelines.run(step("Step", "EMRServerless", arguments), fail("State", get("Steps.Step.jobRun.state")))

    found = pipelines.steps(arn)["Step"]["Metadata"]["EMRServerless"]
    assert found["JobRunName"].startswith("pipelines-")
    assert pipelines.steps(arn)["State"]["FailureReason"] == "SUCCESS"
    client = local_sagemaker.client("emr-serverless")
    state = client.get_application(applicationId=found["ApplicationId"])["application"]["state"]
    assert (state in ("STOPPING", "STOPPED")) is stopped


def test_a_stop_cancels_a_job_run(local_sagemaker, pipelines):
    local_sagemaker.rule(kind="EMRServerless", duration=60)
    client = local_sagemaker.client("emr-serverless")
    application = client.create_application(releaseLabel="emr-7.5.0", type="SPARK", clientToken="t")["applicationId"]
    until(lambda: client.get_application(applicationId=application)["application"]["state"] == "CREATED")
    work = {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}}
    pipelines.create(step("Step", "EMRServerless", {"JobConfig": work, "ApplicationId": application}))
    arn = pipelines.start()
    place = pipelines.until_step(arn, "Step", "Executing")["Metadata"]["EMRServerless"]

    pipelines.stop(arn)
    pipelines.ended(arn)

    assert pipelines.states(arn) == {"Step": "Stopped"}
    run = client.get_job_run(applicationId=application, jobRunId=place["JobRunId"])["jobRun"]
    assert run["state"] == "CANCELLED"


# --- lineage, cleanup


def test_a_lineage_step_makes_entities_and_associations(pipelines, sagemaker):
    source = {"SourceUri": "s3://b/run"}
    arguments = {
        "Actions": [{"ActionName": get("Execution.PipelineExecutionId"), "ActionType": "E", "Source": source}],
        "Artifacts": [{"ArtifactName": "art", "ArtifactType": "Model", "Source": source}],
        "Associations": [
            {
                "Source": {"Name": get("Execution.PipelineExecutionId"), "Type": "Action"},
                "Destination": {"Name": "art", "Type": "Artifact"},
                "AssociationType": "Produced",
            }
        ],
    }
    arn = pipelines.run(step("Step", "Lineage", arguments))

    found = pipelines.steps(arn)["Step"]["Metadata"]["Lineage"]
    execution = arn.rpartition("/")[2]
    assert found["ActionArns"] == {execution: f"{ACCOUNT}:action/{execution}"}
    (association,) = found["Associations"]
    assert association == {"SourceArn": found["ActionArns"][execution], "DestinationArn": found["ArtifactArns"]["art"]}
    listed = sagemaker.list_associations(SourceArn=association["SourceArn"])["AssociationSummaries"]
    assert listed[0]["AssociationType"] == "Produced"


def keys(s3):
    return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_a_cleanup_step_deletes_what_steps_wrote(pipelines, s3, local_sagemaker):
    local_sagemaker.rule(kind="Processing", outputs={"evaluation": {"a.json": {}, "b.json": {}}})
    resources = [{"StepName": "Train"}, {"StepName": "P", "S3Uris": [f"{OUT}/a.json"]}]
    arn = pipelines.run(train("Train"), process("P"), step("Step", "Cleanup", {"Resources": {"S3": resources}}))

    assert pipelines.steps(arn)["Step"]["Metadata"]["Cleanup"] == {
        "CleanedSteps": ["Train", "P"],
        "FailedSteps": [],
        "SkippedSteps": [],
    }
    assert keys(s3) == ["evaluation/b.json"]


@pytest.mark.parametrize(("fails", "status"), [(True, "Failed"), (False, "Succeeded")])
def test_sources_that_cannot_be_cleaned(pipelines, s3, choose, fails, status):
    choose(failed_cleanup_fails=fails)
    resources = [{"StepName": "P", "S3Uris": ["s3://elsewhere/a.json"]}]
    arn = pipelines.run(process("P"), step("Step", "Cleanup", {"Resources": {"S3": resources}}))

    found = pipelines.steps(arn)["Step"]
    assert found["StepStatus"] == status
    (failed,) = found["Metadata"]["Cleanup"]["FailedSteps"]
    assert (failed["StepName"], failed["ErrorCode"]) == ("P", "ClientError")


def test_what_a_failed_job_left_is_cleaned_too(local_sagemaker, pipelines, s3):
    local_sagemaker.rule(kind="Training", outcome="Failed")
    pipelines.create(
        train("Train"),
        step("Step", "Cleanup", {"Resources": {"S3": [{"StepName": "Train"}]}}, DependsOn=after(Train="Any")),
    )
    arn = pipelines.ended(pipelines.start())

    assert pipelines.steps(arn)["Step"]["Metadata"]["Cleanup"]["CleanedSteps"] == ["Train"]
    assert pipelines.status(arn) == "CompletedWithFailures"
