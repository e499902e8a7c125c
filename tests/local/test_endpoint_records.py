"""The endpoint's own records: what was made, how often it was called, and a hook at each call."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from endpoint_support import (
    create_endpoint_config,
    create_model,
    package_request,
    training_request,
    tuning_request,
    until,
    wait_training,
    wait_tuning,
)
from test_lambdas import HANDLER, archive

from airflow_sagemaker_pipelines.local.calls import ApiCall, CallLog

ONCE = Config(retries={"total_max_attempts": 1}, proxies={})


def ask(endpoint, path):
    with urllib.request.urlopen(endpoint.url + path, timeout=5) as response:
        return json.load(response)


def by_kind(endpoint):
    found = {}
    for job in ask(endpoint, "/_local/jobs")["jobs"]:
        found.setdefault(job["kind"], []).append(job)
    return found


def test_a_job_is_recorded_with_status_times_tags_account_and_region(local_sagemaker, sagemaker):
    before = time.time()
    tags = [{"Key": "airflow:run", "Value": "r1"}]
    arn = sagemaker.create_training_job(**training_request(Tags=tags))["TrainingJobArn"]
    wait_training(sagemaker, "train-1")
    local_sagemaker.client("sagemaker", region_name="eu-west-1").create_training_job(**training_request())

    first, second = by_kind(local_sagemaker)["Training"]

    assert before <= first.pop("created") <= first.pop("ended") <= time.time()
    assert first == {
        "kind": "Training",
        "name": "train-1",
        "arn": arn,
        "status": "Completed",
        "account": "123456789012",
        "region": "us-east-1",
        "tags": {"airflow:run": "r1"},
        "token": None,
        "parent": None,
        "deleted": False,
    }
    assert (second["name"], second["region"]) == ("train-1", "eu-west-1")


def test_models_packages_and_endpoints_are_recorded_and_stay_when_they_are_deleted(local_sagemaker, sagemaker):
    create_model(sagemaker)
    create_endpoint_config(sagemaker)
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="config-1")
    sagemaker.delete_model(ModelName="model-1")
    create_model(sagemaker)
    sagemaker.create_model_package_group(ModelPackageGroupName="group-1")
    for _ in range(2):
        sagemaker.create_model_package(**package_request(ClientToken="t" * 32))

    made = by_kind(local_sagemaker)

    assert [(model["name"], model["deleted"]) for model in made["Model"]] == [("model-1", True), ("model-1", False)]
    assert [package["token"] for package in made["ModelPackage"]] == ["t" * 32]
    assert [endpoint["name"] for endpoint in made["Endpoint"]] == ["e"]
    assert [config["name"] for config in made["EndpointConfig"]] == ["config-1"]


def test_a_job_that_another_made_names_its_parent(local_sagemaker, sagemaker):
    arn = sagemaker.create_hyper_parameter_tuning_job(**tuning_request(total=2))["HyperParameterTuningJobArn"]
    wait_tuning(sagemaker, "tune-1")

    assert [job["parent"] for job in by_kind(local_sagemaker)["Training"]] == [arn, arn]


def test_a_refused_or_struck_call_makes_no_record(local_sagemaker, sagemaker):
    sagemaker.create_training_job(**training_request())
    with pytest.raises(ClientError):
        sagemaker.create_training_job(**training_request())
    local_sagemaker.fault("denied")
    with pytest.raises(ClientError):
        sagemaker.create_training_job(**training_request("other"))

    assert len(local_sagemaker.jobs()) == 1
    local_sagemaker.reset()
    assert local_sagemaker.jobs() == []


def test_every_run_of_a_function_is_recorded_with_its_payload(local_sagemaker):
    functions = local_sagemaker.client("lambda", config=ONCE)
    functions.create_function(
        FunctionName="f",
        Handler="index.echo",
        Runtime="python3.12",
        Role="arn:aws:iam::123456789012:role/service/r",
        Code={"ZipFile": archive(index=HANDLER)},
    )
    functions.invoke(FunctionName="f", Payload=b'{"a": 1}')
    functions.invoke(FunctionName="f", Payload=b'{"a": 2}', InvocationType="Event")
    functions.invoke(FunctionName="f", InvocationType="DryRun")
    local_sagemaker.fault("internal", operation="Invoke", after=True)
    with pytest.raises(ClientError):
        functions.invoke(FunctionName="f", Payload=b'{"a": 1}')

    runs = by_kind(local_sagemaker)["LambdaInvocation"]

    one, two = (hashlib.sha256(payload).hexdigest() for payload in (b'{"a": 1}', b'{"a": 2}'))
    assert [(run["name"], run["status"], run["payload_sha256"]) for run in runs] == [
        ("f", "RequestResponse", one),
        ("f", "Event", two),
        ("f", "RequestResponse", one),
    ]
    local_sagemaker.reset()
    assert local_sagemaker.jobs() == []


def test_emr_clusters_steps_and_serverless_runs_are_recorded(local_sagemaker):
    emr = local_sagemaker.client("emr")
    instances = {"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": True}
    step = {"Name": "s", "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar"}}
    cluster = emr.run_job_flow(
        Name="c", Instances=instances, Steps=[step], JobFlowRole="r", ServiceRole="r", Tags=[{"Key": "k", "Value": "v"}]
    )
    emr.add_job_flow_steps(JobFlowId=cluster["JobFlowId"], Steps=[step])
    serverless = local_sagemaker.client("emr-serverless")
    application = serverless.create_application(
        name="a", releaseLabel="emr-7.0.0", type="SPARK", clientToken="application-token"
    )
    run = {
        "applicationId": application["applicationId"],
        "executionRoleArn": "arn:aws:iam::123456789012:role/r",
        "clientToken": "run-token",
        "name": "j",
        "tags": {"k": "v"},
    }
    local_sagemaker.rule(kind="EMRServerlessApplication", duration=0)
    deadline = time.monotonic() + 10
    while serverless.get_application(applicationId=run["applicationId"])["application"]["state"] == "CREATING":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    serverless.start_job_run(**run)
    serverless.start_job_run(**run)

    made = by_kind(local_sagemaker)

    assert [(item["name"], item["tags"]) for item in made["EMRCluster"]] == [("c", {"k": "v"})]
    assert [(item["name"], item["parent"]) for item in made["EMR"]] == [("s", cluster["ClusterArn"])] * 2
    assert [(item["name"], item["token"]) for item in made["EMRServerlessApplication"]] == [("a", "application-token")]
    (job_run,) = made["EMRServerless"]
    assert (job_run["name"], job_run["token"], job_run["tags"]) == ("j", "run-token", {"k": "v"})
    assert job_run["parent"] == application["arn"]
    assert abs(job_run["created"] - time.time()) < 60


def test_call_details_tell_which_fault_struck_how_many_calls(local_sagemaker):
    client = local_sagemaker.client("sagemaker", config=ONCE)
    local_sagemaker.fault("throttle", operation="ListModels", times=2)
    local_sagemaker.fault("reset", operation="ListModels", times=1)
    for _ in range(5):
        with contextlib.suppress(ClientError, ConnectionClosedError):
            client.list_models()
    client.list_endpoints()

    details = ask(local_sagemaker, "/_local/calls/detail")

    assert 1 <= details["sagemaker.ListModels"].pop("peak_per_second") <= 5
    assert details == {
        "sagemaker.ListEndpoints": {"calls": 1, "peak_per_second": 1, "struck": {}},
        "sagemaker.ListModels": {"calls": 5, "struck": {"throttle": 2, "reset": 1}},
    }
    assert ask(local_sagemaker, "/_local/calls") == {"sagemaker.ListEndpoints": 1, "sagemaker.ListModels": 5}


def test_the_peak_is_the_most_calls_within_any_one_second():
    now = [0.0]
    log = CallLog(clock=lambda: now[0])
    for now[0] in (0.0, 0.9, 1.1, 1.5, 1.8, 7.0, 7.1):
        log.add(ApiCall("sagemaker", "ListModels"))

    assert log.details() == {"sagemaker.ListModels": {"calls": 7, "peak_per_second": 4, "struck": {}}}


def test_the_hook_is_called_before_the_work_and_before_the_answer(local_sagemaker, state, sagemaker, monkeypatch):
    seen = []

    def on_call(call, phase, environ):
        seen.append((str(call), phase, len(local_sagemaker.jobs()), environ["REMOTE_PORT"]))

    monkeypatch.setattr(state, "on_call", on_call)
    sagemaker.create_training_job(**training_request())
    port = seen[0][3]

    assert seen == [
        ("sagemaker.CreateTrainingJob", "before", 0, port),
        ("sagemaker.CreateTrainingJob", "after", 1, port),
    ]
    local_sagemaker.fault("denied")
    with pytest.raises(ClientError):
        sagemaker.create_training_job(**training_request("other"))
    assert [phase for _, phase, *_ in seen[2:]] == ["before"]
    local_sagemaker.faults.clear()
    local_sagemaker.fault("denied", after=True)
    with pytest.raises(ClientError):
        sagemaker.create_training_job(**training_request("other"))
    assert [phase for _, phase, *_ in seen[3:]] == ["before", "after"]


@pytest.mark.parametrize(
    ("phase", "drop", "made"),
    [("before", True, []), ("before", False, ["train-1"]), ("after", False, ["train-1"])],
)
def test_the_hook_can_kill_the_process_that_calls(local_sagemaker, state, monkeypatch, *, phase, drop, made):
    """The work of a call that has arrived is done, as on AWS, even if nobody waits for the answer; or it is dropped."""
    script = (
        "import json, os, boto3\n"
        "print(os.getpid(), flush=True); input()\n"
        "boto3.client('sagemaker').create_training_job(**json.loads(os.environ['REQUEST']))\n"
        "print('answered', flush=True)\n"
    )
    environment = {**os.environ, "REQUEST": json.dumps(training_request())}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pid = int(process.stdout.readline())

    def on_call(_call, at, _environ):
        if at == phase:
            os.kill(pid, signal.SIGKILL)
            process.wait(timeout=10)
            if drop:
                raise ConnectionAbortedError

    monkeypatch.setattr(state, "on_call", on_call)
    output, _ = process.communicate("go\n", timeout=60)

    assert (process.returncode, output) == (-signal.SIGKILL, "")
    until(lambda: [job["name"] for job in local_sagemaker.jobs()] == made)


def test_the_command_line_takes_a_seed(tmp_path):
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "airflow_sagemaker_pipelines.local", "--port", "0", "--port-file", str(port_file)]
    with subprocess.Popen([*command, "--seed", "7"], stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            until(port_file.exists, seconds=30)
            url = f"http://127.0.0.1:{int(port_file.read_text())}/_local/health"
            with urllib.request.urlopen(url, timeout=5) as response:
                assert json.load(response)["seed"] == 7
        finally:
            process.terminate()
