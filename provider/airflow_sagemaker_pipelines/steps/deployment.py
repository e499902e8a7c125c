"""What serves under a fixed name: created when there is none of the name, else updated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_sagemaker_pipelines.steps.aws import Clients, aws_call, input_members, to_json
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepError
from airflow_sagemaker_pipelines.steps.job import NamedResource, is_missing, operation_name
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun
from airflow_sagemaker_pipelines.steps.status import Verdict, is_beyond_update, verdict

#: Somebody else may create or delete it between two of our calls; this often we look again.
_LOOKS = 3


class Deployment(NamedResource):
    """Something that serves requests, and goes on to when the pipeline is over.

    The name in the definition is taken as it is, so that every execution reaches the same one. A retry finds what an
    earlier try created or updated, and waits for it. Nothing is ever stopped: see :meth:`stop`.
    """

    #: The Update call in boto3.
    update: ClassVar[str]
    #: The member of the Describe answer that holds the status; also the name of botocore's enum.
    status_member: ClassVar[str]
    role_member = None

    def name(self, run: StepRun, *, generation: int) -> str:
        """Return the definition's name, or a generated one."""
        return run.resolve(run.step.arguments.get(self.name_member)) or run.identity.name(generation)

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Create or update it, or find that an earlier try has."""
        handle = self.handle(run, request)
        for _ in range(_LOOKS):
            state = self.find(run, handle)
            if state is None:
                if self._create(run, self._known_to(run, self.create, request)):
                    return self.started(run, handle)
            elif not state.verdict.is_final:
                self.check_in_progress(run, request, state)
                return state
            elif state.verdict is Verdict.SUCCEEDED and self.is_current(request, state):
                return state
            elif is_beyond_update(self.status_member, state.description.get(self.status_member)):
                self.remove(run, state)
            else:
                return self._update(run, request, state)
        raise StepCallError(f"somebody else creates and deletes {self.resource(handle)}", step=run.step.name)

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe it. In service with something other than what was wanted is a failure: a roll-back."""
        answer = to_json(getattr(clients("sagemaker"), self.describe)(**self.key(handle)))
        judged = verdict(self.status_member, answer.get(self.status_member))
        reason = answer.get("FailureReason")
        if judged is Verdict.SUCCEEDED and (other := self.serves_other(handle, answer)):
            judged = Verdict.FAILED
            reason = f"it serves {other}: the update was rolled back{f', {reason}' if reason else ''}"
        return State(handle=handle, verdict=judged, description=answer, reason=reason)

    @abstractmethod
    def serves_other(self, handle: Handle, description: Mapping[str, Any]) -> str | None:
        """Return what is served if it is not what the handle says."""

    def is_current(self, request: Mapping[str, Any], state: State) -> bool:
        """Whether what is in service needs no update."""
        return True

    def check_in_progress(self, run: StepRun, request: Mapping[str, Any], state: State) -> None:
        """Refuse to wait for somebody else's change; by default it is waited for.

        :raises StepCallError: if it has to end before ours can begin.
        """

    def check_update(self, run: StepRun, request: Mapping[str, Any], state: State) -> None:
        """Refuse an update that AWS has no call for.

        :raises StepError: if there is no way from what exists to what the step describes.
        """

    def remove(self, run: StepRun, state: State) -> None:
        """Make room for a new one where an update is not possible.

        :raises StepError: if that is not possible either, or not now.
        """
        raise StepCallError(f"{self.resource(state.handle)} is being deleted; try again later", step=run.step.name)

    def stop(self, clients: Clients, handle: Handle) -> None:
        """Do nothing.

        AWS cannot cancel a creation or an update. Deletion would end one, and with it whatever else is served under
        the name: that is for people to decide, not for the kill of a task.
        """

    def find(self, run: StepRun, handle: Handle) -> State | None:
        """Return its state, ``None`` if there is nothing of the name.

        :raises StepError: if AWS does not tell.
        """
        try:
            return self.look(run, handle)
        except StepError as error:
            if not is_missing(error.__cause__ or error):
                raise
            return None

    def _update(self, run: StepRun, request: Mapping[str, Any], state: State) -> State:
        self.check_update(run, request, state)
        try:
            with aws_call(operation_name(self.update), step=run.step.name):
                getattr(run.clients("sagemaker"), self.update)(**self._known_to(run, self.update, request))
        except StepError:
            # The answer may have been lost; if botocore then repeated the call, AWS refused the second one because of
            # the first.
            found = self._updating(run, request, state.handle)
            if found is None:
                raise
            return found
        return self.started(run, state.handle)

    def _updating(self, run: StepRun, request: Mapping[str, Any], handle: Handle) -> State | None:
        """Return the state if the step's own update is on its way or done."""
        try:
            state = self.look(run, handle)
            if not state.verdict.is_final:
                self.check_in_progress(run, request, state)
                return state
        except StepError:
            return None
        return state if state.verdict is Verdict.SUCCEEDED and self.is_current(request, state) else None

    def _known_to(self, run: StepRun, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        # One step describes both calls. What neither of them knows is left in, for AWS to refuse.
        here, elsewhere = (
            input_members(run.clients, "sagemaker", operation_name(name))
            for name in (method, self.update if method == self.create else self.create)
        )
        return {member: value for member, value in request.items() if member in here or member not in elsewhere}
