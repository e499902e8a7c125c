"""One run of one step against the local endpoint, without Airflow."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import botocore.session
from botocore.config import Config
from botocore.validate import ParamValidator

from airflow_sagemaker_pipelines.definition import Scope, load_definition
from airflow_sagemaker_pipelines.steps.execution import ExecutionVariables, PipelineExecution
from airflow_sagemaker_pipelines.steps.names import TaskIdentity
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.runner import StepRun

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
BUCKET = "sagemaker-us-east-1-123456789012"


class EndpointClients:
    """The clients of a local endpoint."""

    def __init__(self, endpoint, **config):
        self._endpoint = endpoint
        self._config = config
        self._clients = {}

    @property
    def region_name(self):
        return self._endpoint.region

    def __call__(self, service, *, repeats=True):
        if (service, repeats) not in self._clients:
            self._clients[service, repeats] = self.make(service, repeats=repeats)
        return self._clients[service, repeats]

    def make(self, service, *, repeats):
        once = {} if repeats else {"retries": {"total_max_attempts": 1}}
        return self._endpoint.client(service, config=Config(proxies={}, **{**self._config, **once}))


def step_run(endpoint, step, *, parameters=(), outputs=None, life=0, clients=None):
    """Return a run of the step; ``parameters`` are of type String unless they are pairs of value and type."""
    given = {name: value if isinstance(value, tuple) else (value, "String") for name, value in dict(parameters).items()}
    upstream = [{"Name": name, "Type": "Lambda", "FunctionArn": "f"} for name in outputs or {}]
    definition = load_definition(
        {
            "Version": "2020-12-01",
            "Parameters": [{"Name": name, "Type": kind} for name, (_, kind) in given.items()],
            "Steps": [*upstream, step],
        }
    )
    identity = TaskIdentity(
        dag_id="dag",
        run_id="scheduled__2026-01-01",
        task_id=step["Name"],
        life=life,
        execution_id="p4jn9xou8a8s",
        step_name=step["Name"],
    )
    execution = PipelineExecution(
        pipeline_name="pipeline",
        execution_id=identity.execution_id,
        start_time=datetime.now(UTC),
        region_name=endpoint.region,
        role_arn=ROLE,
    )
    scope = Scope(
        parameters={name: value for name, (value, _) in given.items()},
        execution=ExecutionVariables(execution, {}),
        outputs=outputs or {},
        steps=definition.all_steps,
    )
    return StepRun(
        step=definition.all_steps[step["Name"]],
        identity=identity,
        execution=execution,
        scope=scope,
        clients=clients or EndpointClients(endpoint),
    )


def start(run):
    """Start the step as its task does; the same identity each time."""
    runner = runner_of(run.step.type)
    return runner.start(run, runner.request(run))


def wait(run, state, seconds=10.0):
    """Poll until the end, as the trigger does, with the handle of the start."""
    runner, deadline = runner_of(run.step.type), time.monotonic() + seconds
    handle = state.handle
    while not state.verdict.is_final:
        assert time.monotonic() < deadline, f"still {state.verdict}"
        time.sleep(0.02)
        state = runner.poll(run.clients, handle)
    return state


def finish(run):
    """Start the step and wait for its end."""
    return wait(run, start(run))


def outputs_of(run, state):
    """Return what other steps may refer to."""
    return runner_of(run.step.type).outputs(run.clients, state)


def violations(service, operation, request):
    """Return what botocore's validator has against a request; empty when it is fine."""
    model = botocore.session.get_session().get_service_model(service)
    return ParamValidator().validate(request, model.operation_model(operation).input_shape).generate_report()
