"""Jobs whose code is run: a thread per job calls the runner and tells the engine how it went."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .behaviours import behaviour_of
from .describe import describe
from .kinds import MODEL, TRANSFORM

if TYPE_CHECKING:
    from .engine import Engine
    from .runner import RunResult
    from .store import Resource

log = logging.getLogger(__name__)

# How long a stop of the endpoint waits for the code of running jobs to end.
SHUTDOWN_SECONDS = 10.0

_threads: set[threading.Thread] = set()
_threads_lock = threading.Lock()


def start(engine: Engine, resource: Resource) -> None:
    """Run a job's code in a thread; where it cannot be run, the clock drives the job instead."""
    resource.runs_code = True
    behaviour_of(resource.kind).plan(resource, None)
    thread = threading.Thread(target=_run, args=(engine, resource), name=f"local-aws-job-{resource.name}", daemon=True)
    with _threads_lock:
        _threads.add(thread)
    thread.start()


def join_all(seconds: float = SHUTDOWN_SECONDS) -> None:
    """Wait for the threads of jobs that were told to stop; the runner ends their child processes."""
    deadline = time.monotonic() + seconds
    with _threads_lock:
        threads = list(_threads)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(timeout=max(0.0, deadline - time.monotonic()))


def _run(engine: Engine, resource: Resource) -> None:
    try:
        # A job that is stopped while it waits for its turn runs the runner with the stop already set: no special case.
        with engine.state.run_slots:
            result = _call_runner(engine, resource)
        if result is None:
            resource.runs_code = False
            _fall_back(engine, resource)
        else:
            _finish(engine, resource, result)
    except Exception:
        log.exception("Running %s failed inside the local endpoint", resource.arn)
        engine.finish(resource, "Failed", "InternalServerError: We encountered an internal error. Please try again.")
    finally:
        with _threads_lock:
            _threads.discard(threading.current_thread())


def _call_runner(engine: Engine, resource: Resource) -> RunResult | None:
    # The runner keeps to the request's MaxRuntimeInSeconds itself: waiting for a turn must not count.
    return engine.state.runner().run(
        resource.kind.name.lower(),
        resource.name,
        resource.request,
        resource.stop,
        model=_model(engine, resource),
    )


def _model(engine: Engine, resource: Resource) -> Mapping[str, Any] | None:
    if resource.kind is not TRANSFORM:
        return None
    model = engine.store.find(MODEL, resource.request["ModelName"])
    return describe(model) if model is not None else None


def _fall_back(engine: Engine, resource: Resource) -> None:
    lifecycle = resource.kind.lifecycle
    if lifecycle is not None and resource.status == lifecycle.stopping:
        engine.finish(resource, "Stopped")
    else:
        engine.run_by_clock(resource)


def _finish(engine: Engine, resource: Resource, result: RunResult) -> None:
    resource.exit_message = result.exit_message
    resource.metrics = [
        {"MetricName": metric.name, "Value": metric.value, "Timestamp": _seconds(metric.timestamp)}
        for metric in result.metrics
    ]
    resource.timed_out = result.timed_out
    if result.stopped or result.timed_out:
        engine.finish(resource, "Stopped")
    elif result.succeeded:
        engine.finish(resource, "Completed")
    else:
        engine.finish(resource, "Failed", result.failure_reason)


def _seconds(timestamp: Any) -> float:
    return float(timestamp.timestamp()) if hasattr(timestamp, "timestamp") else float(timestamp)
