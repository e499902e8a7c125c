"""Marks tasks and runs failed, and clears tasks, at the moments that the plan names."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.local import LocalEndpoint
from airflow_sagemaker_pipelines.operators.pipeline_run import START_TASK
from tests.soak.airflow import SoakApi
from tests.soak.executions import stop
from tests.soak.plan import Outcome, Run
from tests.soak.records import End, Job
from tests.soak.verdicts import STOPS, Interference
from tests.soak.watched_plan import WatchedRun

#: Seconds after which nobody stops a job any more that was to be stopped.
_STOPPED_WITHIN = 90.0
#: Seconds since its last sign of life for which a triggerer, which gives one every two, is taken to live.
_ALIVE_WITHIN = 4.0
_CALM = frozenset({"success", "skipped", "deferred"})


class Interferer:
    """Somebody at the buttons of Airflow's UI.

    :param api: Airflow's.
    """

    def __init__(self, api: SoakApi, endpoint: LocalEndpoint) -> None:
        self.done: list[Interference] = []
        #: Those after which nobody has stopped what ran, so that it was done from here: else the runs would not end.
        self.forgotten: list[Interference] = []
        self._api = api
        self._endpoint = endpoint

    def awaits(self, run: Run, state: str) -> bool:
        """Whether a run that has ended is yet to be interfered with."""
        outcome = run.interference[1] if run.interference else None
        is_done = any(it.run is run for it in self.done)
        return not is_done and {Outcome.IS_REDONE: "success", Outcome.IS_RESUMED: "failed"}.get(outcome) == state

    def turn(self, runs: Sequence[Run], states: Mapping[str, str], found: Sequence[Job]) -> None:
        """Do all for which it is time.

        :param found: the jobs that there are.
        """
        done = {it.run for it in self.done}
        waiting = {run: run.interference for run in runs if run.interference and run not in done}
        newest = {(job.run, job.step): job for job in found}
        for run, (step, outcome) in waiting.items():
            job = newest.get((run, step))
            if job is not None and _is_time(job, run, outcome, states[run.run_id]):
                # Components die under it: the next turn tries again.
                with suppress(httpx.HTTPError):
                    self._interfere(run, step, outcome)

        for it in self.done:
            self._stop_forgotten(it, newest[it.run, it.step])

    def _stop_forgotten(self, it: Interference, job: Job) -> None:
        is_late = time.time() > it.time + _STOPPED_WITHIN
        is_left = is_late and job.end is End.RUNS and it not in self.forgotten
        if isinstance(it.run, WatchedRun) and it.outcome in STOPS and is_left:
            self.forgotten.append(it)
            # Somebody may be faster.
            with suppress(ClientError):
                stop(self._endpoint, job.record, it.run)

    def _interfere(self, run: Run, step: str, outcome: Outcome) -> None:
        api, heard_by = self._api, run.awaited_task if isinstance(run, WatchedRun) else step
        task = api.task_instance(run.dag_id, run.run_id, heard_by)
        if task["state"] not in _states(run, outcome) or not _is_held(task):
            return
        # Airflow does not clear a task that it is about to begin, because the one before it has succeeded.
        if outcome is Outcome.IS_REDONE and not self._is_calm(run):
            return
        match outcome:
            case Outcome.RUN_IS_FAILED:
                api.mark_run_failed(run.dag_id, run.run_id)
            case Outcome.IS_KILLED:
                api.mark_failed(run.dag_id, run.run_id, step)
            case Outcome.IS_RESTARTED:
                api.clear(run.dag_id, run.run_id, START_TASK)
            case _:
                api.clear(run.dag_id, run.run_id, step)
        triggerer = (task["trigger"] or {}).get("triggerer_id")
        self.done.append(
            Interference(
                run=run, step=step, outcome=outcome, time=time.time(), state=task["state"], triggerer=triggerer
            )
        )

    def _is_calm(self, run: Run) -> bool:
        """Whether nothing in Airflow is about to change but what waits for the execution."""
        tasks = self._api.task_instances(run.dag_id, run.run_id)
        return all(task["state"] in _CALM for task in tasks)


def heard(interferences: Iterable[Interference], logs: Path) -> dict[str, float]:
    """Return when Airflow told triggers that their tasks were ended, by run, as the tasks' logs say.

    :param logs: where Airflow's are.
    """
    found = {}
    for it in interferences:
        task = it.run.awaited_task if isinstance(it.run, WatchedRun) else it.step
        for log in (logs / f"dag_id={it.run.dag_id}" / f"run_id={it.run.run_id}" / f"task_id={task}").glob("*trigger*"):
            for line in log.read_text(errors="replace").splitlines():
                if "invoking on_kill" in line:
                    time_of_line = datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
                    found.setdefault(it.run.run_id, time_of_line)
    return found


def _is_time(job: Job, run: Run, outcome: Outcome, state: str) -> bool:
    if outcome is Outcome.IS_RESUMED:
        return state == "failed"
    if outcome is Outcome.IS_REDONE:
        return job.end is End.WANTED and time.time() >= job.record["ended"] + run.delay
    return job.end is End.RUNS and time.time() >= job.record["created"] + run.delay


def _is_held(task: Mapping[str, Any]) -> bool:
    """Whether there is a process to hear what is done to a task: a deferred one's trigger is held by a live triggerer.

    That Airflow tells nobody of a mark while there is none is known, and shows nothing about those who are told.
    """
    if task["state"] != "deferred":
        return True
    triggerer = task.get("triggerer_job")
    if triggerer is None:
        return False
    return time.time() - datetime.fromisoformat(triggerer["latest_heartbeat"]).timestamp() < _ALIVE_WITHIN


def _states(run: Run, outcome: Outcome) -> frozenset[str]:
    """Return the states in which a task may be interfered with."""
    if outcome is Outcome.IS_REDONE:
        return frozenset({"success"})
    if outcome is Outcome.IS_RESUMED:
        return frozenset({"failed"})
    # Airflow tells a new try nothing of a clear if the task was running: it looks like a retry.
    if outcome is Outcome.IS_KILLED and not isinstance(run, WatchedRun):
        return frozenset({"running", "deferred"})
    return frozenset({"deferred"})
