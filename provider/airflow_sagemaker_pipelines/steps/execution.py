"""One execution of a pipeline: the values of ``Execution.…``, and what all its steps share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_sagemaker_pipelines.definition import ExecutionVariable


def iso_time(moment: datetime) -> str:
    """Write a time as SageMaker does: ISO 8601, UTC, milliseconds. A naive time counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineExecution:
    """What an execution is called."""

    pipeline_name: str
    execution_id: str
    start_time: datetime
    region_name: str
    account_id: str = "000000000000"
    """Of the pipeline's role; zeros when no role is given."""
    partition: str = "aws"
    role_arn: str | None = None
    """The role of jobs that name none, and of the pipeline."""

    @property
    def pipeline_arn(self) -> str:
        """The ARN that SageMaker would give the pipeline; nothing of this name is deployed."""
        return f"arn:{self.partition}:sagemaker:{self.region_name}:{self.account_id}:pipeline/{self.pipeline_name}"

    @property
    def arn(self) -> str:
        """The ARN of the execution, made the same way."""
        return f"{self.pipeline_arn}/execution/{self.execution_id}"


class ExecutionVariables(Mapping[ExecutionVariable, str]):
    """The values of ``Execution.…`` as one step's request sees them.

    :param execution: the execution.
    :param job_names: the names of the step's own job, by the variable that holds it.
    """

    def __init__(self, execution: PipelineExecution, job_names: Mapping[ExecutionVariable, str]) -> None:
        self._fixed = {
            ExecutionVariable.START_DATE_TIME: iso_time(execution.start_time),
            ExecutionVariable.PIPELINE_NAME: execution.pipeline_name,
            ExecutionVariable.PIPELINE_ARN: execution.pipeline_arn,
            ExecutionVariable.PIPELINE_EXECUTION_ID: execution.execution_id,
            ExecutionVariable.PIPELINE_EXECUTION_ARN: execution.arn,
            **job_names,
        }

    def __getitem__(self, variable: ExecutionVariable) -> str:
        # The time of evaluation, so it differs each time.
        if variable is ExecutionVariable.CURRENT_DATE_TIME:
            return iso_time(datetime.now(UTC))
        return self._fixed[variable]

    def __iter__(self) -> Iterator[ExecutionVariable]:
        yield from self._fixed
        yield ExecutionVariable.CURRENT_DATE_TIME

    def __len__(self) -> int:
        return len(self._fixed) + 1
