"""EMR steps, on a cluster that runs and on one of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.faults import Fault, FaultyClients
from tests.steps.types.step_runs import finish, outputs_of, start, violations, wait

JAR = {"Jar": "command-runner.jar", "Args": ["spark-submit", {"Get": "Parameters.Script"}]}
CONFIG = {
    "ReleaseLabel": "emr-6.6.0",
    "Instances": {"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}]},
}
ROLE = "arn:aws:iam::111122223333:role/E"


def emr_step(config=None, **arguments):
    return {
        "Name": "Spark_Job_that_has_a_rather_long_name",
        "Type": "EMR",
        "Arguments": {"StepConfig": {"HadoopJarStep": JAR} | (config or {}), **arguments},
    }


@pytest.fixture
def emr(local_sagemaker):
    return local_sagemaker.client("emr")


@pytest.fixture
def cluster(emr):
    """Give a cluster that waits for steps."""
    instances = CONFIG["Instances"] | {"KeepJobFlowAliveWhenNoSteps": True}
    cluster_id = emr.run_job_flow(Name="shared", ReleaseLabel="emr-6.6.0", Instances=instances)["JobFlowId"]
    emr.get_waiter("cluster_running").wait(ClusterId=cluster_id, WaiterConfig={"Delay": 0.02, "MaxAttempts": 100})
    return cluster_id


@pytest.fixture
def on_shared(run_of, cluster):
    """Give a run of a step on the shared cluster."""

    def make(config=None, **keys):
        step = emr_step(config, ClusterId={"Get": "Parameters.Cluster"})
        return run_of(step, parameters={"Script": "s3://b/a.py", "Cluster": cluster}, **keys)

    return make


@pytest.fixture
def on_own(run_of):
    """Give a run of a step with a cluster of its own."""

    def make(config=None, **keys):
        return run_of(emr_step(config, ClusterConfig=CONFIG), parameters={"Script": "s3://b/a.py"}, **keys)

    return make


@pytest.fixture(params=["on_shared", "on_own"])
def on_either(request):
    return request.getfixturevalue(request.param)


def cluster_of(emr, state):
    return emr.describe_cluster(ClusterId=state.handle["cluster"])["Cluster"]


def made_by_runs(local_sagemaker):
    calls = local_sagemaker.calls()
    return calls.get("elasticmapreduce.AddJobFlowSteps", 0) + calls.get("elasticmapreduce.RunJobFlow", 0)


def test_outputs_are_the_step_and_its_cluster(on_shared, cluster):
    run = on_shared()
    state = finish(run)

    outputs = outputs_of(run, state)

    assert state.verdict is Verdict.SUCCEEDED
    assert outputs["ClusterId"] == cluster
    assert outputs["Config"]["Args"] == ["spark-submit", "s3://b/a.py"]
    assert outputs["Status"]["State"] == "COMPLETED"
    assert json.loads(json.dumps(outputs)) == outputs


def test_a_shared_cluster_goes_on_after_the_step_even_if_that_failed(local_sagemaker, emr, on_shared):
    local_sagemaker.rule(kind="EMR", outcome="Failed")

    state = finish(on_shared())

    assert cluster_of(emr, state)["Status"]["State"] == "WAITING"


@pytest.mark.parametrize("outcome", ["Completed", "Failed"])
def test_a_cluster_of_the_steps_own_ends_with_it(local_sagemaker, emr, on_own, outcome):
    local_sagemaker.rule(kind="EMR", outcome=outcome)

    state = finish(on_own())

    assert cluster_of(emr, state)["Name"] == state.handle["name"]
    assert cluster_of(emr, state)["Status"]["State"] == "TERMINATED"


def test_the_step_of_an_own_cluster_is_found_though_the_start_does_not_tell_it(on_own):
    run = on_own()

    state = wait(run, start(run))

    assert state.verdict is Verdict.SUCCEEDED
    assert outputs_of(run, state)["Id"].startswith("s-")
    assert outputs_of(run, state)["ClusterId"] == state.handle["cluster"]


def test_a_failed_step_says_why(local_sagemaker, on_either):
    local_sagemaker.rule(kind="EMR", outcome="Failed", reason="No such file: a.py")

    state = finish(on_either())

    assert (state.verdict, state.reason) == (Verdict.FAILED, "Unknown Error: No such file: a.py")


def test_a_cluster_that_does_not_start_fails_its_step_with_the_clusters_reason(local_sagemaker, on_own):
    local_sagemaker.rule(kind="EMRCluster", outcome="Failed", reason="On the master instance, action 1 failed")

    state = finish(on_own())

    assert state.verdict is Verdict.FAILED
    assert state.reason == (
        "its cluster is TERMINATED_WITH_ERRORS: BOOTSTRAP_FAILURE: On the master instance, action 1 failed"
    )


def test_a_second_start_finds_what_runs(local_sagemaker, on_either):
    run = on_either()
    first = start(run)
    local_sagemaker.clear_calls()

    second = start(run)

    assert second.verdict is Verdict.RUNNING
    assert (second.handle["name"], second.handle["cluster"]) == (first.handle["name"], first.handle["cluster"])
    assert made_by_runs(local_sagemaker) == 0


def test_a_second_start_takes_over_what_has_succeeded(local_sagemaker, on_either):
    run = on_either()
    finish(run)
    local_sagemaker.clear_calls()

    assert start(run).verdict is Verdict.SUCCEEDED
    assert made_by_runs(local_sagemaker) == 0


def test_a_retry_after_a_failure_makes_a_new_generation(local_sagemaker, on_either):
    local_sagemaker.rule(kind="EMR", outcome="Failed", times=1)
    run = on_either()

    first, second, third = finish(run), finish(run), finish(run)

    assert (first.verdict, second.verdict) == (Verdict.FAILED, Verdict.SUCCEEDED)
    assert second.handle["name"] == third.handle["name"] == f"{first.handle['name']}-1"


def test_a_start_whose_answer_was_lost_looks_once_for_what_it_has_made(local_sagemaker, on_either):
    run = on_either()
    operation = "AddJobFlowSteps" if "ClusterId" in run.step.arguments else "RunJobFlow"
    local_sagemaker.clear_calls()

    state = start(replace(run, clients=FaultyClients(local_sagemaker, operation, Fault.LOST)))

    lists = [count for call, count in local_sagemaker.calls().items() if "List" in call]
    assert wait(run, state).verdict is Verdict.SUCCEEDED
    assert made_by_runs(local_sagemaker) == 1
    assert lists == [2]


def test_a_start_of_which_nothing_is_found_is_left_to_another_try(local_sagemaker, on_either):
    run = on_either()
    operation = "AddJobFlowSteps" if "ClusterId" in run.step.arguments else "RunJobFlow"
    local_sagemaker.clear_calls()

    with pytest.raises(StepCallError, match=f"{operation} was refused with ThrottlingException"):
        start(replace(run, clients=FaultyClients(local_sagemaker, operation, Fault.REFUSED)))

    assert made_by_runs(local_sagemaker) == 0


def test_a_cleared_task_starts_anew(on_either):
    assert finish(on_either()).handle["name"] != finish(on_either(life=1)).handle["name"]


def test_a_long_list_of_steps_is_not_read_beyond_the_start_of_the_run(emr, on_shared, cluster):
    jar = {"Jar": "x.jar"}
    for _ in range(3):
        emr.add_job_flow_steps(JobFlowId=cluster, Steps=[{"Name": f"old-{i}", "HadoopJarStep": jar} for i in range(50)])
    run = on_shared()
    client, pages = run.clients("emr"), []
    client.meta.events.register("after-call.emr.ListSteps", lambda **_: pages.append(1))
    real = client.get_paginator("list_steps")

    def aged(**arguments):
        for page in real.paginate(**arguments):
            for step in page["Steps"]:
                step["Status"]["Timeline"]["CreationDateTime"] -= timedelta(hours=2)
            yield page

    client.get_paginator = lambda _: type("Paginator", (), {"paginate": staticmethod(aged)})

    start(run)

    assert len(pages) == 1


def test_stopping_cancels_the_step_on_a_shared_cluster(local_sagemaker, emr, on_shared):
    local_sagemaker.rule(kind="EMR", duration=60)
    run = on_shared()
    state = start(run)

    runner_of(StepType.EMR).stop(run.clients, state.handle)

    # Until the clock says so it is being cancelled; the rest of the cluster is not touched.
    assert wait(run, state).verdict is Verdict.STOPPED
    assert cluster_of(emr, state)["Status"]["State"] == "WAITING"


def test_stopping_terminates_a_cluster_of_the_steps_own(local_sagemaker, emr, on_own):
    local_sagemaker.rule(kind="EMR", duration=60)
    run = on_own()
    state = start(run)

    runner_of(StepType.EMR).stop(run.clients, state.handle)

    assert wait(run, state).verdict is Verdict.STOPPED
    assert cluster_of(emr, state)["Status"]["State"] == "TERMINATED"


def test_stopping_what_is_over_does_nothing(on_either):
    run = on_either()
    state = finish(run)

    runner_of(StepType.EMR).stop(run.clients, state.handle)

    assert runner_of(StepType.EMR).poll(run.clients, state.handle).verdict is Verdict.SUCCEEDED


def test_the_request_for_a_shared_cluster_is_valid(run_of):
    run = run_of(emr_step(ClusterId="j-1", ExecutionRoleArn=ROLE), parameters={"Script": "x"})

    request = runner_of(StepType.EMR).request(run)

    assert violations("emr", "AddJobFlowSteps", request) == ""
    assert request["ExecutionRoleArn"] == ROLE
    assert request["Steps"][0]["ActionOnFailure"] == "CONTINUE"
    assert len(request["Steps"][0]["Name"]) <= 256


def test_the_request_for_an_own_cluster_is_valid_and_lets_it_end(on_own):
    request = runner_of(StepType.EMR).request(on_own())

    assert violations("emr", "RunJobFlow", request) == ""
    assert request["Name"] == request["Steps"][0]["Name"]
    assert request["Instances"]["KeepJobFlowAliveWhenNoSteps"] is False
    assert request["Instances"]["TerminationProtected"] is False


@pytest.mark.parametrize("keys", [("key", "value"), ("Key", "Value")])
def test_properties_may_be_spelled_both_ways(run_of, keys):
    key, value = keys
    jar = {"HadoopJarStep": {"Jar": "x", "Properties": [{key: "a", value: "b"}]}}

    request = runner_of(StepType.EMR).request(run_of(emr_step(jar, ClusterId="j-1")))

    assert request["Steps"][0]["HadoopJarStep"]["Properties"] == [{"Key": "a", "Value": "b"}]


def test_the_definitions_own_name_and_action_are_kept(run_of):
    config = {"Name": "nightly", "ActionOnFailure": "CANCEL_AND_WAIT"}

    request = runner_of(StepType.EMR).request(run_of(emr_step(config, ClusterId="j-1"), parameters={"Script": "x"}))

    assert request["Steps"][0]["Name"].startswith("nightly-p4jn9xou8a8s-")
    assert request["Steps"][0]["ActionOnFailure"] == "CANCEL_AND_WAIT"


def test_a_cluster_that_is_gone_is_refused_in_awss_words(run_of):
    with pytest.raises(StepRequestError, match="Cluster id 'j-GONE' is not valid"):
        start(run_of(emr_step(ClusterId="j-GONE"), parameters={"Script": "x"}))


def test_messages_name_the_step_and_its_cluster(on_shared, cluster):
    state = start(on_shared())

    assert runner_of(StepType.EMR).resource(state.handle) == f"EMR step {state.handle['name']} on cluster {cluster}"
