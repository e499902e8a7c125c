"""EMR clusters and EMR Serverless job runs that live."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from endpoint_support import ROLE, until

JAR = {"Jar": "command-runner.jar", "Args": ["x"]}
DRIVER = {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}


@pytest.fixture
def emr(local_sagemaker):
    return local_sagemaker.client("emr")


@pytest.fixture
def serverless(local_sagemaker):
    return local_sagemaker.client("emr-serverless")


def step(name, action="CONTINUE"):
    return {"Name": name, "ActionOnFailure": action, "HadoopJarStep": JAR}


def run_cluster(emr, *steps, keep=True):
    group = {"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}
    return emr.run_job_flow(
        Name="cluster",
        ReleaseLabel="emr-6.6.0",
        Instances={"InstanceGroups": [group], "KeepJobFlowAliveWhenNoSteps": keep},
        Steps=list(steps),
    )["JobFlowId"]


def states(emr, cluster):
    return {item["Name"]: item["Status"]["State"] for item in emr.list_steps(ClusterId=cluster)["Steps"]}


def cluster_status(emr, cluster):
    return emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]


def wait_for(emr, cluster, state):
    until(lambda: cluster_status(emr, cluster)["State"] == state)


def test_steps_run_one_after_the_other_and_the_cluster_waits_for_more(emr):
    cluster = run_cluster(emr, step("a"), step("b"))

    until(lambda: states(emr, cluster) == {"a": "COMPLETED", "b": "RUNNING"})
    wait_for(emr, cluster, "WAITING")
    assert states(emr, cluster) == {"a": "COMPLETED", "b": "COMPLETED"}


def test_a_cluster_that_is_not_kept_ends_after_its_last_step(emr):
    cluster = run_cluster(emr, step("a"), keep=False)

    wait_for(emr, cluster, "TERMINATED")
    assert states(emr, cluster) == {"a": "COMPLETED"}
    assert cluster_status(emr, cluster)["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"


@pytest.mark.parametrize(
    ("action", "second", "end"),
    [
        ("CONTINUE", "COMPLETED", "WAITING"),
        ("CANCEL_AND_WAIT", "CANCELLED", "WAITING"),
        ("TERMINATE_CLUSTER", "CANCELLED", "TERMINATED_WITH_ERRORS"),
    ],
)
def test_the_action_on_failure_decides_what_becomes_of_the_rest(local_sagemaker, emr, action, second, end):
    local_sagemaker.rule(kind="EMR", name="^a$", outcome="Failed", reason="exit code 1")
    cluster = run_cluster(emr, step("a", action), step("b"))

    wait_for(emr, cluster, end)
    assert states(emr, cluster) == {"a": "FAILED", "b": second}
    failed = next(item for item in emr.list_steps(ClusterId=cluster)["Steps"] if item["Name"] == "a")
    assert failed["Status"]["FailureDetails"]["Message"] == "exit code 1"


def test_cancelling_says_what_became_of_each_request(local_sagemaker, emr):
    cluster = run_cluster(emr, step("done"))
    wait_for(emr, cluster, "WAITING")
    local_sagemaker.rule(kind="EMR", duration=60)
    added = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step("runs"), step("waits")])["StepIds"]
    (done,) = [item["Id"] for item in emr.list_steps(ClusterId=cluster)["Steps"] if item["Name"] == "done"]

    answers = emr.cancel_steps(ClusterId=cluster, StepIds=[*added, done])["CancelStepsInfoList"]

    assert [item["Status"] for item in answers] == ["SUBMITTED", "SUBMITTED", "FAILED"]
    until(lambda: states(emr, cluster) == {"done": "COMPLETED", "runs": "CANCELLED", "waits": "CANCELLED"})
    wait_for(emr, cluster, "WAITING")


def test_a_terminated_cluster_takes_no_steps(emr):
    cluster = run_cluster(emr)
    emr.terminate_job_flows(JobFlowIds=[cluster])

    with pytest.raises(ClientError, match="may not be modified"):
        emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step("late")])


def test_an_unknown_cluster_or_step_is_an_error_that_is_not_retried(local_sagemaker, emr):
    cluster = run_cluster(emr)
    local_sagemaker.clear_calls()

    with pytest.raises(ClientError, match="Cluster id 'j-X' is not valid"):
        emr.list_steps(ClusterId="j-X")
    with pytest.raises(ClientError, match="Step id 's-X' is not valid"):
        emr.describe_step(ClusterId=cluster, StepId="s-X")
    assert local_sagemaker.calls() == {"elasticmapreduce.DescribeStep": 1, "elasticmapreduce.ListSteps": 1}


def application(serverless, token="a"):
    created = serverless.create_application(name="n", releaseLabel="emr-6.15.0", type="SPARK", clientToken=token)
    return created["applicationId"]


def ready(serverless, **keys):
    app = application(serverless, **keys)
    until(lambda: serverless.get_application(applicationId=app)["application"]["state"] == "CREATED")
    return app


def run_job(serverless, app, token="t"):
    started = serverless.start_job_run(
        applicationId=app, clientToken=token, executionRoleArn=ROLE, jobDriver=DRIVER, name="job"
    )
    return started["jobRunId"]


def job_state(serverless, app, job):
    return serverless.get_job_run(applicationId=app, jobRunId=job)["jobRun"]["state"]


def test_a_job_run_takes_its_time(serverless):
    app = ready(serverless)
    job = run_job(serverless, app)

    assert job_state(serverless, app, job) in {"SUBMITTED", "RUNNING"}
    until(lambda: job_state(serverless, app, job) == "SUCCESS")


def test_an_application_that_is_being_created_takes_no_jobs(serverless):
    with pytest.raises(ClientError, match="Current status: CREATING"):
        run_job(serverless, application(serverless))


def test_a_token_that_was_used_before_gets_what_it_made(serverless):
    app = ready(serverless)

    assert application(serverless) == app
    assert application(serverless, token="b") != app
    assert run_job(serverless, app) == run_job(serverless, app)
    assert run_job(serverless, app, "other") != run_job(serverless, app)


def test_a_rule_fails_a_job_run(local_sagemaker, serverless):
    local_sagemaker.rule(kind="EMRServerless", name="job", outcome="Failed", reason="exit code 1")
    app = ready(serverless)
    job = run_job(serverless, app)

    until(lambda: job_state(serverless, app, job) == "FAILED")
    assert serverless.get_job_run(applicationId=app, jobRunId=job)["jobRun"]["stateDetails"] == "exit code 1"


def test_a_job_run_can_be_cancelled_once(local_sagemaker, serverless):
    local_sagemaker.rule(kind="EMRServerless", duration=60)
    app = ready(serverless)
    job = run_job(serverless, app)

    serverless.cancel_job_run(applicationId=app, jobRunId=job)

    until(lambda: job_state(serverless, app, job) == "CANCELLED")
    with pytest.raises(ClientError, match="cannot be cancelled"):
        serverless.cancel_job_run(applicationId=app, jobRunId=job)


def test_a_reset_forgets_clusters_and_applications(local_sagemaker, emr, serverless):
    run_cluster(emr, step("a"))
    application(serverless)

    local_sagemaker.reset()

    assert emr.list_clusters()["Clusters"] == []
    assert serverless.list_applications()["applications"] == []
