"""What users of SageMaker operators suffer from, one test for each of the fifteen pains.

Each runs tasks as Airflow's own task runner does, against the local endpoint over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_sagemaker_pipelines import load_definition
from airflow_sagemaker_pipelines.definition.steps import UNDOCUMENTED_STEP_TYPES, StepType
from airflow_sagemaker_pipelines.operators.step import MAX_WAIT_SECONDS
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import VERDICTS, Verdict, verdict
from tests.integration.documents import dag_of, job_names, processing, training
from tests.operators.worker import Server, Worker, event_of

CORPUS = Path(__file__).parent.parent / "corpus"
READS_MODEL = {
    "ProcessingInputs": [
        {
            "InputName": "model",
            "S3Input": {
                "S3Uri": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
                "LocalPath": "/opt/ml/processing/model",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
    ]
}


@pytest.fixture
def server(local_sagemaker, monkeypatch):
    running = Server()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", running, raising=False)
    return running


def calls(local_sagemaker, *operations):
    return {operation: local_sagemaker.calls().get(f"sagemaker.{operation}", 0) for operation in operations}


def status(local_sagemaker, name):
    return local_sagemaker.client("sagemaker").describe_training_job(TrainingJobName=name)["TrainingJobStatus"]


def test_pain_01_a_retry_starts_no_second_job(local_sagemaker, server):
    worker = Worker(dag_of(training("Train"), default_args={"retries": 1}), server)
    # The worker dies after the call, and Airflow hears no more of the first try.
    first = worker.start("Train")

    assert worker.run("Train", try_number=2).state == "success"

    assert job_names(local_sagemaker, "training") == [first.trigger.handle["name"]]


def test_pain_02_no_job_outlives_its_task(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=3600)
    worker = Worker(dag_of(training("Killed"), training("Waiting"), training("Late")), server)
    # Killed on the worker, killed while it waits, and out of time.
    on_worker = worker.start("Killed")
    server.states["Killed"] = "failed"
    on_worker.task.on_kill()
    waiting = worker.start("Waiting")
    asyncio.run(waiting.trigger.on_kill())
    late = worker.start("Late")
    event = event_of(type(late.trigger)(**late.trigger.serialize()[1] | {"deadline": time.time()}))
    ended = worker.resume(late, event, "Late")

    assert "ran out of time" in str(ended.error)
    jobs = job_names(local_sagemaker, "training")
    assert len(jobs) == 3
    assert {status(local_sagemaker, name) for name in jobs} <= {"Stopping", "Stopped"}


@pytest.mark.parametrize("shape", sorted(VERDICTS))
def test_pain_03_no_verdict_but_success_is_success(shape):
    succeeded = {"Completed", "Succeeded", "InService", "COMPLETED", "SUCCESS", "CREATED", "STARTING", "STARTED"}
    succeeded |= {
        "ApplicationState": {"STOPPED"},
        "ModelApprovalStatus": {"Approved"},
        # All its failures were handled; the status itself tells it from Succeeded.
        "PipelineExecutionStatus": {"CompletedWithFailures"},
    }.get(shape, set())

    assert {status for status in VERDICTS[shape] if verdict(shape, status) is Verdict.SUCCEEDED} <= succeeded
    for unheard_of in (None, "", "CompletedWithDoubts", "Sleeping", 7):
        assert verdict(shape, unheard_of) is Verdict.UNKNOWN


def test_pain_04_a_failure_names_step_reason_job_and_log(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data, exit code: 1")
    worker = Worker(dag_of(training("Train")), server)

    error = str(worker.run("Train").error)

    (job,) = job_names(local_sagemaker, "training")
    first, *log = error.splitlines()
    assert first.startswith(
        f"Step 'Train' failed: AlgorithmError: no data, exit code: 1 (training job {job}, attempt 1"
    )
    assert "log: https://us-east-1.console.aws.amazon.com/cloudwatch/" in first
    assert any("AlgorithmError: no data" in line for line in log)


def test_pain_05_throttling_is_waited_out(local_sagemaker, server):
    dag = dag_of(training("Train"), botocore_config={"retries": {"total_max_attempts": 1}})
    worker = Worker(dag, server)
    waiting = worker.start("Train")
    local_sagemaker.fault(fault="throttle", operation="DescribeTrainingJob", times=3)

    event = event_of(waiting.trigger)

    assert event["verdict"] == "succeeded"


def test_pain_06_a_run_is_resumed_from_the_step_that_failed(local_sagemaker, server):
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="AlgorithmError: flaky", times=1)
    dag = dag_of(training("Train"), processing("Evaluate", arguments=READS_MODEL))
    worker = Worker(dag, server)
    worker.run("Train")
    assert worker.run("Evaluate").state != "success"

    # What a clear of the failed task does.
    again = worker.run("Evaluate", try_number=2, max_tries=dag.get_task("Evaluate").retries + 1)

    assert again.state == "success"
    assert len(job_names(local_sagemaker, "training")) == 1
    assert len(job_names(local_sagemaker)) == 2


@pytest.mark.parametrize("file", ["abalone-hyperparameter-tuning.json", "nlp-earnings-two-conditions.json"])
def test_pain_07_a_pipeline_is_no_opaque_box(file):
    definition = load_definition(CORPUS / file)

    dag = dag_of(*json.loads((CORPUS / file).read_text())["Steps"], declared=_declared(file))

    assert set(dag.task_dict) == set(definition.all_steps)
    edges = {(up, task_id) for task_id, task in dag.task_dict.items() for up in task.upstream_task_ids}
    assert edges == {(up, name) for name, ups in definition.graph.upstreams.items() for up in ups}


def _declared(file):
    return json.loads((CORPUS / file).read_text())["Parameters"]


def test_pain_08_waiting_is_neither_blind_nor_short(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", duration=1.0)
    worker = Worker(dag_of(training("Train"), stream_logs=True), server)
    waiting = worker.start("Train")
    trigger, lines = waiting.trigger, []
    trigger.__dict__["_log"] = _Recorder(lines)

    assert trigger.deadline == pytest.approx(time.time() + MAX_WAIT_SECONDS, abs=60)
    # A triggerer that starts anew does not begin to count anew.
    again = type(trigger)(**trigger.serialize()[1])
    assert again.deadline == trigger.deadline
    assert event_of(trigger)["verdict"] == "succeeded"
    assert any("the code of training job" in line for line in lines)


class _Recorder:
    def __init__(self, lines):
        self._lines = lines

    def info(self, message, *args):
        self._lines.append(message % args)

    warning = info


def test_pain_09_what_was_made_is_known_at_once_and_downstream_uses_its_real_name(local_sagemaker, server):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="InternalServerError: oops", times=1)
    dag = dag_of(training("Train"), processing("Evaluate", arguments=READS_MODEL), default_args={"retries": 2})
    worker = Worker(dag, server)

    worker.run("Train")
    waiting = worker.start("Train", try_number=2)

    # The second try's job has another name than the first's, which nobody has to guess.
    assert server.xcom("Train", "sagemaker_resource") == waiting.trigger.handle
    worker.resume(waiting, event_of(waiting.trigger), "Train", try_number=2)
    worker.run("Evaluate")
    (job,) = job_names(local_sagemaker)
    described = local_sagemaker.client("sagemaker").describe_processing_job(ProcessingJobName=job)
    assert waiting.trigger.handle["name"] in described["ProcessingInputs"][0]["S3Input"]["S3Uri"]


@pytest.mark.parametrize("step_type", sorted(set(StepType) - UNDOCUMENTED_STEP_TYPES - {StepType.FOR_EACH}))
def test_pain_10_every_kind_of_step_can_run(step_type):
    assert runner_of(step_type).step_type == step_type


def test_pain_11_nothing_is_deployed_and_wrong_parameters_are_told_before_any_call(local_sagemaker, server):
    declared = [{"Name": "Epochs", "Type": "Integer", "DefaultValue": 3}]
    worker = Worker(dag_of(training("Train"), declared=declared, parameters={"Epochs": "{{ 'many' }}"}), server)

    outcome = worker.start("Train")

    assert outcome.state == "failed"
    assert "Epochs" in str(outcome.error)
    assert local_sagemaker.calls() == {}
    # An edited definition needs no step of its own either: the next run has it.
    edited = Worker(dag_of(training("TrainMore"), declared=declared), server, run_id="the next one")
    assert edited.run("TrainMore").state == "success"
    assert not any("Pipeline" in operation for operation in local_sagemaker.calls())


def test_pain_12_logs_of_other_jobs_come_from_the_jobs_own_region_by_few_calls(local_sagemaker, server):
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="AlgorithmError: broken")
    worker = Worker(dag_of(processing("Evaluate"), region_name="eu-west-3"), server)

    error = str(worker.run("Evaluate").error)

    assert "region=eu-west-3" in error
    assert "[algo-1 " in error
    asked = {name: count for name, count in local_sagemaker.calls().items() if name.startswith("logs.")}
    assert asked == {"logs.DescribeLogStreams": 1, "logs.GetLogEvents": 1}


def test_pain_13_boto3_is_all_that_is_needed():
    required = {
        requirement.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip().lower()
        for distribution in distributions(name="airflow-provider-sagemaker-pipelines")
        for requirement in distribution.requires or ()
    }
    assert not required & {"aiobotocore", "sagemaker", "aioboto3", "s3fs"}
    script = (
        "import sys, airflow_sagemaker_pipelines.triggers.step, airflow_sagemaker_pipelines.operators.step\n"
        "from airflow_sagemaker_pipelines.steps.registry import runner_of; runner_of('Training')\n"
        "sys.exit(bool({'aiobotocore', 'sagemaker'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == 0


def test_pain_14_results_are_plain_json_with_links_and_outlets_get_their_events(local_sagemaker, server):
    from airflow.sdk import Asset

    dag = dag_of(training("Train"), overrides={"Train": {"outlets": [Asset("s3://lake/model")]}})
    worker = Worker(dag, server)

    waiting = worker.start("Train")
    done = worker.resume(waiting, event_of(waiting.trigger), "Train")

    assert server.xcom("Train") == json.loads(json.dumps(server.xcom("Train")))
    assert server.xcom("Train", "_link_console").startswith("https://us-east-1.console.aws.amazon.com/")
    assert server.xcom("Train", "_link_logs")
    # Asset events come from workers only, so the task does not end in the triggerer.
    assert waiting.trigger.ends_task is False
    assert [asset.name for asset in done.message.task_outlets] == ["s3://lake/model"]


def test_pain_15_what_is_registered_is_registered_once(local_sagemaker, server):
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "abalone",
            "InferenceSpecification": {
                "Containers": [{"Image": "image", "ModelDataUrl": "s3://lake/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }
    model = {
        "Name": "Create",
        "Type": "Model",
        "Arguments": {"PrimaryContainer": {"Image": "image", "ModelDataUrl": "s3://lake/model.tar.gz"}},
    }
    dag = dag_of(register, model, default_args={"retries": 1})
    # Each answer is lost once, then the worker, and the next try finds what there is.
    local_sagemaker.fault(fault="reset", operation="^Create(ModelPackage|Model)$", after=True, times=2)
    worker = Worker(dag, server)
    for task_id in ("Register", "Create"):
        worker.run(task_id)
        assert worker.run(task_id, try_number=2).state == "success"

    sagemaker = local_sagemaker.client("sagemaker")
    packages = sagemaker.list_model_packages(ModelPackageGroupName="abalone")["ModelPackageSummaryList"]
    assert [package["ModelPackageVersion"] for package in packages] == [1]
    assert len(sagemaker.list_models()["Models"]) == 1
