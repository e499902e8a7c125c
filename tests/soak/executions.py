"""The endpoint's records of pipelines and their executions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from botocore.config import Config

from airflow_sagemaker_pipelines.local import LocalEndpoint, install
from tests.soak.plan import Outcome, Run
from tests.soak.watched_plan import WatchedRun

_OVER = frozenset({"Succeeded", "Failed", "Stopped", "CompletedWithFailures"})


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution.

    :param name: what its start has called it: the run's id.
    :param selected: the steps that alone run in it; all if there are none.
    :param retries: how often it was made to go on.
    :param steps: their statuses.
    """

    arn: str
    name: str
    status: str
    started: float
    ended: float | None
    selected: Sequence[str]
    retries: int
    steps: Mapping[str, str]

    @property
    def id(self) -> str:
        """What is in the names of its jobs."""
        return self.arn.rsplit("/", 1)[-1]

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status in _OVER

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {status}" for name, status in self.steps.items())
        what = f"of {', '.join(self.selected)} " if self.selected else ""
        when = f"{self.started:.1f} to {self.ended}"
        return f"execution {self.id} {what}is {self.status} ({when}; {self.retries} retries; {steps})"


def executions() -> list[Execution]:
    """Return all executions, oldest first."""
    return sorted(_executions(), key=lambda execution: execution.started)


def _executions() -> Iterator[Execution]:
    for engine in install.engines():
        home = engine.pipelines
        with home.lock:
            retries = Counter(arn for operation, arn, _ in home.tokens if operation == "RetryPipelineExecution")
        for execution in home.executions():
            with execution.lock:
                selective = execution.start.selective or {}
                yield Execution(
                    arn=execution.arn,
                    name=execution.display_name,
                    status=execution.status,
                    started=execution.started,
                    ended=execution.ended,
                    selected=[step["StepName"] for step in selective.get("SelectedSteps", ())],
                    retries=retries[execution.arn],
                    steps={name: run.status for name, run in execution.runs.items()},
                )


def stop(endpoint: LocalEndpoint, job: Mapping[str, Any], run: WatchedRun) -> None:
    """Stop what nobody else has stopped: a job, or the execution of a run that was marked failed."""
    # This is no call of Airflow's: it is not counted, and no fault strikes it.
    client = endpoint.client("sagemaker", config=Config(proxies={}, user_agent_extra="local-runner"))
    if run.interference is not None and run.interference[1] is Outcome.RUN_IS_FAILED:
        for execution in executions():
            if execution.name == run.run_id and not execution.is_over:
                client.stop_pipeline_execution(PipelineExecutionArn=execution.arn, ClientRequestToken=uuid4().hex)
    elif job["kind"] == "Processing":
        client.stop_processing_job(ProcessingJobName=job["name"])
    else:
        client.stop_training_job(TrainingJobName=job["name"])


def versions() -> dict[str, int]:
    """Return how many versions each pipeline has."""
    return {
        pipeline.name: len(pipeline.versions) for engine in install.engines() for pipeline in engine.pipelines.all()
    }


def owners(runs: Sequence[Run], found: Sequence[Execution]) -> dict[str, Run]:
    """Return the runs by the ids of executions that are in the names of their jobs."""
    by_name = {run.run_id: run for run in runs if isinstance(run, WatchedRun)}
    own = {run.execution: run for run in runs if not isinstance(run, WatchedRun)}
    return own | {execution.id: by_name[execution.name] for execution in found if execution.name in by_name}
