"""QualityCheck steps: the baseline table, violations, and the job behind them."""

from __future__ import annotations

import json

import pytest

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.types.check_steps import (
    FLAGS,
    GROUP,
    inputs_of,
    job_of,
    jobs,
    put_json,
    quality_baseline,
    quality_check,
    register,
    report,
)
from tests.steps.types.step_runs import BUCKET, finish, outputs_of, start, violations, wait

pytestmark = pytest.mark.usefixtures("bucket")

OUTPUT = "quality_check_output"
VIOLATION = [{"feature_name": "age", "constraint_check_type": "baseline_drift_check"}]
REPORT = f"s3://{BUCKET}/dq/constraint_violations.json"
SUPPLIED = {
    "SuppliedBaselineConstraints": f"s3://{BUCKET}/mine/c.json",
    "SuppliedBaselineStatistics": f"s3://{BUCKET}/mine/s.json",
}
CALCULATED = (f"s3://{BUCKET}/dq/constraints.json", f"s3://{BUCKET}/dq/statistics.json")
PREVIOUS = (SUPPLIED["SuppliedBaselineConstraints"], SUPPLIED["SuppliedBaselineStatistics"])


def calculated(outputs):
    return outputs["CalculatedBaselineConstraints"], outputs["CalculatedBaselineStatistics"]


def used(outputs):
    return outputs["BaselineUsedForDriftCheckConstraints"], outputs["BaselineUsedForDriftCheckStatistics"]


@pytest.mark.parametrize(("skip", "register_new"), FLAGS)
def test_the_baseline_table(local_sagemaker, run_of, skip, register_new):
    run = run_of(quality_check(SkipCheck=skip, RegisterNewBaseline=register_new, **SUPPLIED))

    state = finish(run)

    assert state.verdict is Verdict.SUCCEEDED
    compared = {"baseline_constraints", "baseline_statistics"} & set(inputs_of(job_of(local_sagemaker, state)))
    assert bool(compared) is not skip
    assert calculated(outputs_of(run, state)) == CALCULATED
    assert used(outputs_of(run, state)) == (CALCULATED if register_new else PREVIOUS)


@pytest.mark.parametrize(("skip", "register_new"), FLAGS)
def test_only_a_step_that_neither_compares_nor_keeps_can_do_without_a_baseline(
    local_sagemaker, run_of, skip, register_new
):
    run = run_of(quality_check(SkipCheck=skip, RegisterNewBaseline=register_new, ModelPackageGroupName=GROUP))

    if skip and register_new:
        assert finish(run).verdict is Verdict.SUCCEEDED
    else:
        with pytest.raises(StepRequestError, match="'abalone' has no approved package"):
            start(run)
        assert jobs(local_sagemaker) == []


def test_the_previous_baseline_is_that_of_the_latest_approved_package(local_sagemaker, run_of):
    register(local_sagemaker, quality_baseline("first"))
    register(local_sagemaker, quality_baseline("second"))
    register(local_sagemaker, quality_baseline("third"), approval="PendingManualApproval")
    run = run_of(quality_check(ModelPackageGroupName=GROUP))

    state = finish(run)

    assert used(outputs_of(run, state)) == (
        f"s3://{BUCKET}/second/constraints.json",
        f"s3://{BUCKET}/second/statistics.json",
    )


def test_each_check_type_has_its_own_baseline_in_the_package(local_sagemaker, run_of):
    register(local_sagemaker, quality_baseline("data") | quality_baseline("model", "ModelQuality"))
    run = run_of(quality_check(ModelPackageGroupName=GROUP, CheckType="MODEL_QUALITY"))

    state = finish(run)

    assert inputs_of(job_of(local_sagemaker, state))["baseline_constraints"]["S3Uri"] == (
        f"s3://{BUCKET}/model/constraints.json"
    )


def test_a_package_without_this_baseline_is_named_in_the_error(local_sagemaker, run_of):
    arn = register(local_sagemaker, quality_baseline("model", "ModelQuality"))

    with pytest.raises(StepRequestError, match=f"latest approved package {arn} has none"):
        start(run_of(quality_check(ModelPackageGroupName=GROUP)))


def test_a_supplied_baseline_wins_over_the_packages(local_sagemaker, run_of):
    register(local_sagemaker, quality_baseline("registered"))
    run = run_of(quality_check(ModelPackageGroupName=GROUP, **SUPPLIED))

    assert used(outputs_of(run, finish(run))) == PREVIOUS


def test_a_parameter_that_is_empty_supplies_nothing(local_sagemaker, run_of):
    register(local_sagemaker, quality_baseline("registered"))
    keys = {member: {"Get": "Parameters.Supplied"} for member in SUPPLIED}
    run = run_of(quality_check(ModelPackageGroupName=GROUP, **keys), parameters={"Supplied": ""})

    assert used(outputs_of(run, finish(run)))[0] == f"s3://{BUCKET}/registered/constraints.json"


def test_a_baseline_registered_while_the_job_runs_is_not_the_one_used(local_sagemaker, run_of):
    register(local_sagemaker, quality_baseline("old"))
    run = run_of(quality_check(ModelPackageGroupName=GROUP))
    state = start(run)
    register(local_sagemaker, quality_baseline("new"))

    # What a retry finds is the first try's job.
    again = wait(run, start(run))

    assert again.handle["name"] == state.handle["name"]
    assert used(outputs_of(run, again))[0] == f"s3://{BUCKET}/old/constraints.json"


def test_the_container_finds_the_baseline_where_its_environment_says(local_sagemaker, run_of):
    job = job_of(local_sagemaker, start(run_of(quality_check(**SUPPLIED))))

    files = {name: item["LocalPath"] + "/" + item["S3Uri"].rpartition("/")[2] for name, item in inputs_of(job).items()}
    assert job["Environment"] == {
        "output_path": "/opt/ml/processing/output",
        "baseline_constraints": files["baseline_constraints"],
        "baseline_statistics": files["baseline_statistics"],
    }


@pytest.mark.parametrize("value", [None, True, "true", ...])
def test_violations_fail_the_step(local_sagemaker, run_of, value):
    local_sagemaker.rule(**report(OUTPUT, VIOLATION))
    keys = {} if value is ... else {"FailOnViolation": value}

    state = finish(run_of(quality_check(**SUPPLIED, **keys)))

    assert state.verdict is Verdict.FAILED
    assert state.reason == f"ClientError: Quality check failed. See violation report {REPORT}"


@pytest.mark.parametrize("value", [False, {"Get": "Parameters.Fail"}])
def test_violations_are_only_reported_where_the_step_does_not_fail_on_them(local_sagemaker, run_of, value):
    local_sagemaker.rule(**report(OUTPUT, VIOLATION))
    run = run_of(quality_check(**SUPPLIED, FailOnViolation=value), parameters={"Fail": (False, "Boolean")})

    state = finish(run)

    assert state.verdict is Verdict.SUCCEEDED
    assert outputs_of(run, state)["ViolationReport"] == REPORT


def test_a_report_without_violations_is_none(local_sagemaker, run_of):
    local_sagemaker.rule(**report(OUTPUT, []))
    run = run_of(quality_check(**SUPPLIED))

    state = finish(run)

    assert state.verdict is Verdict.SUCCEEDED
    assert "ViolationReport" not in outputs_of(run, state)


def test_a_report_that_cannot_be_read_does_not_clear_the_data(local_sagemaker, run_of):
    local_sagemaker.rule(kind="Processing", outputs={OUTPUT: {"constraint_violations.json": "oops"}})

    assert finish(run_of(quality_check(**SUPPLIED))).verdict is Verdict.FAILED


def test_the_report_of_a_check_that_is_skipped_says_nothing(local_sagemaker, run_of):
    local_sagemaker.rule(**report(OUTPUT, VIOLATION))

    assert finish(run_of(quality_check(**SUPPLIED, SkipCheck=True))).verdict is Verdict.SUCCEEDED


def test_the_report_of_an_earlier_run_in_the_same_place_is_not_this_runs(local_sagemaker, run_of):
    put_json(local_sagemaker, "dq/constraint_violations.json", {"violations": VIOLATION})
    run = run_of(quality_check(**SUPPLIED))
    s3 = run.clients("s3")
    earlier = s3.get_object
    # The file is years older than the job.
    s3.get_object = lambda **key: earlier(**key) | {"LastModified": earlier(**key)["LastModified"].replace(year=2020)}

    assert finish(run).verdict is Verdict.SUCCEEDED


def test_a_second_start_finds_the_first_ones_job(local_sagemaker, run_of):
    run = run_of(quality_check(**SUPPLIED))
    finish(run)

    state = start(run)

    assert state.verdict is Verdict.SUCCEEDED
    assert used(outputs_of(run, state)) == PREVIOUS
    assert len(jobs(local_sagemaker)) == 1


def test_a_retry_after_violations_checks_anew(local_sagemaker, run_of):
    local_sagemaker.rule(**report(OUTPUT, VIOLATION), times=1)
    local_sagemaker.rule(**report(OUTPUT, []))
    run = run_of(quality_check(**SUPPLIED))
    first = finish(run)

    second = finish(run)

    assert first.verdict is Verdict.FAILED
    assert second.verdict is Verdict.SUCCEEDED
    assert second.handle["name"] == f"{first.handle['name']}-1"


def test_a_failed_job_gives_its_own_reason(local_sagemaker, run_of):
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="AlgorithmError: no data")

    state = finish(run_of(quality_check(**SUPPLIED)))

    assert (state.verdict, state.reason) == (Verdict.FAILED, "AlgorithmError: no data")


def test_a_check_can_be_stopped(local_sagemaker, run_of):
    local_sagemaker.rule(kind="Processing", duration=60)
    run = run_of(quality_check(**SUPPLIED))
    state = start(run)

    runner_of(StepType.QUALITY_CHECK).stop(run.clients, state.handle)

    assert wait(run, state).verdict is Verdict.STOPPED


@pytest.mark.parametrize(("skip", "register_new"), FLAGS)
def test_the_request_is_valid(run_of, skip, register_new):
    run = run_of(quality_check(SkipCheck=skip, RegisterNewBaseline=register_new, **SUPPLIED))

    request = runner_of(StepType.QUALITY_CHECK).request(run)

    assert violations("sagemaker", "CreateProcessingJob", request) == ""
    assert len(request["ProcessingJobName"]) <= 63
    assert "_" not in request["ProcessingJobName"]


def test_the_handle_is_json(run_of):
    state = start(run_of(quality_check(**SUPPLIED)))

    assert json.loads(json.dumps(state.handle)) == state.handle


def test_a_switch_that_is_neither_on_nor_off_is_named(run_of):
    with pytest.raises(StepRequestError, match="its SkipCheck is 'maybe'"):
        start(run_of(quality_check(**SUPPLIED, SkipCheck="maybe")))
