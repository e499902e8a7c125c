"""What must be in AWS before a definition of the corpus can run, read off its text."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

from airflow_sagemaker_pipelines.steps.names import execution_id
from tests.corpus_oracle import Corpus, document_with, expressions, key_of

ACCOUNT = "123456789012"
_BUCKET = re.compile(r"(?<![a-z0-9.-])[a-z0-9][a-z0-9.-]{2,62}")
_OUTPUTS = {"Integer": 3, "Float": 0.25, "Boolean": True, "String": "s3://outputs/text"}
_JOB_NAMES = ("ProcessingJobName", "TrainingJobName")


def region_of(corpus: Corpus) -> str:
    """Return the region that a definition was made for."""
    found = re.search(r"arn:aws:lambda:([a-z0-9-]+):", corpus.text)
    return found[1] if found else "us-east-1"


def outputs_of(step: dict[str, Any]) -> dict[str, Any]:
    """Return a value for each output that a step declares."""
    return {item["OutputName"]: _OUTPUTS[item["OutputType"]] for item in step.get("OutputParameters") or []}


def prepare(endpoint: Any, corpus: Corpus, values: dict[str, Any], *, dag_id: str, run_id: str) -> None:
    """Make what a run of a definition needs, and rules for what its jobs leave."""
    region = region_of(corpus)
    for step, outputs in property_files(corpus, values).items():
        endpoint.rule(kind="Processing", name=job_pattern(corpus, step), outputs=outputs, duration=0)
    endpoint.rule(duration=0)
    s3 = endpoint.client("s3")
    for bucket in sorted(set(buckets(corpus))):
        s3.create_bucket(Bucket=bucket)
    _put_analysis_configs(s3, corpus)
    _put_result_files(s3, corpus, values, execution_id(dag_id, run_id, ""))
    _make_functions(endpoint, corpus, region)
    _make_queues(endpoint.client("sqs", region_name=region), corpus)
    _make_approved_packages(endpoint.client("sagemaker", region_name=region), corpus)
    _make_deployments(endpoint.client("sagemaker", region_name=region), corpus)
    _make_clusters(endpoint, corpus, region)
    _make_applications(endpoint, corpus, region)


def buckets(corpus: Corpus) -> Iterator[str]:
    """Yield the buckets that a definition names, also in pieces that it joins."""
    texts = [corpus.text, *(str(value) for value in corpus.given.values())]
    for text in texts:
        yield from re.findall(r"s3://([a-z0-9][a-z0-9.-]{2,62})", text)
    for join in expressions(corpus.document, "Std:Join"):
        for before, node in pairwise(join["Values"]):
            after = corpus.value(node, {}) if isinstance(node, dict) and "Parameters." in str(node) else node
            if (
                isinstance(before, str)
                and before in {"s3:/", "s3://"}
                and isinstance(after, str)
                and _BUCKET.match(after)
            ):
                yield after.split("/")[0]


def job_pattern(corpus: Corpus, step: str) -> str:
    """Match the names of the jobs of one step."""
    arguments = corpus.steps[step]["Arguments"]
    for member in _JOB_NAMES:
        if isinstance(prefix := arguments.get(member), str):
            return f"^{re.escape(prefix)}-"
    return f"^pipelines-[0-9a-z]{{12}}-{step[:20].replace('_', '-').rstrip('-')}-[0-9a-z]{{10}}"


def property_files(corpus: Corpus, values: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by step and output, the JSON files that the definition reads."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for item in corpus.files_read():
        if "PropertyFile" not in item:
            continue
        step, _, file_name = item["PropertyFile"]["Get"].removeprefix("Steps.").partition(".PropertyFiles.")
        (file,) = (each for each in corpus.steps[step]["PropertyFiles"] if each["PropertyFileName"] == file_name)
        files = found.setdefault(step, {}).setdefault(file["OutputName"], {})
        document_with(item["Path"], values[key_of(item)], files.setdefault(file["FilePath"], {}))
    return found


def _put_result_files(s3: Any, corpus: Corpus, values: dict[str, Any], execution: str) -> None:
    """Write the results of function steps, whose place in S3 has the execution's id in it."""
    documents: dict[str, dict[str, Any]] = {}
    for item in corpus.files_read():
        if "S3Uri" in item:
            uri = text_of(corpus, item["S3Uri"], execution)
            document_with(item["Path"], values[key_of(item)], documents.setdefault(uri, {}))
    for uri, document in documents.items():
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())


def text_of(corpus: Corpus, node: Any, execution: str) -> str:
    """Give an expression that is known before a run its text."""
    if not isinstance(node, dict):
        return str(node)
    ((kind, inner),) = node.items()
    if kind == "Std:Join":
        return str(inner.get("On", "")).join(text_of(corpus, item, execution) for item in inner["Values"])
    if inner == "Execution.PipelineExecutionId":
        return execution
    if inner == "Execution.PipelineName":
        return corpus.name.replace("_", "-")
    if inner.startswith("Steps."):
        name, _, path = inner.removeprefix("Steps.").partition(".")
        value = corpus.steps[name]["Arguments"]
        for member in path.split("."):
            value = value[member]
        return text_of(corpus, value, execution)
    return str(corpus.value(node, {}))


def plain(corpus: Corpus, node: Any) -> Any:
    """Return a document with all expressions in it as text."""
    if isinstance(node, list):
        return [plain(corpus, item) for item in node]
    if isinstance(node, dict):
        if len(node) == 1 and not node.keys().isdisjoint({"Get", "Std:Join"}):
            return text_of(corpus, node, "execution")
        return {key: plain(corpus, value) for key, value in node.items()}
    return node


def _put_analysis_configs(s3: Any, corpus: Corpus) -> None:
    for step in corpus.steps.values():
        if step["Type"] != "ClarifyCheck":
            continue
        for item in step["Arguments"]["ProcessingInputs"]:
            if item["InputName"] == "analysis_config":
                bucket, _, key = text_of(corpus, item["S3Input"]["S3Uri"], "").removeprefix("s3://").partition("/")
                s3.put_object(Bucket=bucket, Key=key, Body=b"{}")


def _make_functions(endpoint: Any, corpus: Corpus, region: str) -> None:
    from moto.awslambda.models import lambda_backends

    returned: dict[str, dict[str, Any]] = {}
    for step in corpus.steps.values():
        if step["Type"] == "Lambda":
            returned.setdefault(step["FunctionArn"], {}).update(outputs_of(step))
    client = endpoint.client("lambda", region_name=region)
    for arn, outputs in returned.items():
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("code.py", f"def handler(event, context):\n    return {outputs!r}\n")
        name = arn.rpartition(":")[2]
        # Another definition may have made one of the same name.
        with suppress(client.exceptions.ResourceConflictException):
            client.create_function(
                FunctionName=name,
                Runtime="python3.11",
                Role=f"arn:aws:iam::{ACCOUNT}:role/lambda",
                Handler="code.handler",
                Timeout=30,
                Code={"ZipFile": archive.getvalue()},
            )
        # The function is of the definition's account, whichever that is.
        backend = lambda_backends[ACCOUNT][region]
        backend._lambdas._arns[arn] = backend.get_function(name)


def _make_queues(client: Any, corpus: Corpus) -> None:
    """Make the queues into which SageMaker puts the messages of Callback steps."""
    urls = {text_of(corpus, step["SqsQueueUrl"], "") for step in corpus.steps.values() if step["Type"] == "Callback"}
    for url in sorted(urls):
        client.create_queue(QueueName=url.rsplit("/", 1)[-1])


def _make_approved_packages(client: Any, corpus: Corpus) -> None:
    """Put an approved package with all baselines into each group that a check names."""
    groups = {
        corpus.value(step["ModelPackageGroupName"], {})
        for step in corpus.steps.values()
        if step["Type"] in {"QualityCheck", "ClarifyCheck"} and step.get("ModelPackageGroupName")
    }

    def at(name: str) -> dict[str, str]:
        return {"ContentType": "application/json", "S3Uri": f"s3://baselines/{name}.json"}

    pair = {"Statistics": at("statistics"), "Constraints": at("constraints")}
    baselines = {
        "Bias": {"PreTrainingConstraints": at("pre"), "PostTrainingConstraints": at("post")},
        "Explainability": {"Constraints": at("explainability")},
        "ModelQuality": pair,
        "ModelDataQuality": pair,
    }
    for group in sorted(groups):
        client.create_model_package_group(ModelPackageGroupName=group)
        client.create_model_package(
            ModelPackageGroupName=group, ModelApprovalStatus="Approved", DriftCheckBaselines=baselines
        )


def _make_clusters(endpoint: Any, corpus: Corpus, region: str) -> None:
    from moto.emr.models import emr_backends

    wanted = {
        corpus.value(step["Arguments"]["ClusterId"], {})
        for step in corpus.steps.values()
        if step["Type"] == "EMR" and "ClusterId" in step["Arguments"]
    }
    for cluster_id in sorted(wanted):
        made = endpoint.client("emr", region_name=region).run_job_flow(
            Name="shared",
            ReleaseLabel="emr-7.5.0",
            Instances={
                "MasterInstanceType": "m5.xlarge",
                "SlaveInstanceType": "m5.xlarge",
                "InstanceCount": 1,
                "KeepJobFlowAliveWhenNoSteps": True,
            },
            JobFlowRole="EMR_EC2_DefaultRole",
            ServiceRole="EMR_DefaultRole",
        )["JobFlowId"]
        clusters = emr_backends[ACCOUNT][region].clusters
        cluster = clusters[cluster_id] = clusters.pop(made)
        cluster.id = cluster_id


def _make_applications(endpoint: Any, corpus: Corpus, region: str) -> None:
    from moto.emrserverless.models import emrserverless_backends

    wanted = {
        step["Arguments"]["ApplicationId"]
        for step in corpus.steps.values()
        if step["Type"] == "EMRServerless" and "ApplicationId" in step["Arguments"]
    }
    for application_id in sorted(wanted):
        made = endpoint.client("emr-serverless", region_name=region).create_application(
            releaseLabel="emr-7.5.0", type="SPARK", clientToken=application_id
        )["applicationId"]
        applications = emrserverless_backends[ACCOUNT][region].applications
        application = applications[application_id] = applications.pop(made)
        application.id = application_id


def _make_deployments(client: Any, corpus: Corpus) -> None:
    """Make the models and endpoints that a definition names but does not make."""
    deploying = [
        step["Arguments"]
        for step in corpus.steps.values()
        if step["Type"] in {"EndpointConfig", "InferenceComponent", "Transform"}
    ]
    models = {name for name in _members(deploying, "ModelName", corpus) if name}
    for model in sorted(models):
        client.create_model(
            ModelName=model,
            ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/model",
            PrimaryContainer={"Image": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/image:1"},
        )
    for endpoint in sorted(set(_members(deploying, "EndpointName", corpus))):
        variant = {
            "VariantName": "AllTraffic",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        client.create_endpoint_config(
            EndpointConfigName=endpoint,
            ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/endpoint",
            ProductionVariants=[variant],
        )
        client.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)


def _members(node: Any, name: str, corpus: Corpus) -> Iterator[str]:
    """Yield the values of a member anywhere in a document, as far as they are known before a run."""
    if isinstance(node, list):
        for item in node:
            yield from _members(item, name, corpus)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == name and (isinstance(value, str) or "Parameters." in str(value)):
                yield corpus.value(value, {})
            else:
                yield from _members(value, name, corpus)
