"""The pipelines of one account and region, with their versions and executions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from ..errors import AwsError, not_implemented
from .step_run import StepRun

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition import PipelineDefinition

    from ..engine import Engine
    from .context import Context
    from .execution import Execution

log = logging.getLogger(__name__)

# The work of steps is short, and Python does one thing at a time; what takes long has threads of its own.
_WORKERS = 4
# Each running function is a process.
_FUNCTIONS = 32


@dataclass(kw_only=True, eq=False)
class Version:
    """One version of a pipeline's definition."""

    number: int
    text: str
    definition: PipelineDefinition
    created: float
    display_name: str | None = None
    description: str | None = None
    aliases: list[str] = field(default_factory=list)
    last_execution: str | None = None

    @property
    def arn(self) -> str:
        """What tells versions of a pipeline apart in lists."""
        return f"{self.number:09d}"

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The steps outside of loops, each after those it waits for."""
        return self.definition.graph.order()


@dataclass(kw_only=True, eq=False)
class Pipeline:
    """A pipeline. Times are epoch seconds."""

    name: str
    arn: str
    role_arn: str
    display_name: str
    created: float
    modified: float
    description: str | None = None
    parallelism: dict[str, int] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    last_run: float | None = None
    # The latest success by the cache key of a step.
    cache: dict[str, tuple[StepRun, str]] = field(default_factory=dict)

    @property
    def latest(self) -> Version:
        """The version that a start takes if it names none."""
        return self.versions[-1]

    def version(self, number: int | None, alias: str | None) -> Version:
        """Return a version.

        :raises AwsError: if there is none, or both a number and an alias are given.
        """
        if number is not None and alias is not None:
            raise AwsError("ValidationException", "Specify PipelineVersionId or PipelineVersionAlias, not both.")
        if number is None and alias is None:
            return self.latest
        for version in self.versions:
            if version.number == number or alias in version.aliases:
                return version
        what = f"alias '{alias}'" if alias is not None else f"id '{number}'"
        raise AwsError("ResourceNotFound", f"Pipeline version with {what} of pipeline '{self.arn}' does not exist.")


class Pipelines:
    """All pipelines and executions of one account and region. Hold ``lock`` around every read-and-change."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lock = threading.RLock()
        # What tokens of requests stand for, by operation, subject and token.
        self.tokens: dict[tuple[str, str, str], str] = {}
        self.callbacks: dict[str, Context] = {}
        self._by_name: dict[str, Pipeline] = {}
        self._executions: dict[str, Execution] = {}
        self._clients: dict[str, Any] = {}
        self._pool: ThreadPoolExecutor | None = None
        self.functions = threading.BoundedSemaphore(_FUNCTIONS)

    # --- pipelines

    def arn(self, name: str) -> str:
        """Return the ARN of a pipeline; unlike those of jobs it keeps the name's case."""
        store = self.engine.store
        return f"arn:{store.partition}:sagemaker:{store.region}:{store.account}:pipeline/{name}"

    def add(self, pipeline: Pipeline) -> None:
        """Keep a new pipeline.

        :raises AwsError: if the name is taken.
        """
        with self.lock:
            if pipeline.name.lower() in self._by_name:
                raise AwsError(
                    "ValidationException",
                    "Pipeline names must be unique within an AWS account and region. "
                    f"Pipeline with name ({pipeline.name}) already exists.",
                )
            self._by_name[pipeline.name.lower()] = pipeline

    def get(self, name_or_arn: str) -> Pipeline:
        """Return a pipeline by name or ARN.

        :raises AwsError: if there is none.
        """
        name = name_or_arn.rsplit("/", 1)[-1]
        pipeline = self._by_name.get(name.lower())
        if pipeline is None or (name_or_arn.startswith("arn:") and name_or_arn.lower() != pipeline.arn.lower()):
            arn = name_or_arn if name_or_arn.startswith("arn:") else self.arn(name_or_arn)
            raise AwsError("ResourceNotFound", f"Pipeline '{arn}' does not exist.")
        return pipeline

    def by_arn(self, arn: str) -> Pipeline | None:
        """Return the pipeline of an ARN, or None."""
        return next((item for item in self.all() if item.arn == arn), None)

    def all(self) -> list[Pipeline]:
        """Return all pipelines."""
        with self.lock:
            return list(self._by_name.values())

    def remove(self, pipeline: Pipeline) -> None:
        """Forget a pipeline and its executions."""
        with self.lock:
            del self._by_name[pipeline.name.lower()]
            for execution in pipeline.executions:
                self._executions.pop(execution.arn, None)
            # A token stands for something that there is no more.
            self.tokens = {
                key: arn for key, arn in self.tokens.items() if arn.partition("/execution/")[0] != pipeline.arn
            }

    # --- executions

    def add_execution(self, execution: Execution) -> None:
        """Keep a new execution."""
        with self.lock:
            self._executions[execution.arn] = execution
            execution.pipeline.executions.append(execution)
            execution.pipeline.last_run = execution.started
            execution.version.last_execution = execution.arn

    def execution(self, arn: str) -> Execution:
        """Return an execution.

        :raises AwsError: if there is none.
        """
        execution = self._executions.get(arn)
        if execution is None:
            raise AwsError("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")
        return execution

    def executions(self) -> list[Execution]:
        """Return all executions."""
        with self.lock:
            return list(self._executions.values())

    # --- work

    def submit(self, action: Callable[[], None]) -> None:
        """Have a worker do something; after a reset nothing is done any more."""
        with self.lock:
            if self.engine.closed:
                return
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="local-aws-pipelines")
            self._pool.submit(self._guarded, action)

    def _guarded(self, action: Callable[[], None]) -> None:
        if self.engine.closed:
            return
        try:
            action()
        except Exception:
            log.exception("The local endpoint's pipelines have failed")

    def spawn(self, action: Callable[[], None], name: str) -> None:
        """Do something that takes long in a thread of its own."""
        threading.Thread(target=self._guarded, args=(action,), name=f"local-aws-{name}", daemon=True).start()

    def client(self, service: str) -> Any:
        """Return a boto3 client of the endpoint itself, whose calls do not count as anybody's.

        :raises AwsError: if no endpoint listens: the client would go to AWS.
        """
        if not self.engine.state.endpoint_url:
            raise not_implemented(service)
        with self.lock:
            if service not in self._clients:
                self._clients[service] = boto3.session.Session().client(  # type: ignore[call-overload]
                    service,
                    endpoint_url=self.engine.state.endpoint_url,
                    region_name=self.engine.store.region,
                    aws_access_key_id="local",
                    aws_secret_access_key="local",  # noqa: S106 - any will do
                    config=Config(
                        proxies={},
                        user_agent_extra="local-runner",
                        retries={"total_max_attempts": 1, "mode": "standard"},
                    ),
                )
            return self._clients[service]

    def close(self) -> None:
        """Stop to work; the engine is closed already."""
        with self.lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
