"""The request of every step of every definition of the corpus, against golden files and the AWS service models.

A change of the golden files is a change of what users' pipelines ask of AWS: ``python -m tests.golden.update`` makes
them anew.
"""

from __future__ import annotations

import json
import re

import pytest

from airflow_sagemaker_pipelines.steps.registry import runners
from tests.corpus_oracle import FILES, Corpus, repaired
from tests.golden.requests import golden_file, golden_text, requests_of
from tests.steps.types.step_runs import violations

SAGEMAKER = {
    "Processing": "CreateProcessingJob",
    "QualityCheck": "CreateProcessingJob",
    "ClarifyCheck": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Tuning": "CreateHyperParameterTuningJob",
    "Transform": "CreateTransformJob",
    "AutoML": "CreateAutoMLJob",
    "Model": "CreateModel",
    "RegisterModel": "CreateModelPackage",
    "EndpointConfig": "CreateEndpointConfig",
    "Endpoint": "CreateEndpoint",
    "InferenceComponent": "CreateInferenceComponent",
    "Job": "CreateJob",
}
#: Types whose steps ask nothing of an API with a model: evaluations, and deletions of what was found before.
NO_CALL = {"Condition", "Fail", "ForEach", "Cleanup"}

#: Steps without a request, and why.
NO_REQUEST = {
    ("map-params", "CustomerChurnAccuracyCond"): "cannot compare",
    ("sdk2_checks_emr_automl", "CE"): "it needs a previous baseline",
    ("sdk3_foreach_cleanup_emrserverless_endpoint_lineage", "Clean"): "its source 'Train0' is a Lambda step",
}
#: Steps of unit tests, without what the API requires.
INCOMPLETE = {("conditions-all-operators-unit", f"MyStep{number}") for number in range(3)}

#: Name members of requests, with the most characters that AWS takes.
LIMITS = {
    "ProcessingJobName": 63,
    "TrainingJobName": 63,
    "TransformJobName": 63,
    "ModelName": 63,
    "HyperParameterTuningJobName": 32,
    "AutoMLJobName": 32,
    "ModelPackageName": 63,
    "JobName": 63,
}
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")

every_definition = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def types_of(corpus):
    return {name: step["Type"] for name, step in corpus.steps.items()}


def calls(kind, request):
    """Yield the calls of a request: service, operation, body."""
    if kind in SAGEMAKER:
        yield "sagemaker", SAGEMAKER[kind], request
    elif kind == "Lambda":
        yield "lambda", "Invoke", {**request, "Payload": json.dumps(request["Payload"]).encode()}
    elif kind == "Callback":
        yield "sqs", "SendMessage", {**request, "MessageBody": json.dumps(request["MessageBody"])}
    elif kind == "EMR":
        yield "emr", "AddJobFlowSteps" if "JobFlowId" in request else "RunJobFlow", request
    elif kind == "EMRServerless":
        if "CreateApplication" in request:
            yield "emr-serverless", "CreateApplication", request["CreateApplication"]
        # The application that is made first gives its id to the job.
        yield "emr-serverless", "StartJobRun", {"applicationId": "00abc"} | request["StartJobRun"]
    elif kind == "Lineage":
        for entity in ("Action", "Artifact", "Context"):
            for each in request.get(f"{entity}s", ()):
                yield "sagemaker", f"Create{entity}", each
    else:
        assert kind in NO_CALL, kind


@every_definition
def test_requests_are_those_of_the_golden_file(file):
    corpus = repaired(file)

    assert golden_text(requests_of(corpus)) == golden_file(corpus).read_text()


@every_definition
def test_requests_fit_the_service_model(file):
    corpus = repaired(file)
    types = types_of(corpus)

    for name, request in requests_of(corpus).items():
        if (file.stem, name) in NO_REQUEST:
            assert NO_REQUEST[file.stem, name] in request["error"]
            continue
        problems = [f"{operation}: {text}" for service, operation, body in calls(types[name], request)
                    if (text := violations(service, operation, body))]  # fmt: skip
        assert bool(problems) == ((file.stem, name) in INCOMPLETE), problems


@every_definition
def test_names_have_the_characters_and_the_length_that_aws_takes(file):
    corpus = repaired(file)
    types = types_of(corpus)
    names = [
        (member, request[member])
        for step, request in requests_of(corpus).items()
        for member in LIMITS.keys() & request.keys()
        # A transform job refers to a model.
        if (types[step], member) != ("Transform", "ModelName")
    ]

    for member, name in names:
        assert NAME.fullmatch(name), name
        assert len(name) <= LIMITS[member], name
    assert len(set(names)) == len(names)


def test_a_step_with_underscores_has_a_job_without():
    file = next(file for file in FILES if file.stem == "nlp-earnings-two-conditions")
    corpus = Corpus(file, repairs=[("HFSECPegasusSummarizer_1", "Pegasus_Summarizer_1")])

    request = requests_of(corpus)["Pegasus_Summarizer_1"]

    assert re.fullmatch(r"pipelines-p4jn9xou8a8s-Pegasus-Summarizer-1-[0-9a-z]{10}", request["ProcessingJobName"])


def test_every_step_type_is_held_against_a_model():
    known = {*SAGEMAKER, *NO_CALL, "Lambda", "Callback", "EMR", "EMRServerless", "Lineage"}

    assert {str(kind) for kind in runners()} <= known


def test_the_corpus_has_steps_of_every_type_that_runs():
    found = {kind for file in FILES for kind in types_of(repaired(file)).values()}

    assert {str(kind) for kind in runners()} <= found


def test_there_is_a_golden_file_per_definition():
    assert {file.stem for file in golden_file(repaired(FILES[0])).parent.glob("*.json")} == {f.stem for f in FILES}
