"""The values of Execution.… in one run."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_sagemaker_pipelines.definition import ExecutionVariable
from airflow_sagemaker_pipelines.steps.execution import ExecutionVariables, PipelineExecution

EXECUTION = PipelineExecution(
    pipeline_name="abalone",
    execution_id="p4jn9xou8a8s",
    start_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    region_name="eu-west-1",
    account_id="123456789012",
)


def test_all_eight_variables_have_a_value():
    names = {
        ExecutionVariable.TRAINING_JOB_NAME: "the-job",
        ExecutionVariable.PROCESSING_JOB_NAME: "the-job",
    }
    values = dict(ExecutionVariables(EXECUTION, names))

    assert set(values) == set(ExecutionVariable)
    assert values[ExecutionVariable.START_DATE_TIME] == "2026-01-02T03:04:05.000Z"
    assert values[ExecutionVariable.PIPELINE_ARN] == "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/abalone"
    assert values[ExecutionVariable.PIPELINE_EXECUTION_ARN].endswith("pipeline/abalone/execution/p4jn9xou8a8s")


def test_the_name_of_a_job_is_unknown_outside_its_own_step():
    assert ExecutionVariable.TRAINING_JOB_NAME not in ExecutionVariables(EXECUTION, {})


def test_the_current_time_moves_on_and_the_start_does_not():
    variables = ExecutionVariables(EXECUTION, {})
    before = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    assert variables[ExecutionVariable.CURRENT_DATE_TIME] >= before
