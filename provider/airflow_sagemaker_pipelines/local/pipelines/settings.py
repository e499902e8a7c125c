"""What AWS does not say about pipelines. Each choice is named once, with the likely answer as its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """How executions behave where AWS's documentation is silent.

    Give others to :class:`~airflow_sagemaker_pipelines.local.LocalEndpoint` as ``pipelines=PipelineSettings(…)``.

    :param time_scale: what a second of a retry policy's interval, or of a Lambda step's ten minutes, lasts here. 0.01
        makes tests of retries quick.
    :param concurrent_executions: how many executions may go on at once; None for any number. AWS's quota is 20.

    Definitions:

    :param check_arguments: CreatePipeline refuses unknown members, types and lengths of arguments, as reports say.
    :param depends_on_condition: a step may list a Condition step in DependsOn; it was refused in 2023.
    :param nested_conditions: a Condition step may stand in another one's branch; it could not in 2023.
    :param empty_parameter_values: a start may give the empty text, as the API's model says and the SDK denies.
    :param list_defaults: ListPipelineParametersForExecution shows the values that come from defaults.

    Executions:

    :param new_steps_after_failure: steps whose own dependencies are met still start when another step has failed.
    :param any_takes_skipped: an upstream step that never starts satisfies the trigger ``Any``.
    :param unhandled_failure_fails: an execution fails if any failed step has no handler that ran; otherwise one
        handled failure is enough for ``CompletedWithFailures``.
    :param stopped_job_status: a step's status when somebody else stops its job.
    :param stopped_step_execution_status: what a step that was stopped by itself, and that nothing handles, makes of
        the execution.
    :param default_parallelism: how many steps run at once when nobody says; None for all that can.
    :param instant_steps_take_slots: Condition and Fail steps wait for a free slot, too.
    :param implicit_retries: how often throttling and service faults are retried without a policy.
    :param retries_per_policy: each policy counts its own retries; otherwise all of a step's count for all.
    :param retry_stopped: RetryPipelineExecution resumes stopped executions.
    :param retry_keeps_outcomes: a retry keeps the outcomes of Condition steps.
    :param retry_keeps_start_time: ``Execution.StartDateTime`` is the first start's after a retry.
    :param source_stopped: a selective execution may reuse steps of a stopped execution.
    :param source_checked_at_start: a source without a step that is needed is refused at the start; otherwise what
        needs it never starts.

    Steps:

    :param missing_output_fails: a Lambda or Callback step fails if it does not return a declared output; otherwise
        only what refers to it does.
    :param cache_undocumented: Lambda, Callback, EndpointConfig, Endpoint, EMRServerless and Job steps can be cached.
    :param fifo_queues: callbacks may go to FIFO queues.
    :param create_model_package_group: RegisterModel makes a group that is missing.
    :param baselines_as_inputs: check jobs get the previous baseline as inputs, by the containers' public contract.
    :param emr_action_on_failure: what an EMR step says that says nothing.
    :param stop_created_application: an EMRServerless step stops the application that it has made.
    :param loop_goes_on: a loop's other iterations go on after a failure.
    :param empty_loop: what a loop without items comes to.
    :param first_of_equals: a loop's selector takes the first of equal iterations; otherwise the last.
    :param failed_cleanup_fails: sources that could not be cleaned fail a Cleanup step.
    """

    time_scale: float = 1.0
    concurrent_executions: int | None = None
    check_arguments: bool = True
    depends_on_condition: bool = True
    nested_conditions: bool = True
    empty_parameter_values: bool = False
    list_defaults: bool = True
    new_steps_after_failure: bool = True
    any_takes_skipped: bool = False
    unhandled_failure_fails: bool = True
    stopped_job_status: Literal["Stopped", "Failed"] = "Stopped"
    stopped_step_execution_status: Literal["Failed", "Stopped"] = "Failed"
    default_parallelism: int | None = None
    instant_steps_take_slots: bool = False
    implicit_retries: int = 5
    retries_per_policy: bool = True
    retry_stopped: bool = True
    retry_keeps_outcomes: bool = True
    retry_keeps_start_time: bool = True
    source_stopped: bool = True
    source_checked_at_start: bool = True
    missing_output_fails: bool = False
    cache_undocumented: bool = True
    fifo_queues: bool = True
    create_model_package_group: bool = True
    baselines_as_inputs: bool = True
    emr_action_on_failure: str = "CONTINUE"
    stop_created_application: bool = False
    loop_goes_on: bool = True
    empty_loop: Literal["Succeeded", "Failed"] = "Succeeded"
    first_of_equals: bool = True
    failed_cleanup_fails: bool = True

    def with_choices(self, choices: Mapping[str, Any]) -> PipelineSettings:
        """Return the settings with some of them chosen anew.

        :raises ValueError: for an unknown setting, or a value that it does not take.
        """
        kinds = get_type_hints(PipelineSettings)
        if unknown := set(choices) - set(kinds):
            raise ValueError(f"unknown settings {sorted(unknown)}; there are {sorted(kinds)}")
        for name, value in choices.items():
            if not _takes(kinds[name], value):
                raise ValueError(f"{name} is {value!r}")
        return replace(self, **choices)


def _takes(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(kind, UnionType):
        return any(_takes(item, value) for item in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, kind)
