"""Which events wake which steps, and the queue that brings them."""

from __future__ import annotations

import functools
import json
import time

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.deployment import Deployment
from airflow_sagemaker_pipelines.steps.events import (
    EVENT_TYPES,
    QUEUE_ATTRIBUTES,
    cloudformation_template,
    create_event_queue,
    event_key,
    event_pattern,
    queue_policy,
    resource_to_look_at,
)
from airflow_sagemaker_pipelines.steps.job import SageMakerJob
from airflow_sagemaker_pipelines.steps.registry import runners
from airflow_sagemaker_pipelines.steps.status import VERDICTS, Verdict
from tests.steps.types.step_runs import ROLE, EndpointClients, start, step_run, wait

QUEUE_ARN, RULE_ARN = "arn:aws:sqs:us-east-1:123456789012:q", "arn:aws:events:us-east-1:123456789012:rule/r"
PACKAGE_ARN = "arn:aws:sagemaker:us-east-2:123456789012:model-package/versionedmp-p-idy6c3e1fiqj/2"
EXECUTION_ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/myPipeline-123/execution/p4jn9xou8a8s"

#: Excerpts of the events that AWS publishes as examples: detail-type → (source, members of the detail).
PUBLISHED = {
    "SageMaker Training Job State Change": (
        "aws.sagemaker",
        {"TrainingJobName": "89c96cc8", "TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"},
    ),
    "SageMaker Processing Job State Change": (
        "aws.sagemaker",
        {"ProcessingJobName": "integ-test", "ProcessingJobStatus": "Failed"},
    ),
    "SageMaker Transform Job State Change": (
        "aws.sagemaker",
        {"TransformJobName": "4b52bd8f", "TransformJobStatus": "Stopped"},
    ),
    "SageMaker HyperParameter Tuning Job State Change": (
        "aws.sagemaker",
        {"HyperParameterTuningJobName": "016bffd3", "HyperParameterTuningJobStatus": "Completed"},
    ),
    "SageMaker Endpoint State Change": (
        "aws.sagemaker",
        {"EndpointName": "MyEndpoint", "EndpointStatus": "IN_SERVICE"},
    ),
    "SageMaker Model Package State Change": (
        "aws.sagemaker",
        {"ModelPackageArn": PACKAGE_ARN, "ModelPackageStatus": "Completed", "ModelApprovalStatus": "Rejected"},
    ),
    "EMR Step Status Change": (
        "aws.emr",
        {"stepId": "s-ZYXWVUTSRQPON", "name": "CustomJAR", "clusterId": "j-123456789ABCD", "state": "FAILED"},
    ),
    "EMR Cluster State Change": (
        "aws.emr",
        {"name": "Development Cluster", "clusterId": "j-1YONHTCP3YZKC", "state": "TERMINATED"},
    ),
    "EMR Serverless Job Run State Change": (
        "aws.emr-serverless",
        {"jobRunId": "00f1cbn5g4bb0c01", "applicationId": "00f1982r1uukb925", "state": "SUCCESS"},
    ),
    "EMR Serverless Application State Change": (
        "aws.emr-serverless",
        {"applicationId": "00f1982r1uukb925", "state": "CREATED"},
    ),
    "SageMaker Model Building Pipeline Execution Status Change": (
        "aws.sagemaker",
        {
            "currentPipelineExecutionStatus": "Succeeded",
            "previousPipelineExecutionStatus": "Executing",
            "pipelineExecutionArn": EXECUTION_ARN,
        },
    ),
    "SageMaker Model Building Pipeline Execution Step Status Change": (
        "aws.sagemaker",
        {
            "stepName": "myprocessingstep1",
            "stepType": "Processing",
            "previousStepStatus": "Executing",
            "currentStepStatus": "Succeeded",
            "pipelineExecutionArn": EXECUTION_ARN,
        },
    ),
}
EXPECTED = {
    "SageMaker Training Job State Change": "89c96cc8",
    "SageMaker Processing Job State Change": "integ-test",
    "SageMaker Transform Job State Change": "4b52bd8f",
    "SageMaker HyperParameter Tuning Job State Change": "016bffd3",
    "SageMaker Endpoint State Change": "MyEndpoint",
    "SageMaker Model Package State Change": "versionedmp-p-idy6c3e1fiqj/2",
    "EMR Step Status Change": "CustomJAR",
    "EMR Cluster State Change": "Development Cluster",
    "EMR Serverless Job Run State Change": "00f1cbn5g4bb0c01",
    "EMR Serverless Application State Change": "00f1982r1uukb925",
    "SageMaker Model Building Pipeline Execution Status Change": EXECUTION_ARN,
    "SageMaker Model Building Pipeline Execution Step Status Change": EXECUTION_ARN,
}
#: The shape of each status, where it has another name than its member.
SHAPES = {
    "EMR Step Status Change": ("emr", "StepState"),
    "EMR Cluster State Change": ("emr", "ClusterState"),
    "EMR Serverless Job Run State Change": ("emr-serverless", "JobRunState"),
    "EMR Serverless Application State Change": ("emr-serverless", "ApplicationState"),
    "SageMaker Model Building Pipeline Execution Status Change": ("sagemaker", "PipelineExecutionStatus"),
    "SageMaker Model Building Pipeline Execution Step Status Change": ("sagemaker", "StepStatus"),
}
#: Steps that take time, and of which AWS sends no events.
SILENT = {StepType.AUTO_ML, StepType.INFERENCE_COMPONENT, StepType.JOB}


@functools.cache
def service_model(service):
    return boto3.client(service, region_name="us-east-1").meta.service_model


def event(detail_type, **changed):
    source, detail = PUBLISHED[detail_type]
    return {"version": "0", "detail-type": detail_type, "source": source, "detail": {**detail, **changed}}


# --- events


@pytest.mark.parametrize("detail_type", PUBLISHED)
def test_an_event_names_what_to_look_at(detail_type):
    assert resource_to_look_at(event(detail_type)) == EXPECTED[detail_type]
    assert resource_to_look_at(json.dumps(event(detail_type))) == EXPECTED[detail_type]


def test_every_kind_of_event_has_an_example():
    assert {row.detail_type for row in EVENT_TYPES} == set(PUBLISHED)


def known_statuses(row):
    service, shape = SHAPES.get(row.detail_type, ("sagemaker", row.status_member))
    return set(service_model(service).shape_for(shape).enum)


def news(row):
    """The statuses that somebody who waits wants to hear of."""
    if row.step_type is None:
        return known_statuses(row)
    _, shape = SHAPES.get(row.detail_type, (None, row.status_member))
    if shape == "ApplicationState":
        # Not the end of an application, but of the wait for it.
        return {"CREATED", "TERMINATED"}
    return {status for status in known_statuses(row) if VERDICTS[shape][status].is_final}


@pytest.mark.parametrize("row", EVENT_TYPES, ids=lambda row: row.detail_type)
def test_of_jobs_only_the_end_counts_of_executions_every_status(row):
    told = {
        status
        for status in known_statuses(row)
        if resource_to_look_at(event(row.detail_type, **{row.status_member: status}))
    }

    assert told == news(row)


@pytest.mark.parametrize(
    ("detail_type", "member"),
    [
        ("SageMaker Model Building Pipeline Execution Status Change", "currentPipelineExecutionStatus"),
        ("SageMaker Model Building Pipeline Execution Step Status Change", "currentStepStatus"),
    ],
)
def test_a_status_that_aws_has_added_is_a_reason_to_look_at_the_execution(detail_type, member):
    assert resource_to_look_at(event(detail_type, **{member: "Waiting"})) == EXECUTION_ARN


@pytest.mark.parametrize(
    ("status", "ends"),
    [("CREATING", False), ("ROLLING_BACK", False), ("OUT_OF_SERVICE", True), ("UPDATE_ROLLBACK_FAILED", True)],
)
def test_endpoints_have_their_statuses_in_events_in_another_spelling(status, ends):
    found = resource_to_look_at(event("SageMaker Endpoint State Change", EndpointStatus=status))

    assert (found is not None) is ends


@pytest.mark.parametrize(
    "other",
    [
        {**event("EMR Step Status Change"), "source": "aws.sagemaker"},
        {**event("EMR Step Status Change"), "detail-type": "EMR Configuration Error"},
        {**event("EMR Step Status Change"), "detail": None},
        event("EMR Step Status Change", name=""),
        event("EMR Step Status Change", name=7),
        event("EMR Step Status Change", state=["FAILED"]),
        event("SageMaker Model Building Pipeline Execution Status Change", currentPipelineExecutionStatus=None),
        event("SageMaker Model Building Pipeline Execution Step Status Change", currentStepStatus=["Failed"]),
        event("SageMaker Model Building Pipeline Execution Step Status Change", pipelineExecutionArn=None),
        {**event("EMR Step Status Change"), "detail-type": ["EMR Step Status Change"]},
        {},
        "",
        "not JSON",
        "[]",
        "null",
        "[" * 100_000,
    ],
)
def test_anything_else_is_nothing(other):
    assert resource_to_look_at(other) is None


@given(
    st.dictionaries(
        st.sampled_from(["source", "detail-type", "detail", "x"]),
        st.one_of(
            st.sampled_from([row.detail_type for row in EVENT_TYPES]),
            st.sampled_from([row.source for row in EVENT_TYPES]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(),
                lambda inner: (
                    st.lists(inner)
                    | st.dictionaries(
                        st.sampled_from(["state", "name", "TrainingJobStatus", "TrainingJobName"]) | st.text(), inner
                    )
                ),
                max_leaves=5,
            ),
        ),
    )
)
def test_no_document_is_an_error(document):
    for form in (document, json.dumps(document)):
        found = resource_to_look_at(form)
        assert found is None or (isinstance(found, str) and found)


# --- the table and the runners


def test_every_step_that_takes_time_has_events_unless_aws_sends_none():
    handle = {"name": "a", "application": "b", "run": "c"}
    takes_time = {kind for kind, runner in runners().items() if isinstance(runner, SageMakerJob | Deployment)}
    takes_time |= {StepType.EMR, StepType.EMR_SERVERLESS, StepType.REGISTER_MODEL}

    assert {kind for kind in StepType if event_key(kind, handle)} == takes_time - SILENT


@pytest.mark.parametrize(
    "row", [row for row in EVENT_TYPES if row.source == "aws.sagemaker" and row.step_type], ids=lambda r: r.step_type
)
def test_the_members_of_events_are_those_that_runners_ask_for(row):
    runner = runners()[row.step_type]
    if row.step_type is not StepType.REGISTER_MODEL:
        assert (row.name_member, row.status_member) == (runner.name_member, runner.status_member)
    operation = f"Describe{row.status_member.removesuffix('Status')}"
    answer = service_model("sagemaker").operation_model(operation).output_shape
    assert {row.name_member, row.status_member} <= set(answer.members)


def test_a_type_may_be_given_by_its_name():
    assert event_key("Training", {"name": "job"}) == "job"
    assert event_key("Lambda", {"name": "function"}) is None


def test_a_model_package_is_known_by_its_arn_or_its_name():
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/my-package"

    assert event_key(StepType.REGISTER_MODEL, {"name": arn}) == event_key(
        StepType.REGISTER_MODEL, {"name": "My-Package"}
    )


def test_a_serverless_step_waits_for_its_application_and_then_for_its_job_run():
    waiting = {"name": "job", "application": "00app", "start": {}, "earlier": 0}

    assert event_key(StepType.EMR_SERVERLESS, waiting) == "00app"
    assert event_key(StepType.EMR_SERVERLESS, {"name": "00run", "application": "00app", "run": "00run"}) == "00run"


# --- the queue


@pytest.fixture
def clients(local_sagemaker):
    return EndpointClients(local_sagemaker)


@pytest.fixture
def make(clients):
    return lambda: create_event_queue(clients, queue_name="q", rule_name="r")


def receive(clients, queue, wanted, *, seconds=10.0):
    """Receive until all wanted keys have been told of."""
    missing, deadline = set(wanted), time.monotonic() + seconds
    while missing:
        assert time.monotonic() < deadline, f"not told of: {missing}"
        answer = clients("sqs").receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        told = {message["Body"]: resource_to_look_at(message["Body"]) for message in answer.get("Messages", [])}
        assert None not in told.values(), told
        missing -= set(told.values())


IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:1"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
JAR = {"Jar": "command-runner.jar", "Args": ["x"]}
MASTER = {"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}
STEPS = {
    "Training": {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    },
    "Processing": {"ProcessingResources": {"ClusterConfig": CLUSTER}, "AppSpecification": {"ImageUri": IMAGE}},
    "RegisterModel": {"ModelPackageGroupName": "Group"},
    "EMR": {
        "StepConfig": {"HadoopJarStep": JAR},
        "ClusterConfig": {"ReleaseLabel": "emr-6.6.0", "Instances": {"InstanceGroups": [MASTER]}},
    },
    "EMRServerless": {
        "ExecutionRoleArn": "arn:aws:iam::123456789012:role/R",
        "ApplicationConfig": {"name": "app", "releaseLabel": "emr-6.15.0", "type": "SPARK"},
        "JobConfig": {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}},
    },
}


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        *((kind, Verdict.SUCCEEDED) for kind in STEPS),
        *((kind, Verdict.FAILED) for kind in STEPS if kind != "RegisterModel"),
    ],
)
def test_the_end_of_a_step_reaches_the_queue_under_the_key_of_its_handle(local_sagemaker, clients, make, kind, verdict):
    local_sagemaker.client("s3").create_bucket(Bucket="bucket")
    local_sagemaker.rule(kind=kind, outcome="Failed" if verdict is Verdict.FAILED else "Completed")
    queue = make()
    run = step_run(local_sagemaker, {"Name": "Step", "Type": kind, "Arguments": STEPS[kind]}, clients=clients)

    begun = start(run)
    ended = wait(run, begun)

    assert ended.verdict is verdict
    receive(clients, queue, {event_key(kind, state.handle) for state in (begun, ended)})


def test_a_cluster_that_does_not_start_wakes_the_step_that_it_was_made_for(local_sagemaker, clients, make):
    local_sagemaker.rule(kind="EMRCluster", outcome="Failed", reason="no capacity")
    queue = make()
    run = step_run(local_sagemaker, {"Name": "Step", "Type": "EMR", "Arguments": STEPS["EMR"]}, clients=clients)

    handle = start(run).handle

    receive(clients, queue, {event_key(StepType.EMR, handle)})


def test_every_change_of_a_pipeline_execution_reaches_the_queue_under_its_arn(local_sagemaker, clients, make):
    end = {"Name": "End", "Type": "Fail", "DependsOn": ["Step"], "Arguments": {"ErrorMessage": "it is bad"}}
    steps = [{"Name": "Step", "Type": "Processing", "Arguments": STEPS["Processing"]}, end]
    document = json.dumps({"Version": "2020-12-01", "Steps": steps})
    clients("sagemaker").create_pipeline(PipelineName="Pipe", RoleArn=ROLE, PipelineDefinition=document)
    queue = make()

    arn = clients("sagemaker").start_pipeline_execution(PipelineName="Pipe")["PipelineExecutionArn"]

    told, deadline = [], time.monotonic() + 20
    while (None, "Failed") not in told:
        assert time.monotonic() < deadline, told
        answer = clients("sqs").receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        details = [json.loads(message["Body"])["detail"] for message in answer.get("Messages", [])]
        told += [
            (detail.get("stepName"), detail.get("currentStepStatus") or detail["currentPipelineExecutionStatus"])
            for detail, message in zip(details, answer.get("Messages", []), strict=True)
            if resource_to_look_at(message["Body"]) == arn
        ]
    assert {(None, "Executing"), ("Step", "Starting"), ("Step", "Executing"), ("Step", "Succeeded")} <= set(told)
    assert ("End", "Failed") in told


def test_making_the_queue_again_changes_nothing(clients, make):
    first = make()
    before = clients("sqs").get_queue_attributes(QueueUrl=first.url, AttributeNames=["All"])["Attributes"]

    assert make() == first

    after = clients("sqs").get_queue_attributes(QueueUrl=first.url, AttributeNames=["All"])["Attributes"]
    assert {**after, "LastModifiedTimestamp": ""} == {**before, "LastModifiedTimestamp": ""}
    assert json.loads(after["Policy"]) == queue_policy(first.arn, first.rule_arn)
    assert {name: json.loads(after[name]) for name in QUEUE_ATTRIBUTES} == QUEUE_ATTRIBUTES
    assert clients("events").list_targets_by_rule(Rule="r")["Targets"] == [{"Id": "queue", "Arn": first.arn}]


def test_what_somebody_else_has_set_up_stays(clients, make):
    sqs, events = clients("sqs"), clients("events")
    url = sqs.create_queue(QueueName="q", Attributes={"MessageRetentionPeriod": "600"})["QueueUrl"]
    theirs = {"Sid": "Mine", "Effect": "Allow", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": QUEUE_ARN}
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": theirs})}
    )
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["aws.s3"]}), State="DISABLED")
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    other_arn = sqs.get_queue_attributes(QueueUrl=other, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_targets(Rule="r", Targets=[{"Id": "theirs", "Arn": other_arn}])

    queue = make()

    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["MessageRetentionPeriod"] == "600"
    statements = json.loads(attributes["Policy"])["Statement"]
    assert statements == [theirs, *queue_policy(queue.arn, queue.rule_arn)["Statement"]]
    rule = events.describe_rule(Name="r")
    assert (rule["State"], json.loads(rule["EventPattern"])) == ("ENABLED", event_pattern())
    assert {target["Id"] for target in events.list_targets_by_rule(Rule="r")["Targets"]} == {"theirs", "queue"}


def test_a_refusal_is_an_error(clients):
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        create_event_queue(clients, queue_name="no such name!", rule_name="r")


def test_the_pattern_is_within_eventbridges_limits():
    pattern = event_pattern()

    # "Event pattern size: 2048 characters"; and $or takes two or more.
    assert len(json.dumps(pattern, separators=(",", ":"))) <= 2048
    assert len(pattern["detail"]["$or"]) >= 2


@pytest.mark.parametrize("row", EVENT_TYPES, ids=lambda row: row.detail_type)
def test_the_pattern_lets_through_what_is_a_reason_to_look_and_nothing_else(clients, make, row):
    queue = make()
    for status in known_statuses(row):
        detail = json.dumps({**PUBLISHED[row.detail_type][1], row.status_member: status})
        entry = {"Source": row.source, "DetailType": row.detail_type, "Detail": detail}
        clients("events").put_events(Entries=[entry])

    bodies = []
    while (
        messages := clients("sqs")
        .receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        .get("Messages")
    ):
        bodies += [json.loads(message["Body"]) for message in messages]

    assert {body["detail"][row.status_member] for body in bodies} == news(row)
    assert {resource_to_look_at(body) for body in bodies} == {EXPECTED[row.detail_type]}


def test_the_template_makes_what_the_call_makes(local_sagemaker, clients):
    template = cloudformation_template(queue_name="q", rule_name="r")
    # moto's CloudFormation cannot make this one.
    policy = json.dumps(template["Resources"].pop("QueuePolicy")["Properties"]["PolicyDocument"])
    clients("cloudformation").create_stack(StackName="s", TemplateBody=json.dumps(template))
    (stack,) = clients("cloudformation").describe_stacks(StackName="s")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    pattern, targets = rule_of(clients)

    local_sagemaker.reset()
    made = create_event_queue(clients, queue_name="q", rule_name="r")

    # moto's CloudFormation gives AWS's URL.
    assert outputs["QueueUrl"].endswith("/123456789012/q")
    assert outputs["QueueArn"] == made.arn
    assert (pattern, targets) == rule_of(clients)
    for resource, arn in (("Queue", made.arn), ("Rule", made.rule_arn)):
        policy = policy.replace(json.dumps({"Fn::GetAtt": [resource, "Arn"]}), json.dumps(arn))
    assert json.loads(policy) == queue_policy(made.arn, made.rule_arn)
    assert template["Resources"]["Queue"]["Properties"] == {"QueueName": "q", **QUEUE_ATTRIBUTES}


def rule_of(clients):
    events = clients("events")
    pattern = json.loads(events.describe_rule(Name="r")["EventPattern"])
    return pattern, events.list_targets_by_rule(Rule="r")["Targets"]
