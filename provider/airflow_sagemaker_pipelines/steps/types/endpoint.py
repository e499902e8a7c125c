"""Endpoint steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import aws_call
from airflow_sagemaker_pipelines.steps.deployment import Deployment
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepError, StepRequestError
from airflow_sagemaker_pipelines.steps.execution import iso_time
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun
from airflow_sagemaker_pipelines.steps.status import Verdict

#: A failed endpoint has no instances, so its deletion takes seconds; a worker waits at most this long.
_DELETION = {"Delay": 2, "MaxAttempts": 60}


class Endpoint(Deployment):
    """An endpoint: created, or brought to the step's configuration by an update."""

    step_type = StepType.ENDPOINT
    noun = "endpoint"
    create = "create_endpoint"
    update = "update_endpoint"
    describe = "describe_endpoint"
    name_member = "EndpointName"
    status_member = "EndpointStatus"
    console = "endpoints"

    def handle(self, run: StepRun, request: Mapping[str, Any]) -> Handle:
        """Return the name, and the configuration that must be in service in the end."""
        return {"name": request["EndpointName"], "config": request["EndpointConfigName"]}

    def serves_other(self, handle: Handle, description: Mapping[str, Any]) -> str | None:
        """Return the configuration in service if it is another one."""
        found = description.get("EndpointConfigName")
        if found == handle["config"]:
            return None
        return f"endpoint configuration '{found}' and not '{handle['config']}'"

    def check_in_progress(self, run: StepRun, request: Mapping[str, Any], state: State) -> None:
        """Refuse to wait for another configuration: AWS takes an update only when the endpoint is at rest.

        :raises StepCallError: if the configuration on its way is not the step's.
        """
        pending = state.description.get("PendingDeploymentSummary") or state.description
        found, wanted = pending.get("EndpointConfigName"), request["EndpointConfigName"]
        if state.verdict is Verdict.RUNNING and found != wanted:
            raise StepCallError(
                f"the endpoint is in status {state.description['EndpointStatus']} with endpoint configuration "
                f"'{found}'; it can get '{wanted}' after that",
                step=run.step.name,
                resource=self.resource(state.handle),
            )

    def remove(self, run: StepRun, state: State) -> None:
        """Delete a failed endpoint that this execution made, and wait until it is gone.

        AWS permits nothing else with it, and it serves nobody. One that was there before may be somebody else's
        matter; it is left alone.

        :raises StepRequestError: if the endpoint is older than the execution.
        """
        description, name = state.description, state.handle["name"]
        if state.verdict is Verdict.FAILED:
            # Both are ISO 8601 in UTC, to the millisecond.
            if description["CreationTime"] < iso_time(run.execution.start_time):
                raise StepRequestError(
                    f"the endpoint has failed before ({state.reason}), and AWS cannot update a failed endpoint. "
                    f"Delete it: aws sagemaker delete-endpoint --endpoint-name {name}",
                    step=run.step.name,
                    resource=self.resource(state.handle),
                )
            self._delete(run, state.handle)
        with aws_call("DescribeEndpoint", step=run.step.name):
            waiter = run.clients("sagemaker").get_waiter("endpoint_deleted")
            waiter.wait(EndpointName=name, WaiterConfig=_DELETION)

    def _delete(self, run: StepRun, handle: Handle) -> None:
        try:
            with aws_call("DeleteEndpoint", step=run.step.name):
                run.clients("sagemaker").delete_endpoint(EndpointName=handle["name"])
        except StepError:
            # The answer may have been lost, and a repetition refused because the endpoint is going or gone.
            state = self.find(run, handle)
            if state is not None and state.description.get("EndpointStatus") != "Deleting":
                raise
