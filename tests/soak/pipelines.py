"""The pipelines that the soak runs, and their DAGs.

Steps have short names, so that a job's name tells the whole of it even where SageMaker allows 32 characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from airflow_sagemaker_pipelines import pipeline_dag
from tests.integration.documents import BUCKET, CLUSTER, IMAGE, ROLE, processing, training

#: How a DAG reaches AWS and waits: botocore repeats calls by itself, or it does not and logs are streamed, or a queue
#: of events tells of ended jobs.
VARIANTS = ("repeating", "once", "events")
QUEUE_NAME = "soak-events"
FUNCTION = "soak"
THRESHOLD = 0.5
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

#: What AWS or the way to it refuses is tried again as often as a definition can say.
_CALL_POLICY = {
    "ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"],
    "IntervalSeconds": 1,
    "BackoffRate": 1.0,
    "MaxAttempts": 20,
}
#: A job that has failed for want of instances is tried again.
_JOB_POLICY = {**_CALL_POLICY, "ExceptionType": [*_CALL_POLICY["ExceptionType"], "SageMaker.CAPACITY_ERROR"]}
#: Where SageMaker walks the graph, it does that by itself.
_CAPACITY_POLICY = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 1, "MaxAttempts": 3}
#: For steps that take no policies.
_AUTHOR = {"retries": 20}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One pipeline.

    :param steps: its steps; every one waits for the one before it.
    :param jobs: the steps that run a job, which may fail or be killed.
    :param overrides: arguments of operators.
    :param orchestrator: who walks the graph.
    """

    name: str
    steps: tuple[dict[str, Any], ...]
    jobs: tuple[str, ...] = ()
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    orchestrator: Literal["airflow", "sagemaker"] = "airflow"

    @property
    def names(self) -> tuple[str, ...]:
        """The steps' names, in their order."""
        return tuple(step["Name"] for step in self.steps)

    def dag_id(self, variant: str) -> str:
        """Return the id of one of its DAGs."""
        return f"{self.name}_{variant}"


def _get(reference: str) -> dict[str, str]:
    return {"Get": reference}


def _own(prefix: str) -> dict[str, Any]:
    """Return a name that only this run has."""
    return {"Std:Join": {"On": "-", "Values": [prefix, _get("Execution.PipelineExecutionId")]}}


def _step(kind: str, name: str, arguments: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "Arguments": arguments, **keys}


def _job(document: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return document | {"RetryPolicies": [_JOB_POLICY]} | keys


def _calls(kind: str, name: str, arguments: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return _step(kind, name, arguments, RetryPolicies=[_CALL_POLICY], **keys)


def _model() -> dict[str, Any]:
    return _calls("Model", "Model", {"PrimaryContainer": {"Image": IMAGE}})


def _s3(prefix: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}"}}


def _transform(name: str) -> dict[str, Any]:
    arguments = {
        "ModelName": _get("Steps.Model.ModelName"),
        "TransformInput": {"DataSource": _s3("in")},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    return _job(_step("Transform", name, arguments))


def _tuning(name: str) -> dict[str, Any]:
    definition = training(name)["Arguments"]
    definition["StaticHyperParameters"] = {"depth": "3"}
    definition["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "rmse", "Regex": "rmse=(.*)"}]
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "rmse"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0", "MaxValue": "1"}]},
    }
    return _job(_step("Tuning", name, {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": definition}))


def _auto_ml(name: str) -> dict[str, Any]:
    arguments = {
        "InputDataConfig": [{"DataSource": _s3("in"), "TargetAttributeName": "rings"}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/auto"},
        "AutoMLJobObjective": {"MetricName": "Accuracy"},
        "ProblemType": "BinaryClassification",
        "AutoMLJobConfig": {"Mode": "ENSEMBLING", "CompletionCriteria": {"MaxCandidates": 3}},
    }
    return _job(_step("AutoML", name, arguments))


def _spark(name: str) -> dict[str, Any]:
    application = {"name": "spark-app", "releaseLabel": "emr-6.15.0", "type": "SPARK"}
    job = {"jobDriver": {"sparkSubmit": {"entryPoint": f"s3://{BUCKET}/a.py"}}}
    arguments = {"ExecutionRoleArn": ROLE, "JobConfig": job, "ApplicationConfig": application}
    return _calls("EMRServerless", name, arguments)


def _register(name: str) -> dict[str, Any]:
    specification = {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    arguments = {"ModelPackageGroupName": _own("soak"), "InferenceSpecification": specification}
    return _calls("RegisterModel", name, arguments)


def _deployment() -> tuple[dict[str, Any], dict[str, Any]]:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": _get("Steps.Model.ModelName"),
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    config = _get("Steps.Config.EndpointConfigName")
    return (
        _calls("EndpointConfig", "Config", {"ProductionVariants": [variant]}),
        _step("Endpoint", "Deploy", {"EndpointName": _own("soak"), "EndpointConfigName": config}),
    )


def _evaluation() -> dict[str, Any]:
    # The report of this run, not of another one.
    uri = {"Std:Join": {"On": "/", "Values": [f"s3://{BUCKET}", _get("Execution.PipelineExecutionId")]}}
    target = {"S3Uri": uri, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    outputs = {"Outputs": [{"OutputName": "out", "S3Output": target}]}
    return _job(processing("Eval", arguments={"ProcessingOutputConfig": outputs}))


def _branch() -> dict[str, Any]:
    accuracy = {
        "Std:JsonGet": {"PropertyFile": _get("Steps.Eval.PropertyFiles.Report"), "Path": "accuracy"},
    }
    function = f"arn:aws:lambda:us-east-1:123456789012:function:{FUNCTION}"
    call = {
        "Name": "Call",
        "Type": "Lambda",
        "FunctionArn": function,
        "Arguments": {"execution": _get("Execution.PipelineExecutionId")},
        "OutputParameters": [{"OutputName": "answer", "OutputType": "Integer"}],
    }
    return _step(
        "Condition",
        "Check",
        {
            "Conditions": [{"Type": "GreaterThan", "LeftValue": accuracy, "RightValue": THRESHOLD}],
            "IfSteps": [call],
            "ElseSteps": [_step("Fail", "Reject", {"ErrorMessage": "The model is not good enough"})],
        },
    )


def _loop() -> dict[str, Any]:
    body = _job(training("Body"))
    return _step("ForEach", "Loop", {"IterableItems": ["a", "b"], "MaxConcurrency": 2, "ForEachBody": [body]})


SCENARIOS = (
    Scenario(
        name="train",
        steps=(_job(processing("Prep")), _job(training("Train"), DependsOn=["Prep"])),
        jobs=("Prep", "Train"),
    ),
    Scenario(name="register", steps=(_job(training("Train")), _register("Register")), jobs=("Train",)),
    Scenario(name="score", steps=(_model(), _transform("Score")), jobs=("Score",)),
    Scenario(name="tune", steps=(_tuning("Tune"),), jobs=("Tune",)),
    Scenario(name="automl", steps=(_auto_ml("Auto"),), jobs=("Auto",)),
    Scenario(name="deploy", steps=(_model(), *_deployment()), overrides={"Deploy": _AUTHOR}),
    Scenario(
        name="branch",
        steps=(_evaluation(), _branch()),
        jobs=("Eval",),
        overrides={"Check": _AUTHOR, "Call": _AUTHOR},
    ),
    Scenario(name="loop", steps=(_loop(),), overrides={"Loop": _AUTHOR, "Body": {"retries": 0}}),
    Scenario(name="spark", steps=(_spark("Spark"),), jobs=("Spark",)),
)


def _tells(step: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Have a step's job tell of its run, by its image: SageMaker gives executions ids that nobody knows before."""
    image = {"Std:Join": {"On": ":", "Values": [f"{REGISTRY}/soak", _get("Parameters.Run")]}}
    arguments = step["Arguments"]
    if step["Type"] == "Training":
        arguments["AlgorithmSpecification"]["TrainingImage"] = image
    else:
        arguments["AppSpecification"]["ImageUri"] = image
    return step | {"RetryPolicies": [_CAPACITY_POLICY]} | keys


def _watched(name: str, *steps: dict[str, Any], jobs: tuple[str, ...], retries: int = 60) -> Scenario:
    """Return a pipeline that SageMaker walks.

    :param retries: of each task of a step. A worker's death counts as one, and so does a call that AWS cannot answer;
        a try that has SageMaker run a step again makes seven.
    """
    overrides = {step["Name"]: {"retries": retries} for step in _all_steps(steps)}
    return Scenario(name=name, steps=steps, jobs=jobs, overrides=overrides, orchestrator="sagemaker")


def _all_steps(steps: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from step["Arguments"]["IfSteps"]
            yield from step["Arguments"]["ElseSteps"]


def _chain() -> tuple[dict[str, Any], ...]:
    return _tells(processing("Prep")), _tells(training("Train"), DependsOn=["Prep"])


def _watched_branch() -> tuple[dict[str, Any], ...]:
    check = _branch()
    check["Arguments"]["IfSteps"] = [_tells(training("Good"))]
    return _tells(_evaluation()), check


#: Those that SageMaker walks.
WATCHED = (
    _watched("watched-chain", *_chain(), jobs=("Prep", "Train")),
    # A failure is the last word here, until somebody clears it.
    _watched("watched-strict", *_chain(), jobs=("Prep", "Train"), retries=0),
    _watched(
        "watched-parallel",
        _tells(training("Left")),
        _tells(training("Right")),
        _tells(processing("Join"), DependsOn=["Left", "Right"]),
        jobs=("Left", "Right", "Join"),
    ),
    _watched("watched-branch", *_watched_branch(), jobs=("Eval",)),
)


def dag(name: str, variant: str, queue_url: str) -> Any:
    """Make one of a scenario's DAGs, for its DAG file.

    :param queue_url: the queue of events about jobs.
    """
    (scenario,) = (each for each in (*SCENARIOS, *WATCHED) if each.name == name)
    arguments: dict[str, Any] = {"default_args": {"retry_delay": timedelta(seconds=1)}}
    if variant == "events":
        arguments |= {"waiting": "events", "event_queue_url": queue_url}
    if scenario.orchestrator == "sagemaker":
        arguments["parameters"] = {"Run": "{{ run_id }}"}
        # The start makes several calls, any of which may fail.
        arguments["default_args"] |= _AUTHOR
    declared = [{"Name": "Run", "Type": "String"}] if scenario.orchestrator == "sagemaker" else []
    return pipeline_dag(
        scenario.dag_id(variant),
        {"Version": "2020-12-01", "Parameters": declared, "Steps": list(scenario.steps)},
        orchestrator=scenario.orchestrator,
        role_arn=ROLE,
        aws_conn_id="aws_once" if variant == "once" else "aws_default",
        poll_interval=2,
        stream_logs=variant == "once",
        overrides=dict(scenario.overrides),
        schedule=None,
        max_active_runs=100,
        **arguments,
    )


__all__ = ["CLUSTER", "FUNCTION", "QUEUE_NAME", "SCENARIOS", "VARIANTS", "WATCHED", "Scenario", "dag"]
