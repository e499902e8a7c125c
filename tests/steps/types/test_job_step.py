"""Job steps."""

from __future__ import annotations

import json

import pytest

from airflow_sagemaker_pipelines.definition import Scope, resolve
from airflow_sagemaker_pipelines.definition.expressions import Get, StepReference
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_run_support import ROLE, begin, check_request, finish, outputs_of, step_run

DOCUMENT = {"ServiceOutput": {"MlflowDetails": {"RunId": "r1"}}}
CATEGORY = "AgentRFTEvaluation"


def job(**arguments):
    return {
        "Name": "Evaluate_it",
        "Type": "Job",
        "Arguments": {
            "JobCategory": CATEGORY,
            "JobConfigSchemaVersion": "1.0.0",
            "JobConfigDocument": {"Std:Join": {"On": "", "Values": [json.dumps(DOCUMENT)]}},
            "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
            "Tags": [{"Key": "k", "Value": "v"}],
        }
        | arguments,
    }


def test_the_request_fits_the_api_without_the_network_that_it_does_not_know(local_sagemaker):
    run = step_run(local_sagemaker, job())

    request = runner_of(run.step.type).request(run)

    check_request("CreateJob", request)
    assert "VpcConfig" not in request
    assert request["RoleArn"] == ROLE


def test_outputs_lead_into_the_text_of_the_document(local_sagemaker):
    run = step_run(local_sagemaker, job())

    outputs = outputs_of(run, finish(run))

    path = ("JobConfigDocument", "ServiceOutput", "MlflowDetails", "RunId")
    assert resolve(Get(StepReference("Evaluate_it", path)), Scope(outputs={"Evaluate_it": outputs})) == "r1"


def test_a_second_start_attaches(local_sagemaker):
    first, second = (begin(step_run(local_sagemaker, job())) for _ in range(2))

    assert first.handle == second.handle
    assert len(local_sagemaker.client("sagemaker").list_jobs(JobCategory=CATEGORY)["JobSummaries"]) == 1


def test_a_failed_job_says_why_and_a_retry_makes_another(local_sagemaker):
    local_sagemaker.rule(kind="Job", outcome="Failed", reason="no environment", times=1)
    run = step_run(local_sagemaker, job())

    failed = finish(run)
    again = finish(run)

    assert (failed.verdict, failed.reason) == (Verdict.FAILED, "no environment")
    assert again.verdict is Verdict.SUCCEEDED
    assert again.handle == {"name": f"{failed.handle['name']}-1", "category": CATEGORY}


def test_a_killed_job_is_stopped(local_sagemaker):
    local_sagemaker.rule(kind="Job", duration=60)
    run = step_run(local_sagemaker, job())
    state = begin(run)

    runner_of(run.step.type).stop(run.clients, state.handle)

    assert finish(run, state).verdict is Verdict.STOPPED


@pytest.mark.parametrize("category", ["AgentRFT", "DataTransformation"])
def test_a_job_is_found_in_its_own_category(local_sagemaker, category):
    run = step_run(local_sagemaker, job(JobCategory=category))

    assert finish(run).description["JobCategory"] == category
