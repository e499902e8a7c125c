"""The ``/_local`` paths: health, rules, counts, reset. JSON in, JSON out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from .install import close_engines, install, reset_moto
from .rules import Rule
from .state import LocalState

Answer = tuple[int, Any]


def respond(state: LocalState, environ: dict[str, Any]) -> Answer:
    """Answer a request to a ``/_local`` path with an HTTP status and a JSON document."""
    path = environ.get("PATH_INFO", "").rstrip("/")
    method = environ.get("REQUEST_METHOD", "GET")
    methods = _ROUTES.get(path)
    if methods is None:
        return 404, {"error": f"no such path; there are {', '.join(sorted(_ROUTES))}"}
    handler = methods.get(method)
    if handler is None:
        return 405, {"error": f"{path} knows {', '.join(sorted(methods))}"}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        return handler(state, json.loads(body or b"null"))
    except ValueError as error:
        return 400, {"error": str(error)}


def reset(state: LocalState) -> None:
    """Forget everything: moto's state, jobs (their code is ended), rules, counts."""
    close_engines()
    state.timeline.clear()
    reset_moto()
    # Another user of moto in this process, a test of its own, may have put something else in our place.
    install(state.endpoint_url)
    state.rules.clear()
    state.calls.clear()


def _health(state: LocalState, _: Any) -> Answer:
    return 200, {
        "status": "ok",
        "endpoint_url": state.endpoint_url,
        "region": state.settings.region,
        "run_code": state.settings.run_code,
        "duration": state.settings.duration,
        "uptime": round(time.time() - state.started, 3),
    }


def _get_rules(state: LocalState, _: Any) -> Answer:
    return 200, {"rules": state.rules.to_json()}


def _add_rules(state: LocalState, document: Any) -> Answer:
    documents = document if isinstance(document, list) else [document]
    if not all(isinstance(item, dict) for item in documents):
        raise ValueError("post a rule, or a list of rules, as JSON objects")
    for rule in [Rule.from_json(item) for item in documents]:
        state.rules.add(rule)
    return 200, {"rules": state.rules.to_json()}


def _clear_rules(state: LocalState, _: Any) -> Answer:
    state.rules.clear()
    return 200, {"rules": []}


def _get_calls(state: LocalState, _: Any) -> Answer:
    return 200, state.calls.counts()


def _clear_calls(state: LocalState, _: Any) -> Answer:
    state.calls.clear()
    return 200, {}


def _reset(state: LocalState, _: Any) -> Answer:
    reset(state)
    return 200, {"status": "ok"}


_ROUTES: dict[str, dict[str, Callable[[LocalState, Any], Answer]]] = {
    "/_local/health": {"GET": _health},
    "/_local/rules": {"GET": _get_rules, "POST": _add_rules, "DELETE": _clear_rules},
    "/_local/calls": {"GET": _get_calls, "DELETE": _clear_calls},
    "/_local/reset": {"POST": _reset},
}
