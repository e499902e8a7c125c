"""What the local endpoint's services tell EventBridge, received from queues as a user would."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from endpoint_support import (
    ROLE,
    auto_ml_request,
    create_endpoint_config,
    create_model,
    package_request,
    processing_request,
    training_request,
    transform_request,
    tuning_request,
    until,
)

from airflow_sagemaker_pipelines.local import events as local_events

JAR = {"Jar": "command-runner.jar", "Args": ["x"]}


class Inbox:
    """A queue that an EventBridge rule feeds, and what has come out of it."""

    def __init__(self, local_sagemaker, pattern, *, name="inbox", rule="rule"):
        self.sqs, bridge = local_sagemaker.client("sqs"), local_sagemaker.client("events")
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        bridge.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        bridge.put_targets(Rule=rule, Targets=[{"Id": name, "Arn": answer["Attributes"]["QueueArn"]}])
        self.received = []

    def events(self):
        answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        self.received.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return self.received

    def values(self, member):
        return [event["detail"].get(member) for event in self.events()]

    def wait(self, member, last):
        return until(lambda: self.values(member), lambda found: last in found)


@pytest.fixture
def inbox(local_sagemaker):
    def make(detail_type, **more):
        source = "aws." + {"SageMaker": "sagemaker", "EMR": "emr"}[detail_type.split()[0]]
        source += "-serverless" if "Serverless" in detail_type else ""
        return Inbox(local_sagemaker, {"source": [source], "detail-type": [detail_type]}, **more)

    return make


def test_an_event_has_the_envelope_that_aws_gives_it(sagemaker, inbox):
    box = inbox("SageMaker Training Job State Change")
    more = {"Tags": [{"Key": "team", "Value": "a"}], "HyperParameters": {"pattern": "<id> <time>"}}
    arn = sagemaker.create_training_job(**training_request(**more))["TrainingJobArn"]

    assert box.wait("TrainingJobStatus", "Completed") == ["InProgress", "Completed"]
    event = box.received[-1]
    assert event["source"] == "aws.sagemaker"
    assert event["detail-type"] == "SageMaker Training Job State Change"
    assert (event["account"], event["region"], event["version"]) == ("123456789012", "us-east-1", "0")
    assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert event["resources"] == [event["detail"]["TrainingJobArn"]] == [arn]
    assert event["detail"]["TrainingJobName"] == "train-1"
    assert event["detail"]["SecondaryStatus"] == "Completed"
    assert event["detail"]["Tags"] == {"team": "a"}
    assert event["detail"]["HyperParameters"] == {"pattern": "<id> <time>"}
    assert event["detail"]["TrainingEndTime"].isdigit()
    assert event["id"] != box.received[0]["id"]


def test_a_failed_job_says_why(local_sagemaker, sagemaker, inbox):
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="AlgorithmError: no rows")
    box = inbox("SageMaker Processing Job State Change")
    sagemaker.create_processing_job(**processing_request())

    assert box.wait("ProcessingJobStatus", "Failed") == ["InProgress", "Failed"]
    assert box.values("FailureReason") == [None, "AlgorithmError: no rows"]
    assert isinstance(box.received[-1]["detail"]["ProcessingEndTime"], int)


def test_a_stopped_job_is_first_stopping(local_sagemaker, sagemaker, inbox):
    local_sagemaker.rule(kind="Transform", duration=60)
    create_model(sagemaker)
    box = inbox("SageMaker Transform Job State Change")
    sagemaker.create_transform_job(**transform_request())
    sagemaker.stop_transform_job(TransformJobName="transform-1")

    assert box.wait("TransformJobStatus", "Stopped") == ["InProgress", "Stopping", "Stopped"]
    assert box.received[-1]["detail"]["CreationTime"].endswith("Z")


def test_a_tuning_job_and_each_of_its_training_jobs_send_their_own(sagemaker, inbox):
    tuning = inbox("SageMaker HyperParameter Tuning Job State Change")
    training = inbox("SageMaker Training Job State Change", name="training", rule="training")
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(total=2, parallel=2))

    assert tuning.wait("HyperParameterTuningJobStatus", "Completed")[-1] == "Completed"
    assert tuning.received[-1]["detail"]["TrainingJobStatusCounters"]["Completed"] == 2
    assert sorted(training.values("TrainingJobStatus")) == ["Completed", "Completed", "InProgress", "InProgress"]


def test_an_endpoints_statuses_are_written_as_events_write_them(sagemaker, inbox):
    create_model(sagemaker)
    for name in ("config-1", "config-2"):
        create_endpoint_config(sagemaker, name)
    box = inbox("SageMaker Endpoint State Change")
    sagemaker.create_endpoint(EndpointName="Shop", EndpointConfigName="config-1")
    box.wait("EndpointStatus", "IN_SERVICE")
    sagemaker.update_endpoint(EndpointName="Shop", EndpointConfigName="config-2")
    until(lambda: box.values("EndpointStatus").count("IN_SERVICE") == 2)
    sagemaker.delete_endpoint(EndpointName="Shop")

    assert box.wait("EndpointStatus", "DELETING") == ["CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE", "DELETING"]
    assert box.values("EndpointName") == ["Shop"] * 5
    assert box.values("EndpointConfigName")[-1] == "config-2"


def test_a_model_package_tells_of_its_creation_and_its_approval(sagemaker, inbox):
    box = inbox("SageMaker Model Package State Change")
    sagemaker.create_model_package_group(ModelPackageGroupName="group-1")
    arn = sagemaker.create_model_package(**package_request())["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")

    assert box.wait("ModelApprovalStatus", "Approved") == ["PendingManualApproval", "Approved"]
    assert box.values("ModelPackageArn") == [arn, arn]
    assert box.values("ModelPackageStatus") == ["Completed", "Completed"]
    assert box.values("UpdatedModelPackageFields") == [[], ["ModelApprovalStatus"]]


def test_a_model_tells_of_its_creation_and_its_end(sagemaker, inbox):
    box = inbox("SageMaker Model State Change")
    arn = create_model(sagemaker)
    sagemaker.delete_model(ModelName="model-1")

    until(lambda: len(box.events()) == 2)
    assert [event["resources"] for event in box.received] == [[arn], [arn]]


def test_auto_ml_jobs_send_nothing_of_their_own_as_on_aws(local_sagemaker, sagemaker):
    box = Inbox(local_sagemaker, {"source": ["aws.sagemaker"]})
    sagemaker.create_auto_ml_job(**auto_ml_request())
    until(lambda: sagemaker.describe_auto_ml_job(AutoMLJobName="automl-1")["AutoMLJobStatus"] == "Completed")

    assert not [event for event in box.events() if "AutoMLJobName" in event["detail"]]


def test_a_targets_own_template_is_filled_in(local_sagemaker, sagemaker, inbox):
    box = inbox("SageMaker Training Job State Change")
    bridge = local_sagemaker.client("events")
    (target,) = bridge.list_targets_by_rule(Rule="rule")["Targets"]
    template = {
        "InputPathsMap": {"status": "$.detail.TrainingJobStatus"},
        "InputTemplate": '{"detail": {"s": "<status>"}}',
    }
    bridge.put_targets(Rule="rule", Targets=[{**target, "InputTransformer": template}])
    sagemaker.create_training_job(**training_request())

    assert box.wait("s", "Completed") == ["InProgress", "Completed"]


def test_two_queues_behind_one_rule_both_get_the_event(local_sagemaker, sagemaker, inbox):
    boxes = [inbox("SageMaker Training Job State Change", name=name) for name in ("one", "two")]
    sagemaker.create_training_job(**training_request())

    for box in boxes:
        assert box.wait("TrainingJobStatus", "Completed") == ["InProgress", "Completed"]


def test_a_queue_that_is_gone_does_not_harm_the_job(local_sagemaker, sagemaker, inbox):
    box = inbox("SageMaker Training Job State Change")
    box.sqs.delete_queue(QueueUrl=box.url)
    sagemaker.create_training_job(**training_request())

    until(lambda: sagemaker.describe_training_job(TrainingJobName="train-1")["TrainingJobStatus"] == "Completed")


def test_without_rules_no_event_is_put_together(local_sagemaker, sagemaker, monkeypatch):
    described = []
    real = local_events.describe
    monkeypatch.setattr(local_events, "describe", lambda resource: described.append(resource) or real(resource))
    # moto's EventBridge is loaded, and has no rules.
    bridge = local_sagemaker.client("events")
    assert bridge.list_rules()["Rules"] == []
    sagemaker.create_training_job(**training_request("unheard"))
    until(lambda: sagemaker.describe_training_job(TrainingJobName="unheard")["TrainingJobStatus"] == "Completed")
    assert described == []

    bridge.put_rule(Name="any", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    sagemaker.create_training_job(**training_request("heard"))
    until(lambda: sagemaker.describe_training_job(TrainingJobName="heard")["TrainingJobStatus"] == "Completed")
    assert [resource.name for resource in described] == ["heard", "heard"]


# --- EMR


def run_cluster(emr, *names, keep=True):
    group = {"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}
    steps = [{"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": JAR} for name in names]
    return emr.run_job_flow(
        Name="nightly",
        ReleaseLabel="emr-6.6.0",
        Instances={"InstanceGroups": [group], "KeepJobFlowAliveWhenNoSteps": keep},
        Steps=steps,
    )["JobFlowId"]


def test_emr_steps_and_their_cluster_tell_every_state(local_sagemaker, inbox):
    local_sagemaker.rule(kind="EMR", name="^bad$", outcome="Failed", reason="exit code 1")
    steps = inbox("EMR Step Status Change")
    clusters = inbox("EMR Cluster State Change", name="clusters", rule="clusters")
    emr = local_sagemaker.client("emr")
    cluster = run_cluster(emr, "bad", keep=False)

    assert clusters.wait("state", "TERMINATED") == ["STARTING", "WAITING", "RUNNING", "TERMINATED"]
    assert steps.wait("state", "FAILED") == ["PENDING", "RUNNING", "FAILED"]
    (step,) = emr.list_steps(ClusterId=cluster)["Steps"]
    detail = steps.received[-1]["detail"]
    assert detail.pop("message")
    assert detail == {
        "severity": "ERROR",
        "actionOnFailure": "CONTINUE",
        "stepId": step["Id"],
        "name": "bad",
        "clusterId": cluster,
        "state": "FAILED",
    }
    assert steps.received[-1]["resources"] == []
    end = clusters.received[-1]["detail"]
    assert (end["name"], end["clusterId"]) == ("nightly", cluster)
    assert json.loads(end["stateChangeReason"]) == {"code": "ALL_STEPS_COMPLETED", "message": "Steps completed"}


def test_a_cancelled_emr_step_is_first_pending_its_cancellation(local_sagemaker, inbox):
    local_sagemaker.rule(kind="EMR", duration=60)
    box = inbox("EMR Step Status Change")
    emr = local_sagemaker.client("emr")
    cluster = run_cluster(emr)
    until(lambda: emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] == "WAITING")
    step = {"Name": "long", "ActionOnFailure": "CONTINUE", "HadoopJarStep": JAR}
    added = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])["StepIds"]
    emr.cancel_steps(ClusterId=cluster, StepIds=added)

    assert box.wait("state", "CANCELLED") == ["PENDING", "RUNNING", "CANCEL_PENDING", "CANCELLED"]
    assert {event["detail"]["stepId"] for event in box.received} == set(added)


# --- EMR Serverless


def start_run(serverless, application):
    return serverless.start_job_run(
        applicationId=application,
        clientToken="t",
        executionRoleArn=ROLE,
        jobDriver={"sparkSubmit": {"entryPoint": "s3://b/a.py"}},
        name="nightly",
    )["jobRunId"]


def test_job_runs_and_applications_tell_every_state_and_the_one_before(local_sagemaker, inbox):
    applications = inbox("EMR Serverless Application State Change")
    runs = inbox("EMR Serverless Job Run State Change", name="runs", rule="runs")
    serverless = local_sagemaker.client("emr-serverless")
    application = serverless.create_application(name="a", type="SPARK", releaseLabel="emr-6.6.0", clientToken="t")[
        "applicationId"
    ]
    assert applications.wait("state", "CREATED") == ["CREATING", "CREATED"]
    job_run = start_run(serverless, application)

    assert runs.wait("state", "SUCCESS") == ["SUBMITTED", "RUNNING", "SUCCESS"]
    assert runs.values("previousState") == [None, "SUBMITTED", "RUNNING"]
    detail = runs.received[-1]["detail"]
    assert (detail["jobRunId"], detail["jobRunName"], detail["applicationId"]) == (job_run, "nightly", application)
    assert detail["arn"].endswith(f"/applications/{application}/jobruns/{job_run}")
    assert datetime.fromisoformat(detail["updatedAt"]) >= datetime.fromisoformat(detail["createdAt"])
    assert applications.values("applicationId") == [application] * 3


def test_a_cancelled_job_run_is_first_cancelling(local_sagemaker, inbox):
    local_sagemaker.rule(kind="EMRServerless", duration=60)
    box = inbox("EMR Serverless Job Run State Change")
    serverless = local_sagemaker.client("emr-serverless")
    application = serverless.create_application(name="a", type="SPARK", releaseLabel="emr-6.6.0", clientToken="t")[
        "applicationId"
    ]
    until(lambda: serverless.get_application(applicationId=application)["application"]["state"] == "CREATED")
    serverless.cancel_job_run(applicationId=application, jobRunId=start_run(serverless, application))

    assert box.wait("state", "CANCELLED")[-2:] == ["CANCELLING", "CANCELLED"]
