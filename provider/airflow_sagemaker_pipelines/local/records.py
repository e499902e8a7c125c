"""What the endpoint made: its own records, for those who look for duplicates and orphans."""

from __future__ import annotations

import datetime as dt
import hashlib
import sys
from collections.abc import Iterator
from typing import Any

from . import install
from .lambdas import INVOKED

Record = dict[str, Any]


def records() -> list[Record]:
    """Return what clients created since the last reset, oldest first; what has been deleted since is among it.

    A record has ``kind`` (that of the rules; ``LambdaInvocation`` for a run of a function), ``name``, ``arn``,
    ``status``, ``created`` and ``ended`` (epoch seconds), ``account``, ``region``, ``tags``, ``token`` (the client
    token of the request), ``parent`` (the ARN of what made it, for example of the tuning job of a training job) and
    ``deleted``. An invocation also has ``payload_sha256``; its status is the invocation's type.
    """
    found = [*_sagemaker(), *_emr(), *_emr_serverless(), *_invocations()]
    return sorted(found, key=lambda record: float(record["created"]))


def _record(*, kind: str, name: str, account: str, region: str, created: float | None, **more: Any) -> Record:
    blank: Record = {
        "arn": None,
        "status": None,
        "ended": None,
        "tags": {},
        "token": None,
        "parent": None,
        "deleted": False,
    }
    return {"kind": kind, "name": name, "account": account, "region": region, "created": created, **blank, **more}


def _sagemaker() -> Iterator[Record]:
    for engine in install.engines():
        store = engine.store
        with store.lock:
            for made in list(store.made):
                yield _record(
                    kind=made.kind.name,
                    name=made.name,
                    arn=made.arn,
                    account=store.account,
                    region=store.region,
                    status=made.status,
                    created=made.created,
                    ended=made.ended,
                    tags=dict(made.tags),
                    token=made.request.get("ClientToken"),
                    parent=made.parent.arn if made.parent else None,
                    deleted=store.by_arn(made.arn) is not made,
                )


def _backends(service: str, name: str) -> list[tuple[str, str, Any]]:
    """Return moto's backends of a service; none if nobody has used it, as moto takes most of a second to import it."""
    module = sys.modules.get(f"moto.{service}.models")
    return list(getattr(module, name).iter_backends()) if module else []


def _emr() -> Iterator[Record]:
    for account, region, backend in _backends("emr", "emr_backends"):
        place = {"account": account, "region": region}
        for cluster in list(backend.clusters.values()):
            yield _record(
                kind="EMRCluster",
                name=cluster.name,
                arn=cluster.arn,
                status=cluster.state,
                created=_epoch(cluster.creation_datetime),
                ended=_epoch(cluster.end_datetime),
                tags=dict(cluster._tags),
                **place,
            )
            for step in list(cluster.steps):
                yield _record(
                    kind="EMR",
                    name=step.name,
                    arn=step.id,
                    status=step.state,
                    created=_epoch(step.creation_date_time),
                    ended=_epoch(step.end_date_time),
                    parent=cluster.arn,
                    **place,
                )


def _emr_serverless() -> Iterator[Record]:
    for account, region, backend in _backends("emrserverless", "emrserverless_backends"):
        for kind, made, parent in _serverless(backend):
            yield _record(
                kind=kind,
                name=made.name or made.id,
                arn=made.arn,
                account=account,
                region=region,
                status=made.state,
                created=_epoch(made.created_at),
                tags=dict(made.tags or {}),
                token=made.client_token,
                parent=parent,
            )


def _serverless(backend: Any) -> Iterator[tuple[str, Any, str | None]]:
    for application in list(backend.applications.values()):
        yield "EMRServerlessApplication", application, None
        for job_run in list(backend.job_runs.get(application.id, ())):
            yield "EMRServerless", job_run, application.arn


def _invocations() -> Iterator[Record]:
    for invoked in list(INVOKED):
        function = invoked.function
        yield _record(
            kind="LambdaInvocation",
            name=function.function_name,
            arn=function.function_arn,
            account=function.account_id,
            region=function.region,
            status=invoked.invocation_type,
            created=invoked.time,
            payload_sha256=hashlib.sha256(invoked.payload).hexdigest(),
        )


def _epoch(time: Any) -> float | None:
    """Return moto's times, UTC without a zone, as epoch seconds."""
    return None if time is None else time.replace(tzinfo=dt.UTC).timestamp()
