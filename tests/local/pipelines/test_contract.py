"""Every answer about pipelines is what botocore's own service model says, to the last member."""

from __future__ import annotations

import json

import pytest
from pipeline_support import Client, after, compare, condition, fail, get, parameter, process, train
from test_endpoint_contract import violations

from airflow_sagemaker_pipelines.local.operations import operations
from airflow_sagemaker_pipelines.local.service_model import sagemaker_model

PIPELINE_OPERATIONS = {name for name in sagemaker_model().operation_names if "Pipeline" in name}


class Watch:
    """Checks every answer of a client as it comes over the wire, before boto3 drops what it does not know."""

    def __init__(self, client):
        self.operations = set()
        self.violations = []
        client.meta.events.register("before-parse.sagemaker", self._check)

    def _check(self, operation_model, response_dict, **_):
        document = json.loads(response_dict["body"])
        if response_dict["status_code"] == 200:
            self.operations.add(operation_model.name)
            self.violations += violations(operation_model.output_shape, document, operation_model.name)


@pytest.fixture
def client(local_sagemaker):
    return local_sagemaker.client("sagemaker")


def test_all_operations_of_pipelines_are_here():
    assert set(operations()) >= PIPELINE_OPERATIONS


def test_answers_are_in_shape(local_sagemaker, client):
    watch, pipelines = Watch(client), Client(local_sagemaker, client)
    sqs = local_sagemaker.client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    local_sagemaker.rule(name="-Bad-", outcome="Failed", reason="AlgorithmError: x" * 200)
    item = {"Environment": {"ITEM": get("ForEach.CurrentItem")}}
    body = train("Body", arguments=item)
    loop = {"IterableItems": ["a"], "MaxConcurrency": 1, "ForEachBody": [body]}
    cached = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}
    arn = pipelines.create(
        train("Bad", RetryPolicies=[{"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"]}]),
        process("Handler", DependsOn=after(Bad="Any")),
        process("Good", DisplayName="shown", Description="why", **cached),
        {"Name": "Loop", "Type": "ForEach", "Arguments": loop},
        {"Name": "Call", "Type": "Callback", "SqsQueueUrl": url, "Arguments": {}},
        {"Name": "Call2", "Type": "Callback", "SqsQueueUrl": url, "Arguments": {}},
        condition("Check", compare(get("Parameters.N"), 1), yes=[fail("No")]),
        Parameters=[parameter("N", "Integer", DefaultValue=2)],
        PipelineExperimentConfig={"ExperimentName": "e", "TrialName": get("Execution.PipelineExecutionId")},
        MlflowConfig={
            "MlflowResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/a",
            "MlflowExperimentName": "m",
        },
        request={"PipelineVersionAliases": ["a"], "ParallelismConfiguration": {"MaxParallelExecutionSteps": 9}},
    )
    execution = pipelines.start(PipelineExecutionDescription="d", MlflowExperimentName="other")
    calls = [
        pipelines.until_step(execution, name)["Metadata"]["Callback"]["CallbackToken"] for name in ("Call", "Call2")
    ]
    client.send_pipeline_execution_step_success(CallbackToken=calls[0], OutputParameters=[{"Name": "a", "Value": "b"}])
    client.send_pipeline_execution_step_failure(CallbackToken=calls[1])
    pipelines.ended(execution)
    client.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)
    client.describe_pipeline_definition_for_execution(PipelineExecutionArn=execution)
    client.update_pipeline_execution(PipelineExecutionArn=execution, PipelineExecutionDisplayName="n")
    pipelines.retry(execution)
    pipelines.until_step(execution, "Call2")
    pipelines.until_step(execution, "Bad", "Failed")
    pipelines.stop(execution)
    token = pipelines.steps(execution)["Call2"]["Metadata"]["Callback"]["CallbackToken"]
    client.send_pipeline_execution_step_failure(CallbackToken=token)
    pipelines.ended(execution)
    config = {"SelectedSteps": [{"StepName": "Handler"}], "SourcePipelineExecutionArn": execution}
    selective = pipelines.ended(pipelines.start(SelectiveExecutionConfig=config))
    client.update_pipeline_version(PipelineArn=arn, PipelineVersionId=1, PipelineVersionDescription="v")
    pipelines.update(process("P"))
    client.describe_pipeline(PipelineName=arn)
    for method in ("list_pipelines", "list_pipeline_versions", "list_pipeline_executions"):
        getattr(client, method)(**({} if method == "list_pipelines" else {"PipelineName": "pipe"}))
    steps = {**pipelines.steps(execution), **pipelines.steps(selective)}
    client.delete_pipeline(PipelineName="pipe")

    assert watch.violations == []
    assert watch.operations == PIPELINE_OPERATIONS
    assert set(steps) >= {"Bad", "Handler", "Good", "Loop", "Body-0", "Call", "Check"}
    assert len(steps["Bad"]["FailureReason"]) == 1024
