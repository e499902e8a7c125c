"""ClarifyCheck steps: the model's name in the analysis configuration, and what differs from QualityCheck."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.check_steps import (
    GROUP,
    clarify_check,
    get_json,
    inputs_of,
    job_of,
    jobs,
    put_json,
    register,
    report,
)
from tests.steps.types.step_runs import BUCKET, finish, outputs_of, start, violations

CONFIG = {"label": "y", "predictor": {"instance_type": "ml.m5.large"}}
MODEL = {"ModelName": {"Get": "Steps.Create.OutputParameters['ModelName']"}}
CREATED = {"Create": {"OutputParameters": {"ModelName": "pipelines-p4jn9xou8a8s-Create-tavd6f3wdf"}}}


@pytest.fixture(autouse=True)
def config(local_sagemaker, bucket):
    put_json(local_sagemaker, "cfg/analysis_config.json", CONFIG)


def config_uri(local_sagemaker, state):
    return inputs_of(job_of(local_sagemaker, state))["analysis_config"]["S3Uri"]


def test_the_job_reads_a_copy_of_the_configuration_with_the_models_name(local_sagemaker, run_of):
    state = start(run_of(clarify_check(**MODEL), outputs=CREATED))

    uri = config_uri(local_sagemaker, state)
    assert uri == f"s3://{BUCKET}/bias-analysis-config/{state.handle['name']}/analysis_config.json"
    assert get_json(local_sagemaker, uri) == {
        "label": "y",
        "predictor": {"instance_type": "ml.m5.large", "model_name": "pipelines-p4jn9xou8a8s-Create-tavd6f3wdf"},
    }
    assert get_json(local_sagemaker, f"s3://{BUCKET}/cfg/analysis_config.json") == CONFIG


def test_a_check_of_data_reads_the_configuration_as_it_is(local_sagemaker, run_of):
    state = start(run_of(clarify_check(CheckType="DATA_BIAS", ModelName=None)))

    assert config_uri(local_sagemaker, state) == f"s3://{BUCKET}/cfg/analysis_config.json"


def test_the_copy_is_encrypted_as_the_output_is(local_sagemaker, run_of):
    step = clarify_check(ModelName="mm")
    step["Arguments"]["ProcessingOutputConfig"]["KmsKeyId"] = "alias/mine"

    uri = config_uri(local_sagemaker, start(run_of(step)))

    found = local_sagemaker.client("s3").head_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", "alias/mine")


def test_each_generation_has_its_own_copy(local_sagemaker, run_of):
    local_sagemaker.rule(kind="Processing", outcome="Failed", times=1)
    run = run_of(clarify_check(ModelName="mm"))
    first, second = finish(run), finish(run)

    assert second.verdict is Verdict.SUCCEEDED
    assert config_uri(local_sagemaker, first) != config_uri(local_sagemaker, second)
    assert get_json(local_sagemaker, config_uri(local_sagemaker, second))["predictor"]["model_name"] == "mm"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"{", "cannot be read"), (b"[1]", "is not a JSON object")],
)
def test_a_configuration_that_cannot_be_used_fails_before_a_job_is_made(local_sagemaker, run_of, content, message):
    s3 = local_sagemaker.client("s3")
    s3.delete_object(Bucket=BUCKET, Key="cfg/analysis_config.json")
    if content is not None:
        s3.put_object(Bucket=BUCKET, Key="cfg/analysis_config.json", Body=content)

    with pytest.raises(StepRequestError, match=message):
        start(run_of(clarify_check(ModelName="mm")))
    assert jobs(local_sagemaker) == []


def test_a_model_name_without_a_configuration_to_put_it_in_is_refused(run_of):
    step = clarify_check(ModelName="mm")
    del step["Arguments"]["ProcessingInputs"][0]

    with pytest.raises(StepRequestError, match="no input 'analysis_config'"):
        start(run_of(step))


def test_outputs_are_the_constraints_alone(run_of):
    run = run_of(clarify_check(ModelName="mm", RegisterNewBaseline=True))

    outputs = outputs_of(run, finish(run))

    assert {name: uri for name, uri in outputs.items() if "Baseline" in name and name != "RegisterNewBaseline"} == {
        "CalculatedBaselineConstraints": f"s3://{BUCKET}/bias/analysis.json",
        "BaselineUsedForDriftCheckConstraints": f"s3://{BUCKET}/bias/analysis.json",
    }


@pytest.mark.parametrize(
    ("check_type", "part", "member"),
    [
        ("DATA_BIAS", "Bias", "PreTrainingConstraints"),
        ("MODEL_BIAS", "Bias", "PostTrainingConstraints"),
        ("MODEL_EXPLAINABILITY", "Explainability", "Constraints"),
    ],
)
def test_each_check_type_has_its_own_baseline_in_the_package(local_sagemaker, run_of, check_type, part, member):
    uri = f"s3://{BUCKET}/registered/{member}.json"
    register(local_sagemaker, {part: {member: {"ContentType": "application/json", "S3Uri": uri}}})
    step = clarify_check(
        CheckType=check_type, ModelPackageGroupName=GROUP, SuppliedBaselineConstraints=None, ModelName="mm"
    )
    run = run_of(step)

    assert outputs_of(run, finish(run))["BaselineUsedForDriftCheckConstraints"] == uri


def test_violations_fail_the_step_in_clarifys_words(local_sagemaker, run_of):
    local_sagemaker.rule(**report("analysis_result", [{"facet": "sex"}]))

    state = finish(run_of(clarify_check(ModelName="mm")))

    assert state.verdict is Verdict.FAILED
    assert state.reason == (
        f"ClientError: Clarify check failed. See violation report s3://{BUCKET}/bias/constraint_violations.json"
    )


def test_the_request_is_valid(run_of):
    request = runner_of(StepType.CLARIFY_CHECK).request(run_of(clarify_check(**MODEL), outputs=CREATED))

    assert violations("sagemaker", "CreateProcessingJob", request) == ""
