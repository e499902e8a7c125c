"""AWS clients one of whose calls goes wrong once: what a network and a dying worker do to a single call."""

from __future__ import annotations

from enum import StrEnum
from types import SimpleNamespace

from botocore.exceptions import ConnectionClosedError

from tests.steps.types.step_runs import EndpointClients

ERROR = 300


class Fault(StrEnum):
    """What goes wrong with a call."""

    REFUSED = "refused"
    """AWS throttles it, and botocore has given up repeating it."""
    REPEATED = "repeated"
    """It is done, its answer is lost, and botocore repeats it if it may."""
    LOST = "lost"
    """It is done, its answer is lost, and botocore does not repeat it."""
    TRUNCATED = "truncated"
    """It is done, and its answer is cut off, which botocore takes for an empty one."""
    DIED = "died"
    """It is done, and the worker dies before it knows."""


class WorkerDiedError(BaseException):
    """Nothing in the worker sees this one coming."""


class FaultyClients(EndpointClients):
    """The clients of a local endpoint; ``fault`` strikes the first call of ``operation``.

    Faults are injected by botocore's events, so they hit one call of one client and no other.
    """

    def __init__(self, endpoint, operation=None, fault=None, **config):
        super().__init__(endpoint, **config)
        self.operations = []
        self._operation, self._fault, self._struck = operation, fault, False

    def make(self, service, *, repeats):
        client = super().make(service, repeats=repeats)
        events = client.meta.events
        events.register("before-call", self._before_call)
        events.register("before-send", lambda request, **event: self._before_send(client, request, **event))
        events.register("after-call", self._after_call)
        return client

    def _strikes(self, operation, *faults):
        if self._struck or operation != self._operation or self._fault not in faults:
            return False
        self._struck = True
        return True

    def _before_call(self, model, **_):
        if model.name not in self.operations:
            self.operations.append(model.name)
        if self._strikes(model.name, Fault.REFUSED):
            error = {"Code": "ThrottlingException", "Message": "Rate exceeded"}
            return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}
        return None

    def _before_send(self, client, request, event_name, **_):
        if self._strikes(event_name.rpartition(".")[2], Fault.REPEATED):
            client._endpoint.http_session.send(request)
            raise ConnectionClosedError(endpoint_url=request.url)

    def _after_call(self, model, http_response, parsed, **_):
        if self._strikes(model.name, Fault.LOST):
            raise ConnectionClosedError(endpoint_url="http://lost")
        if self._strikes(model.name, Fault.DIED):
            raise WorkerDiedError
        if self._strikes(model.name, Fault.TRUNCATED):
            parsed.clear()
            if (status := http_response.status_code) >= ERROR:
                # As botocore reads an error whose body is cut.
                parsed["Error"] = {"Code": str(status), "Message": '{"__type": "Valid'}
                parsed["ResponseMetadata"] = {"HTTPStatusCode": status}
