"""Every definition of the corpus runs to its end in the local endpoint, with both outcomes of each condition."""

from __future__ import annotations

from itertools import count

import pytest
from botocore.exceptions import ClientError
from endpoint_support import ROLE, until
from tests.corpus_oracle import FILES, REPAIRS, SDK3, corpus_of, repaired
from tests.integration.corpus_world import outputs_of, prepare, region_of

from airflow_sagemaker_pipelines.local.pipelines import execution_api
from airflow_sagemaker_pipelines.steps.names import execution_id

ENDED = ("Succeeded", "Failed", "Stopped", "CompletedWithFailures")

#: Definitions that CreatePipeline refuses, with what it says.
REFUSED = {"stored-customer-churn-2021": "Model Validation failed: Value 'arn:aws:iam::XXXXXXXXXX:role/"}

_TOO_MANY = "CreateProcessingJob. Error Details: 1 validation error detected: Value '[{OutputName=region00"
_NO_FILES = "Train0: files of a Lambda step cannot be deleted"
_OTHER_ACCOUNT = "Cross-account pass role is not allowed"
_NO_LIST = {"Loop": "IterableItems is 'y', not a JSON list"}
_NO_BASELINE = "The step needs a previous baseline: it supplies none"
_NO_DATES_IN_NAMES = "Value 't-2026-"

#: Steps that AWS refuses, with the reason; by definition, or by definition and scenario.
FAILS = {
    "conditions-all-operators-unit": {"MyStep0": "Value null at 'outputDataConfig'"},
    "deploy-two-components": {"Link": "failed to satisfy constraint"},
    "forecast-fanout-62": {"SplitByRegion": _TOO_MANY},
    "map-params": {"CustomerChurnAccuracyCond": "cannot compare '500' (string) with 6.0 (number)"},
    "sdk2_checks_emr_automl": {"DQ": _NO_DATES_IN_NAMES, "CB": _NO_DATES_IN_NAMES, "CE": _NO_BASELINE},
    SDK3: {"Clean": _NO_FILES, "ES": _OTHER_ACCOUNT, "ES2": _OTHER_ACCOUNT},
    # The condition that compares the parameter with "y" is its other use.
    f"{SDK3}-0": _NO_LIST,
    "stored-customer-churn-2021": {"ChurnModelProcess": "'arn:aws:iam::XXXXXXXXXX:role/"},
}
STILL_FAILS = {
    SDK3: {"Clean": _NO_FILES},
    f"{SDK3}-0": _NO_LIST,
    "sdk2_checks_emr_automl": {"CE": _NO_BASELINE},
}

numbers = count()


def scenarios(files, corpus=corpus_of):
    for file in files:
        for number, values in enumerate(corpus(file).scenarios()):
            yield pytest.param(file, number, values, id=f"{file.stem}-{number}")


def run_corpus(endpoint, monkeypatch, corpus, values):
    name, run = corpus.name.replace("_", "-"), f"run-{next(numbers)}"
    # Results of function steps lie below the execution's id.
    prepare(endpoint, corpus, values, dag_id=name, run_id=run)
    monkeypatch.setattr(execution_api, "new_id", lambda length: execution_id(name, run, ""))
    region = region_of(corpus)
    sagemaker = endpoint.client("sagemaker", region_name=region)
    for step in corpus.steps.values():
        if step["Type"] == "Callback":
            queue = corpus.value(step["SqsQueueUrl"], {}).rsplit("/", 1)[-1]
            endpoint.client("sqs", region_name=region).create_queue(QueueName=queue)
    sagemaker.create_pipeline(PipelineName=name, RoleArn=ROLE, PipelineDefinition=corpus.text)
    given = corpus.given | {key: value for key, value in values.items() if key in corpus.declared}
    arn = sagemaker.start_pipeline_execution(
        PipelineName=name, PipelineParameters=[{"Name": key, "Value": str(value)} for key, value in given.items()]
    )["PipelineExecutionArn"]
    answered = set()

    def status():
        for step in steps_of(sagemaker, arn).values():
            token = step.get("Metadata", {}).get("Callback", {}).get("CallbackToken")
            if token and token not in answered:
                answered.add(token)
                outputs = outputs_of(corpus.steps[step["StepName"]])
                listed = [{"Name": key, "Value": str(value)} for key, value in outputs.items()]
                sagemaker.send_pipeline_execution_step_success(CallbackToken=token, OutputParameters=listed)
        return sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]

    return until(status, lambda found: found in ENDED, seconds=60), steps_of(sagemaker, arn)


def steps_of(sagemaker, arn):
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
    return {step["StepName"]: step for page in pages for step in page["PipelineExecutionSteps"]}


def check_run(corpus, values, fails, status, steps):
    found = {name: step["StepStatus"] for name, step in steps.items() if "IterationContext" not in step}
    executed = corpus.executed(values, failed=fails)
    failing = set(fails) | {name for name in executed if corpus.steps[name]["Type"] == "Fail"}
    assert {name for name, state in found.items() if state == "Failed"} == failing
    assert {name for name, state in found.items() if state == "Succeeded"} == executed - failing
    assert set(found) == executed | failing
    for name, reason in fails.items():
        assert reason in steps[name]["FailureReason"]
    handled = {up for ups in corpus.edges.values() for up, trigger in ups.items() if trigger != "Completed"}
    unhandled = "Failed" if failing - handled else "CompletedWithFailures"
    assert status == (unhandled if failing else "Succeeded")


def expected(table, corpus, number):
    return table.get(corpus.name, {}) | table.get(f"{corpus.name}-{number}", {})


@pytest.mark.parametrize(("file", "number", "values"), scenarios([f for f in FILES if f.stem not in REFUSED]))
def test_it_runs_to_its_end_with_the_steps_of_the_branches_taken(local_sagemaker, monkeypatch, file, number, values):
    corpus = corpus_of(file)

    status, steps = run_corpus(local_sagemaker, monkeypatch, corpus, values)

    check_run(corpus, values, expected(FAILS, corpus, number), status, steps)


@pytest.mark.parametrize(
    ("file", "number", "values"), scenarios([file for file in FILES if file.stem in REPAIRS], repaired)
)
def test_one_that_aws_refuses_runs_when_its_author_helps(local_sagemaker, monkeypatch, file, number, values):
    corpus = repaired(file)

    status, steps = run_corpus(local_sagemaker, monkeypatch, corpus, values)

    check_run(corpus, values, expected(STILL_FAILS, corpus, number), status, steps)


@pytest.mark.parametrize("file", [file for file in FILES if file.stem in REFUSED], ids=lambda file: file.stem)
def test_one_with_arguments_that_no_call_takes_cannot_be_created(sagemaker, file):
    with pytest.raises(ClientError, match=REFUSED[file.stem]):
        sagemaker.create_pipeline(PipelineName="p", RoleArn=ROLE, PipelineDefinition=corpus_of(file).text)


@pytest.mark.parametrize(("file", "number", "values"), scenarios([file for file in FILES if file.stem in REFUSED]))
def test_it_fails_later_where_arguments_are_not_checked(local_sagemaker, monkeypatch, choose, *, file, number, values):
    choose(check_arguments=False)
    corpus = corpus_of(file)

    status, steps = run_corpus(local_sagemaker, monkeypatch, corpus, values)

    check_run(corpus, values, expected(FAILS, corpus, number), status, steps)
