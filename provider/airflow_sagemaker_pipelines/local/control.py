"""The ``/_local`` paths: health, rules, faults, counts, records, pipelines' settings, reset. JSON in, JSON out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .faults import Fault
from .install import close_engines, install, reset_moto
from .records import records
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
        document = json.loads(body or b"null")
    except ValueError as error:
        return 400, {"error": f"the body is not JSON: {error}"}
    try:
        return handler(state, document)
    except ValueError as error:
        return 400, {"error": str(error)}


def reset(state: LocalState) -> None:
    """Forget everything: moto's state, jobs (their code is ended), rules, faults, counts, choices."""
    close_engines()
    state.timeline.clear()
    reset_moto()
    # Another user of moto in this process, a test of its own, may have put something else in our place.
    install(state.endpoint_url)
    state.rules.clear()
    state.faults.clear()
    state.calls.clear()
    state.pipelines = state.settings.pipelines


def _health(state: LocalState, _: Any) -> Answer:
    return 200, {
        "status": "ok",
        "endpoint_url": state.endpoint_url,
        "region": state.settings.region,
        "run_code": state.settings.run_code,
        "duration": state.settings.duration,
        "seed": state.settings.seed,
        "uptime": round(time.time() - state.started, 3),
    }


def _get_rules(state: LocalState, _: Any) -> Answer:
    return 200, {"rules": state.rules.to_json()}


def _add_rules(state: LocalState, document: Any) -> Answer:
    for rule in [Rule.from_json(item) for item in _objects(document)]:
        state.rules.add(rule)
    return 200, {"rules": state.rules.to_json()}


def _clear_rules(state: LocalState, _: Any) -> Answer:
    state.rules.clear()
    return 200, {"rules": []}


def _get_faults(state: LocalState, _: Any) -> Answer:
    return 200, {"faults": state.faults.to_json()}


def _add_faults(state: LocalState, document: Any) -> Answer:
    state.faults.add([Fault.from_json(item) for item in _objects(document)])
    return _get_faults(state, None)


def _clear_faults(state: LocalState, _: Any) -> Answer:
    state.faults.clear()
    return 200, {"faults": []}


def _objects(document: Any) -> list[dict[str, Any]]:
    documents = document if isinstance(document, list) else [document]
    if not all(isinstance(item, dict) for item in documents):
        raise ValueError("post one JSON object, or a list of them")
    return documents


def _get_calls(state: LocalState, _: Any) -> Answer:
    return 200, state.calls.counts()


def _get_call_details(state: LocalState, _: Any) -> Answer:
    return 200, state.calls.details()


def _clear_calls(state: LocalState, _: Any) -> Answer:
    state.calls.clear()
    return 200, {}


def _get_pipelines(state: LocalState, _: Any) -> Answer:
    return 200, asdict(state.pipelines)


def _choose(state: LocalState, document: Any) -> Answer:
    for choices in _objects(document):
        state.pipelines = state.pipelines.with_choices(choices)
    return _get_pipelines(state, None)


def _get_jobs(_state: LocalState, _: Any) -> Answer:
    return 200, {"jobs": records()}


def _reset(state: LocalState, _: Any) -> Answer:
    reset(state)
    return 200, {"status": "ok"}


_ROUTES: dict[str, dict[str, Callable[[LocalState, Any], Answer]]] = {
    "/_local/health": {"GET": _health},
    "/_local/rules": {"GET": _get_rules, "POST": _add_rules, "DELETE": _clear_rules},
    "/_local/faults": {"GET": _get_faults, "POST": _add_faults, "DELETE": _clear_faults},
    "/_local/calls": {"GET": _get_calls, "DELETE": _clear_calls},
    "/_local/calls/detail": {"GET": _get_call_details},
    "/_local/jobs": {"GET": _get_jobs},
    "/_local/pipelines": {"GET": _get_pipelines, "POST": _choose},
    "/_local/reset": {"POST": _reset},
}
