"""Replies to Callback steps, as workers write them into a reply queue.

A reply is a JSON object with what ``SendPipelineExecutionStepSuccess`` or ``…Failure`` would take::

    {"token": "a1b2c3d4e5", "status": "Succeeded", "outputParameters": [{"Name": "rmse", "Value": "0.4"}]}
    {"token": "a1b2c3d4e5", "status": "Failed", "failureReason": "no such bucket"}

Keys may also begin with a capital, ``CallbackToken`` may stand for ``token``, and outputs may be an object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_sagemaker_pipelines.steps.status import Verdict, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a worker says about one callback."""

    token: str
    verdict: Verdict
    outputs: Mapping[str, Any]
    """By name, untyped."""
    reason: str | None = None
    """Why it failed, in the worker's words."""


def parse_reply(body: str) -> Reply:
    """Read the body of a message.

    :raises ValueError: if it is no reply; the message says why.
    """
    document = read_object(body)
    token = read_member(document, "token", "callbackToken")
    if not isinstance(token, str) or not token:
        raise ValueError("it has no token")
    status = read_member(document, "status")
    meaning = verdict("StepStatus", status)
    if meaning not in {Verdict.SUCCEEDED, Verdict.FAILED}:
        raise ValueError(f"its status is {json.dumps(status)[:80]}, neither 'Succeeded' nor 'Failed'")
    reason = read_member(document, "failureReason")
    return Reply(
        token=token,
        verdict=meaning,
        outputs=output_values(read_member(document, "outputParameters")),
        reason=None if reason is None else str(reason),
    )


def output_values(node: Any) -> dict[str, Any]:
    """Read output parameters: a list of ``{"Name": …, "Value": …}``, an object, or nothing.

    :raises ValueError: if they are anything else.
    """
    if node is None:
        return {}
    if isinstance(node, Mapping):
        return dict(node)
    if not isinstance(node, list) or not all(isinstance(item, Mapping) for item in node):
        raise ValueError("its output parameters are neither a list of names and values nor an object")
    names = [read_member(item, "name") for item in node]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("one of its output parameters has no name")
    return {name: read_member(item, "value") for name, item in zip(names, node, strict=True)}


def read_object(body: str) -> Mapping[str, Any]:
    """Read the JSON object in the body of a message.

    :raises ValueError: if it is anything else.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        # Of the text, so no TypeError.
        raise ValueError("it is not a JSON object")  # noqa: TRY004
    return document


def read_member(document: Mapping[str, Any], *keys: str) -> Any:
    """Return the first member that is there, by its key in camel or in Pascal case; ``None`` if there is none."""
    for key in keys:
        for spelling in (key, key[0].upper() + key[1:]):
            if spelling in document:
                return document[spelling]
    return None
