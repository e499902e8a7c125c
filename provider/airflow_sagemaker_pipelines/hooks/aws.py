"""AWS clients of one Airflow connection."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

_LIFETIME = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsConnection:
    """How to reach AWS: the four settings that operators of the Amazon provider take. Nothing here is secret.

    :param aws_conn_id: the Airflow connection; ``None`` uses boto3's own credential chain.
    :param region_name: instead of the connection's region.
    :param verify: instead of the connection's: whether, or by which CA bundle, TLS certificates are checked.
    :param botocore_config: arguments of ``botocore.config.Config``, instead of the connection's ``config_kwargs``.
    """

    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    botocore_config: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Keep a copy of the author's mapping, of whatever type, that goes through Airflow's database."""
        if self.botocore_config is not None:
            object.__setattr__(self, "botocore_config", dict(self.botocore_config))

    def serialize(self) -> dict[str, Any]:
        """Return the settings as JSON, for a trigger."""
        return asdict(self)

    @property
    def key(self) -> str:
        """What tells the connection from others; the settings themselves may hold what cannot be hashed."""
        return json.dumps(self.serialize(), sort_keys=True)


#: Seconds to wait for an answer, by service, where the connection and the DAG's author say nothing. A Lambda function
#: answers when it has ended, after the 10 minutes of a Lambda step at most; with botocore's 60 seconds the client would
#: give up. It never repeats a call by itself, which would invoke a function twice without anybody knowing.
_PATIENCE = {"lambda": 630}

#: Settings of clients that ask for states again and again, where the connection and the DAG's author say nothing. A
#: call that hangs holds up others, and what fails is asked later, by an interval that grows; botocore would repeat it
#: at once, four times.
_ASKING = {
    "connect_timeout": 10,
    "read_timeout": 20,
    "retries": {"total_max_attempts": 2},
    "max_pool_connections": 32,
}


class AwsClients:
    """Makes boto3 clients and keeps them; usable from several threads, as clients are.

    Credentials, assumed roles and endpoints are the Amazon provider's matter.

    :param connection: how to reach AWS.
    :param defaults: arguments of ``botocore.config.Config`` that the connection and the DAG's author may override.
    """

    def __init__(self, connection: AwsConnection, defaults: Mapping[str, Any] | None = None) -> None:
        self._connection = connection
        self._defaults = defaults or {}
        self._clients: dict[tuple[str, bool], Any] = {}

    def _hook(self, service: str) -> AwsBaseHook:
        # Imports boto3, which the parsing of a DAG file must not pay for.
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # noqa: PLC0415

        config = self._connection.botocore_config
        return AwsBaseHook(
            aws_conn_id=self._connection.aws_conn_id,
            client_type=service,
            region_name=self._connection.region_name,
            verify=self._connection.verify,
            config=dict(config) if config is not None else None,
        )

    def __call__(self, service: str, *, repeats: bool = True) -> Any:
        """Return the client of a service.

        :param repeats: whether botocore may send a call again by itself. Without, it never does, whatever the
            connection and the DAG's author say: AWS would carry the call out twice.
        """
        if (service, repeats) not in self._clients:
            self._clients[service, repeats] = self._make(service, repeats=repeats)
        return self._clients[service, repeats]

    def _make(self, service: str, *, repeats: bool) -> Any:
        hook = self._hook(service)
        if repeats and service not in _PATIENCE and not self._defaults:
            return hook.get_conn()
        from botocore.config import Config  # noqa: PLC0415

        once = Config(retries={"total_max_attempts": 1})
        config = Config(**self._defaults).merge(hook.config)
        if service in _PATIENCE:
            patient = Config(read_timeout=_PATIENCE[service], tcp_keepalive=True)
            config = patient.merge(once).merge(config)
        if not repeats:
            config = config.merge(once)
        return hook.get_client_type(config=config)

    @property
    def region_name(self) -> str:
        """The region that calls go to."""
        return str(self("sagemaker").meta.region_name)


def shared_clients(connection: AwsConnection) -> AwsClients:
    """Return the clients of a connection that all waits in this process share.

    They are made anew every ten minutes, so that an edited connection reaches waits that last for days.
    """
    return _shared_clients(connection.key, int(time.monotonic() // _LIFETIME))


@lru_cache(maxsize=64)
def _shared_clients(settings: str, period: int) -> AwsClients:
    return AwsClients(AwsConnection(**json.loads(settings)), _ASKING)


def forget_shared_clients() -> None:
    """Have clients made anew at the next call: those there are have the wrong credentials."""
    _shared_clients.cache_clear()
