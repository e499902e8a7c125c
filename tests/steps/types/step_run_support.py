"""Runs of steps that deploy, or that look at what upstream steps have made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from botocore.awsrequest import AWSResponse
from botocore.validate import validate_parameters

from airflow_sagemaker_pipelines.definition import Scope, load_definition
from airflow_sagemaker_pipelines.local.service_model import sagemaker_model
from airflow_sagemaker_pipelines.local.validation import validate
from airflow_sagemaker_pipelines.steps.execution import ExecutionVariables, PipelineExecution
from airflow_sagemaker_pipelines.steps.names import TaskIdentity, execution_id
from airflow_sagemaker_pipelines.steps.runner import StepRun
from tests.steps.types.step_runs import ROLE, EndpointClients, outputs_of, start, wait

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:1"
BUCKET = "bucket"

__all__ = [
    "BUCKET",
    "IMAGE",
    "ROLE",
    "begin",
    "check_request",
    "endpoint_config",
    "finish",
    "model",
    "outputs_of",
    "raw_answer",
    "step_run",
    "variant",
]


def step_run(endpoint, *steps, name=None, outputs=None, made=None, life=0, run_id="run-1", started_ago=0.0):
    """Return the run of the last step, or the one named."""
    definition = load_definition({"Version": "2020-12-01", "Steps": list(steps)})
    step = definition.all_steps[name or steps[-1]["Name"]]
    identity = TaskIdentity(
        dag_id="dag",
        run_id=run_id,
        task_id=step.name,
        life=life,
        execution_id=execution_id("dag", run_id, ""),
        step_name=step.name,
    )
    execution = PipelineExecution(
        pipeline_name="pipeline",
        execution_id=identity.execution_id,
        # A second for clocks that are rounded to milliseconds.
        start_time=datetime.now(UTC) - timedelta(seconds=1 + started_ago),
        region_name=endpoint.region,
        account_id="123456789012",
        role_arn=ROLE,
    )
    scope = Scope(
        execution=ExecutionVariables(execution, {}),
        outputs={} if outputs is None else outputs,
        steps=definition.all_steps,
        parameters={},
    )
    return StepRun(
        step=step,
        identity=identity,
        execution=execution,
        scope=scope,
        clients=EndpointClients(endpoint),
        made={} if made is None else made,
    )


def begin(run):
    """Start a step as its task does."""
    return start(run)


def finish(run, state=None):
    """Start a step unless it has been, and poll to its end."""
    return wait(run, state or start(run))


def check_request(operation, request):
    """Hold a request against the service model: members, types, and patterns and limits, which botocore leaves out."""
    shape = sagemaker_model().operation_model(operation).input_shape
    validate_parameters(request, shape)
    validate(shape, request)


def raw_answer(body, status):
    """Return an answer of AWS that never was on the wire, for a client's ``before-send`` event."""

    class Raw:
        def stream(self, *_, **__):
            yield body

    return AWSResponse("http://local", status, {}, Raw())


def model(endpoint, name="m"):
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    endpoint.client("sagemaker").create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)


def endpoint_config(endpoint, name, model_name="m"):
    endpoint.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant(model_name)]
    )


def variant(model_name="m", **more):
    return {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    } | more
