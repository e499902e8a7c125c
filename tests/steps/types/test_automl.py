"""AutoML steps."""

from __future__ import annotations

import re

import pytest

from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.runner import State
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.step_run_support import BUCKET, ROLE, begin, check_request, finish, outputs_of, step_run


def auto_ml(**arguments):
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in"}
    return {
        "Name": "Find_the_best_model_of_all",
        "Type": "AutoML",
        "Arguments": {
            "InputDataConfig": [{"DataSource": {"S3DataSource": source}, "TargetAttributeName": "y"}],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/am"},
            "AutoMLJobConfig": {"Mode": "ENSEMBLING", "CompletionCriteria": {}},
        }
        | arguments,
    }


@pytest.mark.parametrize("prefix", [None, "a-prefix-that-is-far-too-long-for-32-characters"])
def test_the_request_fits_the_api_and_its_name_the_limit(local_sagemaker, prefix):
    run = step_run(local_sagemaker, auto_ml(AutoMLJobName=prefix))

    request = runner_of(run.step.type).named_request(run, generation=99)

    check_request("CreateAutoMLJob", request)
    assert re.fullmatch(r"[a-z0-9][a-zA-Z0-9-]{0,31}", request["AutoMLJobName"])
    assert request["RoleArn"] == ROLE


def test_the_best_candidates_reports_are_among_the_outputs(local_sagemaker):
    run = step_run(local_sagemaker, auto_ml())

    outputs = outputs_of(run, finish(run))

    root = f"s3://{BUCKET}/am/{outputs['AutoMLJobName']}/documentation"
    assert outputs["BestCandidateProperties"] == {
        "ModelInsightsJsonReportPath": f"{root}/model_monitor/output/statistics.json",
        "ExplainabilityJsonReportPath": f"{root}/explainability/output/analysis.json",
    }
    assert outputs["BestCandidate"]["InferenceContainers"][0]["Image"]


def test_a_candidate_without_reports_has_no_paths(local_sagemaker):
    run = step_run(local_sagemaker, auto_ml())
    state = State(handle={"name": "n"}, verdict=Verdict.SUCCEEDED, description={"BestCandidate": {}})

    assert outputs_of(run, state)["BestCandidateProperties"] == {}


def test_a_second_start_attaches(local_sagemaker):
    first, second = (begin(step_run(local_sagemaker, auto_ml())) for _ in range(2))

    assert first.handle == second.handle
    assert len(local_sagemaker.client("sagemaker").list_auto_ml_jobs()["AutoMLJobSummaries"]) == 1


def test_a_failed_job_says_why_and_a_retry_makes_another(local_sagemaker):
    local_sagemaker.rule(kind="AutoML", outcome="Failed", reason="no target column", times=1)
    run = step_run(local_sagemaker, auto_ml())

    failed = finish(run)
    again = finish(run)

    assert (failed.verdict, failed.reason) == (Verdict.FAILED, "no target column")
    assert again.verdict is Verdict.SUCCEEDED
    assert again.handle["name"].endswith("-1")
    assert len(again.handle["name"]) <= 32


def test_a_killed_job_is_stopped(local_sagemaker):
    local_sagemaker.rule(kind="AutoML", duration=60)
    run = step_run(local_sagemaker, auto_ml())
    state = begin(run)

    runner_of(run.step.type).stop(run.clients, state.handle)

    assert finish(run, state).verdict is Verdict.STOPPED
    runner_of(run.step.type).stop(run.clients, state.handle)
