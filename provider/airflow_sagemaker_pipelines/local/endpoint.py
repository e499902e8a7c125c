"""The endpoint for use inside a program or a test."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from . import control
from .calls import OnCall
from .faults import Fault, FaultBook
from .records import records
from .rules import Rule, RuleBook
from .server import LocalServer
from .state import Settings, no_hook

if TYPE_CHECKING:
    from types import TracebackType

# Any will do; moto takes them for account 123456789012.
ACCESS_KEY, SECRET_KEY = "testing", "testing"


class LocalEndpoint:
    """A local AWS endpoint in a thread of this process.

    ::

        with LocalEndpoint(duration=0.1) as endpoint:
            endpoint.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
            sagemaker = endpoint.client("sagemaker")

    A process has at most one; starting a second one raises RuntimeError. The parameters are those of
    :class:`~airflow_sagemaker_pipelines.local.state.Settings`.

    :param port: the port to listen on; 0 for a free one.
    :param on_call: called at each API call, see :data:`~airflow_sagemaker_pipelines.local.calls.OnCall`.
    """

    def __init__(self, *, port: int = 0, on_call: OnCall = no_hook, **settings: Any) -> None:
        self._server = LocalServer(Settings(**settings), port=port, on_call=on_call)
        self._session = boto3.session.Session()
        self._session_lock = threading.Lock()

    def start(self) -> LocalEndpoint:
        """Start to listen."""
        self._server.start()
        return self

    def close(self) -> None:
        """Stop; the code of running jobs is ended, and everything is forgotten."""
        self._server.stop()

    def __enter__(self) -> LocalEndpoint:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """What clients use as ``endpoint_url``."""
        return self._server.url

    @property
    def region(self) -> str:
        """The region of ``client`` and ``connection``."""
        return self._server.state.settings.region

    @property
    def rules(self) -> RuleBook:
        """The rules in force."""
        return self._server.state.rules

    def rule(self, **members: Any) -> Rule:
        """Add a rule; see :class:`~airflow_sagemaker_pipelines.local.rules.Rule` for its members."""
        return self.rules.add(Rule.from_json(members))

    @property
    def faults(self) -> FaultBook:
        """The faults in force."""
        return self._server.state.faults

    def fault(self, fault: str, **members: Any) -> None:
        """Add a fault; see :class:`~airflow_sagemaker_pipelines.local.faults.Fault` for its members."""
        self.faults.add([Fault.from_json({"fault": fault, **members})])

    def choose(self, **choices: Any) -> None:
        """Choose what AWS leaves open about pipelines, until the next reset.

        :param choices: members of :class:`~airflow_sagemaker_pipelines.local.pipelines.settings.PipelineSettings`.
        """
        state = self._server.state
        state.pipelines = state.pipelines.with_choices(choices)

    def jobs(self) -> list[dict[str, Any]]:
        """Return what was created, see :func:`~airflow_sagemaker_pipelines.local.records.records`."""
        return records()

    def calls(self) -> dict[str, int]:
        """Return how often each operation was called: ``{"sagemaker.CreateTrainingJob": 3}``."""
        return self._server.state.calls.counts()

    def call_details(self) -> dict[str, dict[str, Any]]:
        """Return for each operation its ``calls``, ``peak_per_second`` and how many each fault ``struck``."""
        return self._server.state.calls.details()

    def clear_calls(self) -> None:
        """Count from zero."""
        self._server.state.calls.clear()

    def reset(self) -> None:
        """Forget everything: all services' state, jobs, rules, faults, counts."""
        control.reset(self._server.state)

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client of this endpoint; ``options`` go to ``boto3.client``."""
        values: dict[str, Any] = {
            "endpoint_url": self.url,
            "region_name": self.region,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "config": Config(proxies={}),
        }
        # A session remembers the service models it has read; it is not made for several threads at once.
        with self._session_lock:
            return self._session.client(service, **{**values, **options})  # type: ignore[call-overload]

    def connection(self) -> str:
        """Return an Airflow connection to this endpoint, as the JSON of an ``AIRFLOW_CONN_…`` variable."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": ACCESS_KEY,
                "password": SECRET_KEY,
                "extra": {"endpoint_url": self.url, "region_name": self.region},
            }
        )

    def environment(self) -> dict[str, str]:
        """Return environment variables with which Airflow's ``aws_default`` and plain boto3 both come here."""
        no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"]))
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": self.connection(),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Whatever lies in the home directory must neither help nor hurt.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }
