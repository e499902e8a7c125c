"""One step of each type, what it is to make on AWS, and the calls that this takes."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from airflow_sagemaker_pipelines.local.records import records
from tests.integration.documents import processing, training
from tests.steps.test_cache import auto_ml, clarify_check, quality_check, transform, tuning
from tests.steps.types.step_run_support import IMAGE, endpoint_config, model, variant
from tests.steps.types.step_runs import BUCKET, ROLE, finish, step_run

INSTANCES = [{"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}]
EMR_CONFIG = {"ReleaseLabel": "emr-6.6.0", "Instances": {"InstanceGroups": INSTANCES}}
SERVERLESS = {"name": "spark-app", "releaseLabel": "emr-6.15.0", "type": "SPARK"}
CACHED = {"CacheConfig": {"Enabled": True}}
#: What is made on something else.
PARTS = {"EMR", "EMRServerless"}
EXPERIMENT = {"ExperimentName": "abalone", "TrialName": "run-1"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One step and what exactly once means for it."""

    name: str
    step: Callable[..., dict]
    """Makes the step's document from what ``arrange`` has returned."""
    wanted: dict[str, int]
    """What the step makes, by kind."""
    starts: tuple[str, ...]
    """The calls of a first start."""
    finds: tuple[str, ...]
    """The calls of a start that finds what an earlier try has made and that has succeeded since."""
    arrange: Callable = lambda endpoint: None
    count: Callable = lambda endpoint: {}
    """Counts what the endpoint's records do not hold."""
    at_least_once: bool = False
    experiment: dict = field(default_factory=dict)

    def __str__(self):
        return self.name

    def run(self, endpoint, arranged, clients):
        """Return a run of the step; the same task every time."""
        run = step_run(endpoint, self.step(arranged), clients=clients)
        # What the case arranges belongs to the run, such as an endpoint that has failed.
        execution = replace(run.execution, start_time=run.execution.start_time - timedelta(minutes=1))
        return replace(run, execution=execution, scope=replace(run.scope, experiment=self.experiment))

    def made(self, endpoint):
        """Count what there is, by kind."""
        # Not what a job itself makes, such as the training jobs of a tuning job.
        own = (record["kind"] for record in records() if not record["parent"] or record["kind"] in PARTS)
        return Counter(own) + Counter(self.count(endpoint))


def plain(document):
    return lambda _: document


def bucket(endpoint):
    endpoint.client("s3").create_bucket(Bucket=BUCKET)


def a_model(endpoint):
    bucket(endpoint)
    model(endpoint)
    endpoint.client("s3").put_object(Bucket=BUCKET, Key="config/analysis_config.json", Body=b"{}")


def configurations(endpoint):
    model(endpoint)
    for name in ("blue", "green"):
        endpoint_config(endpoint, name)


def an_endpoint(endpoint):
    configurations(endpoint)
    client = endpoint.client("sagemaker")
    client.create_endpoint(EndpointName="live", EndpointConfigName="blue")
    client.get_waiter("endpoint_in_service").wait(EndpointName="live", WaiterConfig={"Delay": 0.02, "MaxAttempts": 200})


def deploy(config):
    return plain({"Name": "D", "Type": "Endpoint", "Arguments": {"EndpointName": "live", "EndpointConfigName": config}})


def a_failed_endpoint(endpoint):
    configurations(endpoint)
    endpoint.rule(kind="Endpoint", outcome="Failed", times=1)
    finish(step_run(endpoint, deploy("blue")(None)))


def a_component(endpoint):
    an_endpoint(endpoint)
    finish(step_run(endpoint, component(2)(None)))


def component(cores):
    resources = {"NumberOfCpuCoresRequired": cores, "MinMemoryRequiredInMb": 1024}
    arguments = {
        "InferenceComponentName": "ic",
        "EndpointName": "live",
        "VariantName": "AllTraffic",
        "Specification": {"ModelName": "m", "ComputeResourceRequirements": resources},
        "RuntimeConfig": {"CopyCount": 1},
    }
    return plain({"Name": "C", "Type": "InferenceComponent", "Arguments": arguments})


def package(**names):
    specification = {
        "Containers": [{"Image": IMAGE}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    arguments = {"InferenceSpecification": specification, **names}
    return plain({"Name": "Register", "Type": "RegisterModel", "Arguments": arguments})


def a_cluster(endpoint):
    emr = endpoint.client("emr")
    instances = EMR_CONFIG["Instances"] | {"KeepJobFlowAliveWhenNoSteps": True}
    cluster = emr.run_job_flow(Name="shared", ReleaseLabel="emr-6.6.0", Instances=instances)["JobFlowId"]
    emr.get_waiter("cluster_running").wait(ClusterId=cluster, WaiterConfig={"Delay": 0.02, "MaxAttempts": 200})
    return cluster


def emr_step(**arguments):
    config = {"HadoopJarStep": {"Jar": "command-runner.jar"}}
    return {"Name": "Spark", "Type": "EMR", "Arguments": {"StepConfig": config, **arguments}}


def an_application(endpoint):
    endpoint.rule(kind="EMRServerlessApplication", name="shared", duration=0)
    return endpoint.client("emr-serverless").create_application(**SERVERLESS | {"name": "shared"})["applicationId"]


def serverless(**arguments):
    job = {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://b/a.py"}}}
    return {
        "Name": "Spark",
        "Type": "EMRServerless",
        "Arguments": {"ExecutionRoleArn": ROLE, "JobConfig": job, **arguments},
    }


def a_function(endpoint):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("code.py", "def handler(event, context):\n    return {'n': 1}\n")
    return endpoint.client("lambda").create_function(
        FunctionName="sagemaker-f",
        Runtime="python3.12",
        Role=ROLE,
        Handler="code.handler",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]


def a_queue(endpoint):
    return endpoint.client("sqs").create_queue(QueueName="sagemaker-work")["QueueUrl"]


def a_fifo_queue(endpoint):
    attributes = {"FifoQueue": "true"}
    return endpoint.client("sqs").create_queue(QueueName="sagemaker-work.fifo", Attributes=attributes)["QueueUrl"]


def callback(queue):
    return {"Name": "Cb", "Type": "Callback", "SqsQueueUrl": queue, "Arguments": {}}


def messages(name):
    def count(endpoint):
        sqs = endpoint.client("sqs")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return {"Message": int(attributes["ApproximateNumberOfMessages"])}

    return count


def experiments(endpoint):
    client = endpoint.client("sagemaker")
    return {
        "Experiment": len(client.list_experiments()["ExperimentSummaries"]),
        "Trial": len(client.list_trials()["TrialSummaries"]),
    }


LINEAGE = {
    "Name": "Lineage",
    "Type": "Lineage",
    "Arguments": {
        "Actions": [{"ActionName": "a", "ActionType": "Evaluation", "Source": {"SourceUri": "s3://b/run"}}],
        "Artifacts": [{"ArtifactName": "art", "ArtifactType": "Model", "Source": {"SourceUri": "s3://b/m"}}],
        "Contexts": [{"ContextName": "ctx", "ContextType": "Run", "Source": {"SourceUri": "s3://b/ctx"}}],
        "Associations": [
            {"Source": {"Name": "a", "Type": "Action"}, "Destination": {"Name": "art", "Type": "Artifact"}}
        ],
    },
}


def uncached(document):
    return {key: value for key, value in document.items() if key != "CacheConfig"}


def job(kind, operation, document, **more):
    return Case(
        name=kind,
        step=plain(document),
        wanted={kind: 1},
        starts=(f"Create{operation}",),
        finds=(f"Create{operation}", f"Describe{operation}"),
        **{"arrange": bucket, **more},
    )


CATEGORY_JOB = {
    "Name": "Evaluate",
    "Type": "Job",
    "Arguments": {"JobCategory": "AgentRFTEvaluation", "JobConfigSchemaVersion": "1.0.0", "JobConfigDocument": "{}"},
}
GROUP = ("DescribeModelPackageGroup", "CreateModelPackageGroup")
REGISTER = ("CreateModelPackage", "DescribeModelPackage")
CONFIG = {"Name": "Config", "Type": "EndpointConfig", "Arguments": {"ProductionVariants": [variant()]}}

CASES = (
    job("Training", "TrainingJob", training("Train")),
    job("Processing", "ProcessingJob", processing("Prepare")),
    job("Transform", "TransformJob", uncached(transform()), arrange=a_model),
    job("Tuning", "HyperParameterTuningJob", uncached(tuning())),
    job("AutoML", "AutoMLJob", uncached(auto_ml())),
    job("Job", "Job", CATEGORY_JOB),
    Case(
        name="in an experiment",
        step=plain(training("Train")),
        arrange=bucket,
        experiment=EXPERIMENT,
        wanted={"Training": 1, "Experiment": 1, "Trial": 1},
        count=experiments,
        starts=("CreateTrial", "CreateExperiment", "CreateTrainingJob"),
        finds=("CreateTrial", "CreateTrainingJob", "DescribeTrainingJob"),
    ),
    Case(
        name="cached",
        step=plain(training("Train", **CACHED)),
        arrange=bucket,
        wanted={"Training": 1},
        starts=("DescribeTrainingJob", "ListTrainingJobs", "CreateTrainingJob"),
        finds=("DescribeTrainingJob", "CreateTrainingJob"),
    ),
    Case(
        name="quality check",
        step=plain(uncached(quality_check())),
        arrange=bucket,
        wanted={"Processing": 1},
        starts=("CreateProcessingJob",),
        finds=("CreateProcessingJob", "DescribeProcessingJob"),
    ),
    Case(
        name="clarify check",
        step=plain(uncached(clarify_check())),
        arrange=a_model,
        wanted={"Processing": 1},
        starts=("GetObject", "PutObject", "CreateProcessingJob"),
        finds=("GetObject", "PutObject", "CreateProcessingJob", "DescribeProcessingJob"),
    ),
    Case(
        name="model",
        step=plain({"Name": "M", "Type": "Model", "Arguments": {"PrimaryContainer": {"Image": IMAGE}}}),
        wanted={"Model": 1},
        starts=("CreateModel", "DescribeModel"),
        finds=("CreateModel", "DescribeModel"),
    ),
    Case(
        name="model package in a group",
        step=package(ModelPackageGroupName="abalone"),
        wanted={"ModelPackage": 1, "ModelPackageGroup": 1},
        starts=(*GROUP, *REGISTER),
        finds=(GROUP[0], *REGISTER),
    ),
    Case(
        name="model package",
        step=package(ModelPackageName="p"),
        wanted={"ModelPackage": 1},
        starts=REGISTER,
        finds=REGISTER,
    ),
    Case(
        name="endpoint configuration",
        step=plain(CONFIG),
        arrange=model,
        wanted={"EndpointConfig": 1},
        starts=("CreateEndpointConfig", "DescribeEndpointConfig"),
        finds=("CreateEndpointConfig", "DescribeEndpointConfig"),
    ),
    Case(
        name="new endpoint",
        step=deploy("blue"),
        arrange=configurations,
        wanted={"Endpoint": 1},
        starts=("DescribeEndpoint", "CreateEndpoint"),
        finds=("DescribeEndpoint",),
    ),
    Case(
        name="updated endpoint",
        step=deploy("green"),
        arrange=an_endpoint,
        wanted={},
        starts=("DescribeEndpoint", "UpdateEndpoint"),
        finds=("DescribeEndpoint",),
    ),
    Case(
        name="replaced endpoint",
        step=deploy("blue"),
        arrange=a_failed_endpoint,
        wanted={"Endpoint": 1},
        starts=("DescribeEndpoint", "DeleteEndpoint", "CreateEndpoint"),
        finds=("DescribeEndpoint",),
    ),
    Case(
        name="new inference component",
        step=component(2),
        arrange=an_endpoint,
        wanted={"InferenceComponent": 1},
        starts=("DescribeInferenceComponent", "CreateInferenceComponent"),
        finds=("DescribeInferenceComponent",),
    ),
    Case(
        name="updated inference component",
        step=component(1),
        arrange=a_component,
        wanted={},
        starts=("DescribeInferenceComponent", "UpdateInferenceComponent"),
        finds=("DescribeInferenceComponent",),
    ),
    Case(
        name="step on a shared cluster",
        step=lambda cluster: emr_step(ClusterId=cluster),
        arrange=a_cluster,
        wanted={"EMR": 1},
        starts=("ListSteps", "AddJobFlowSteps"),
        finds=("ListSteps", "DescribeStep"),
    ),
    Case(
        name="step with a cluster of its own",
        step=plain(emr_step(ClusterConfig=EMR_CONFIG)),
        wanted={"EMR": 1, "EMRCluster": 1},
        starts=("ListClusters", "RunJobFlow"),
        finds=("ListClusters", "ListSteps", "DescribeStep"),
    ),
    Case(
        name="run on a shared application",
        step=lambda application: serverless(ApplicationId=application),
        arrange=an_application,
        wanted={"EMRServerless": 1},
        starts=("StartJobRun", "GetJobRun"),
        finds=("StartJobRun", "GetJobRun"),
    ),
    Case(
        name="run on an application of its own",
        step=plain(serverless(ApplicationConfig=SERVERLESS)),
        arrange=lambda endpoint: endpoint.rule(kind="EMRServerlessApplication", duration=0) and None,
        wanted={"EMRServerless": 1, "EMRServerlessApplication": 1},
        starts=("CreateApplication", "GetApplication", "ListJobRuns", "StartJobRun", "GetJobRun"),
        finds=("CreateApplication", "GetApplication", "ListJobRuns", "GetJobRun"),
    ),
    Case(
        name="lineage",
        step=plain(LINEAGE),
        wanted={"Action": 1, "Artifact": 1, "Context": 1, "Association": 1},
        starts=("CreateAction", "ListArtifacts", "CreateArtifact", "CreateContext", "AddAssociation"),
        finds=("CreateAction", "DescribeAction", "ListArtifacts", "CreateContext", "DescribeContext", "AddAssociation"),
    ),
    Case(
        name="function",
        step=lambda function: {"Name": "F", "Type": "Lambda", "FunctionArn": function, "Arguments": {}},
        arrange=a_function,
        wanted={"LambdaInvocation": 1},
        starts=("Invoke",),
        finds=(),
        at_least_once=True,
    ),
    Case(
        name="callback",
        step=callback,
        arrange=a_queue,
        wanted={"Message": 1},
        count=messages("sagemaker-work"),
        starts=("SendMessage",),
        finds=(),
        at_least_once=True,
    ),
    Case(
        name="callback by a FIFO queue",
        step=callback,
        arrange=a_fifo_queue,
        wanted={"Message": 1},
        count=messages("sagemaker-work.fifo"),
        starts=("SendMessage",),
        finds=(),
        at_least_once=True,
    ),
)
