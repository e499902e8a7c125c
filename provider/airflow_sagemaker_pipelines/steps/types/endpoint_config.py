"""EndpointConfig steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, input_members, to_json
from airflow_sagemaker_pipelines.steps.compare import differences
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.job import NamedResource
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun
from airflow_sagemaker_pipelines.steps.status import Verdict

#: Describe answers hold no tags.
_NOT_DESCRIBED = frozenset({"Tags"})


class EndpointConfig(NamedResource):
    """An endpoint configuration; it exists as soon as the call returns, and never changes.

    A name in the definition is taken as it is. AWS has no UpdateEndpointConfig: a configuration of that name which
    exists already is adopted if it says what the step says, otherwise the step fails.
    """

    step_type = StepType.ENDPOINT_CONFIG
    noun = "endpoint configuration"
    create = "create_endpoint_config"
    describe = "describe_endpoint_config"
    name_member = "EndpointConfigName"
    # Only endpoints of inference components have a role of their own.
    role_member = None
    console = "endpointConfig"

    def name(self, run: StepRun, *, generation: int) -> str:
        """Return the definition's name, or a generated one."""
        return run.resolve(run.step.arguments.get(self.name_member)) or run.identity.name(generation)

    def check_found(self, run: StepRun, request: Mapping[str, Any], state: State) -> None:
        """Refuse a configuration of the same name that says something else.

        :raises StepRequestError: with the differences.
        """
        different = [*differences(_described(request), state.description), *self._extra(run, request, state)]
        if different:
            raise StepRequestError(
                f"an endpoint configuration '{request[self.name_member]}' exists already and is another one: "
                f"{'; '.join(different)}. A configuration cannot be changed: give the step another "
                f"EndpointConfigName, such as one with the execution's id in it, or none",
                step=run.step.name,
            )

    def _extra(self, run: StepRun, request: Mapping[str, Any], state: State) -> list[str]:
        # AWS fills in defaults inside the variants; a whole member that nobody asked for, such as data capture, is
        # something else.
        known = input_members(run.clients, "sagemaker", "CreateEndpointConfig")
        return [
            f"it has {member}"
            for member, value in state.description.items()
            if member in known and member not in request and value
        ]

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe the configuration."""
        answer = to_json(clients("sagemaker").describe_endpoint_config(**self.key(handle)))
        judged = Verdict.SUCCEEDED if "EndpointConfigArn" in answer else Verdict.UNKNOWN
        return State(handle=handle, verdict=judged, description=answer)

    def started(self, run: StepRun, handle: Handle) -> State:
        """A created configuration is complete."""
        return self.look(run, handle)


def _described(request: Mapping[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in request.items() if member not in _NOT_DESCRIBED}
