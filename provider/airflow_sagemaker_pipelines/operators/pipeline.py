"""What all tasks of one pipeline share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import PipelineDefinition, start_values
from airflow_sagemaker_pipelines.definition.errors import PipelineParameterError, Problem
from airflow_sagemaker_pipelines.definition.reader import nearest
from airflow_sagemaker_pipelines.hooks.aws import AwsConnection

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition.expressions import Scalar

#: A task that begins in the triggerer takes the whole serialized DAG there, about 3 kB a step. In larger DAGs a worker
#: begins to wait, which takes a moment.
_MOST_STEPS_FROM_TRIGGER = 100


def is_template(value: object) -> bool:
    """Whether a value that the DAG's author gave holds Jinja."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A definition and how the DAG's author wants it run.

    :param name: the pipeline's name, ``Execution.PipelineName``.
    :param role_arn: the role for steps that name none.
    :param connection: how to reach AWS.
    :param poll_interval: the most seconds between two looks at a job.
    :param event_queue_url: the SQS queue that tells which jobs have ended; ``None``: they are polled.
    :param stream_logs: whether a job's lines in CloudWatch reach the task's log while it runs.
    :param stop_on_kill: whether what a task has started is stopped when it is killed or its time is up.
    :param capacity_timeout: the most seconds that a step waits for a quota to have room.
    :param parameters: the author's values for parameters; text may hold Jinja.
    :param prefix: what task ids have before the step's name.
    :param callback_reply_queue_url: the SQS queue into which workers reply to Callback steps; may hold Jinja.
    :param callbacks: by Callback step, what fulfils it inside the DAG.
    :param experiments: whether jobs are recorded under the definition's experiment.
    :param reads_conf: whether a run's conf may override parameters, as it does in a DAG of its own.
    :param start_task_id: the task that starts an execution, if SageMaker walks the graph.
    :param describe_steps: whether the result of a step that SageMaker runs is the Describe answer of what it has made.
    """

    definition: PipelineDefinition
    name: str
    role_arn: str | None = None
    connection: AwsConnection = field(default_factory=AwsConnection)
    poll_interval: float = 15.0
    event_queue_url: str | None = None
    stream_logs: bool = False
    stop_on_kill: bool = True
    capacity_timeout: float = 24 * 3600.0
    parameters: Mapping[str, object] = field(default_factory=dict)
    callback_reply_queue_url: str | None = None
    callbacks: Mapping[str, Any] = field(default_factory=dict)
    experiments: bool = True
    prefix: str = ""
    reads_conf: bool = False
    start_task_id: str = ""
    describe_steps: bool = False

    def __post_init__(self) -> None:
        """Check the author's values, as far as they are known before a run.

        :raises PipelineParameterError: for unknown names and values of another type.
        """
        known = self.definition.parameters
        problems = []
        for name, value in self.parameters.items():
            if name not in known:
                problems.append(
                    Problem(f"parameters['{name}']", "the pipeline has no such parameter", nearest(name, known))
                )
            elif not is_template(value):
                try:
                    known[name].parse(value)
                except ValueError as error:
                    problems.append(
                        Problem(f"parameters['{name}']", str(error), f"Give a value of type {known[name].type}")
                    )
        if problems:
            raise PipelineParameterError(problems)

    def __deepcopy__(self, memo: dict[int, object]) -> Pipeline:
        return self

    def task_id(self, step: str) -> str:
        """Return the task of a step."""
        return f"{self.prefix}{step}"

    @property
    def watches_from_trigger(self) -> bool:
        """Whether the tasks that watch steps begin in the triggerer."""
        return len(self.definition.all_steps) <= _MOST_STEPS_FROM_TRIGGER

    @property
    def templates(self) -> dict[str, str]:
        """The author's values that hold Jinja."""
        return {name: value for name, value in self.parameters.items() if isinstance(value, str) and is_template(value)}

    def start_values(self, rendered: Mapping[str, object], conf: Mapping[str, Any]) -> Mapping[str, Scalar]:
        """Return the values that a run starts with: its conf over the author's values over the defaults.

        :param rendered: :attr:`templates` with Jinja rendered.
        :param conf: the run's conf.
        :raises PipelineParameterError: if a value is missing or wrong.
        """
        given = {**self.parameters, **rendered}
        if self.reads_conf:
            given |= {name: value for name, value in conf.items() if self._overrides(name, value)}
        return start_values(self.definition.parameters, given)

    def _overrides(self, name: str, value: object) -> bool:
        # The trigger form sends every field, also one that was left at the author's template.
        return name in self.definition.parameters and value is not None and value != self.templates.get(name)
