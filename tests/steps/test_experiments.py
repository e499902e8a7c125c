"""PipelineExperimentConfig and MlflowConfig reach the jobs, against the local endpoint over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.steps import experiments
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from tests.integration.documents import IMAGE, processing, training
from tests.steps.types.step_runs import BUCKET, ROLE, EndpointClients, finish, start, violations
from tests.steps.types.step_runs import step_run as make_run

NAMES = {"ExperimentName": "abalone", "TrialName": "run-1"}
ARN = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABC"


@pytest.fixture(scope="module")
def clients(local_sagemaker_session):
    """Clients are expensive to make."""
    return EndpointClients(local_sagemaker_session)


@pytest.fixture(autouse=True)
def bucket(local_sagemaker, clients):
    clients("s3").create_bucket(Bucket=BUCKET)


@pytest.fixture
def sagemaker(local_sagemaker, clients):
    return clients("sagemaker")


@pytest.fixture
def run_of(local_sagemaker, clients):
    """Give a run of a step in an execution with an experiment."""

    def make(step, names=NAMES, clients=clients, **fields):
        run = make_run(local_sagemaker, step, clients=clients)
        return replace(run, scope=replace(run.scope, experiment=names), **fields)

    return make


def transform():
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in"}}}
    arguments = {
        "ModelName": "m",
        "TransformInput": source,
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    return {"Name": "Score", "Type": "Transform", "Arguments": arguments}


def calls(local_sagemaker):
    counts = local_sagemaker.calls()
    return counts.get("sagemaker.CreateExperiment", 0), counts.get("sagemaker.CreateTrial", 0)


@pytest.mark.parametrize("step", [processing("P"), training("T"), transform()], ids=lambda step: step["Type"])
def test_a_job_is_recorded_under_an_experiment_and_a_trial_that_its_step_has_made(sagemaker, run_of, step):
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})

    state = finish(run_of(step))

    assert state.description["ExperimentConfig"] == NAMES
    assert sagemaker.describe_trial(TrialName="run-1")["ExperimentName"] == "abalone"
    assert sagemaker.describe_experiment(ExperimentName="abalone")["ExperimentName"] == "abalone"


def test_the_display_name_in_the_definition_is_kept(run_of):
    config = {"ExperimentConfig": {"TrialComponentDisplayName": "first"}}

    state = finish(run_of(training("T", arguments=config)))

    assert state.description["ExperimentConfig"] == {**NAMES, "TrialComponentDisplayName": "first"}


def test_what_exists_is_used_by_other_steps_retries_and_runs(local_sagemaker, run_of):
    first = run_of(processing("P"))
    finish(first)
    finish(first)
    finish(run_of(training("T")))
    assert calls(local_sagemaker) == (1, 4)

    state = finish(run_of(training("U"), {**NAMES, "TrialName": "run-2"}))

    assert calls(local_sagemaker) == (1, 5)
    assert state.description["ExperimentConfig"]["TrialName"] == "run-2"


def test_another_task_may_make_the_experiment_first(local_sagemaker, sagemaker, run_of):
    run = run_of(processing("P"), clients=EndpointClients(local_sagemaker))
    client = run.clients("sagemaker")

    def make_it(**_):
        if calls(local_sagemaker) == (0, 1):
            sagemaker.create_experiment(ExperimentName="ABALONE")

    client.meta.events.register("before-call.sagemaker.CreateExperiment", make_it)

    assert finish(run).description["ExperimentConfig"] == NAMES


def test_without_an_experiment_nothing_is_made(local_sagemaker, run_of):
    state = finish(run_of(processing("P"), {}))

    assert "ExperimentConfig" not in state.description
    assert calls(local_sagemaker) == (0, 0)


def test_switched_off_nothing_is_made_and_no_display_name_is_sent(local_sagemaker, run_of):
    config = {"ExperimentConfig": {"TrialComponentDisplayName": "first"}}

    state = finish(run_of(training("T", arguments=config), uses_experiments=False))

    assert "ExperimentConfig" not in state.description
    assert calls(local_sagemaker) == (0, 0)


def test_a_job_without_a_place_for_it_goes_without(local_sagemaker, run_of):
    data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in"}}
    arguments = {
        "InputDataConfig": [{"DataSource": data, "TargetAttributeName": "y"}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/auto"},
    }

    start(run_of({"Name": "A", "Type": "AutoML", "Arguments": arguments}))

    assert calls(local_sagemaker) == (0, 0)


@pytest.mark.parametrize("name", ["a b", "-a", "a_b", "", "x" * 121])
def test_a_name_that_aws_does_not_take_fails_the_step_before_any_call(local_sagemaker, run_of, name):
    with pytest.raises(StepRequestError, match="the pipeline's TrialName is"):
        start(run_of(processing("P"), {**NAMES, "TrialName": name}))

    assert not any(call.startswith("sagemaker.Create") for call in local_sagemaker.calls())


@pytest.fixture
def refused_run(local_sagemaker, run_of):
    """Give a run in which AWS refuses a call."""

    def make(operation, code):
        run = run_of(processing("P"), clients=EndpointClients(local_sagemaker))
        return refusing(run, operation, code)

    return make


def refusing(run, operation, code):
    def refuse(**_):
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    run.clients("sagemaker").meta.events.register(f"before-call.sagemaker.{operation}", refuse)
    return run


@pytest.mark.parametrize("operation", ["CreateTrial", "CreateExperiment"])
@pytest.mark.parametrize("code", ["AccessDeniedException", "UnknownOperationException", "ValidationException"])
def test_a_refusal_names_the_switch(refused_run, operation, code):
    run = refused_run(operation, code)

    with pytest.raises(StepRequestError, match=rf"{operation} was refused with {code}.* pass experiments=False"):
        start(run)


def test_throttling_is_worth_another_try(refused_run):
    with pytest.raises(StepCallError, match="CreateTrial was refused with ThrottlingException"):
        start(refused_run("CreateTrial", "ThrottlingException"))


MLFLOW = {"MlflowResourceArn": ARN, "MlflowExperimentName": "abalone"}


def request_of(run):
    return runner_of(run.step.type).request(run)


def test_a_training_job_gets_the_mlflow_server_unless_it_names_one(run_of):
    own = {"MlflowResourceArn": ARN.replace("ABC", "own")}

    request = request_of(run_of(training("T"), mlflow=MLFLOW))

    assert request["MlflowConfig"] == MLFLOW
    assert not violations("sagemaker", "CreateTrainingJob", request)
    step = training("T", arguments={"MlflowConfig": own})
    assert request_of(run_of(step, mlflow=MLFLOW))["MlflowConfig"] == own


def test_nothing_else_gets_the_mlflow_server(run_of, monkeypatch):
    assert "MlflowConfig" not in request_of(run_of(processing("P"), mlflow=MLFLOW))
    assert "MlflowConfig" not in request_of(run_of(training("T")))

    # A botocore that does not know the member yet.
    known = experiments.input_members
    monkeypatch.setattr(experiments, "input_members", lambda *operation: known(*operation) - {"MlflowConfig"})
    assert "MlflowConfig" not in request_of(run_of(training("T"), mlflow=MLFLOW))
