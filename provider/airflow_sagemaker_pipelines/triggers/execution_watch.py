"""Looks at one execution for all tasks of the process that wait for it or its steps."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, forget_shared_clients, shared_clients
from airflow_sagemaker_pipelines.triggers import looks, pace
from airflow_sagemaker_pipelines.triggers.events import EventQueue
from airflow_sagemaker_pipelines.triggers.threads import in_thread

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Seconds between two looks for which tasks that come one after another wait.
_BETWEEN_LOOKS = 1.0
#: So many pages a second are asked for, of all executions together, unless ``poll_interval`` needs more: AWS throttles
#: by account.
_PAGES_A_SECOND = 5.0
#: Seconds after an event in which what it tells of may take a moment to show in AWS's answers.
_AWAKE_SECONDS = 10.0


class ExecutionWatch:
    """The one loop that lists the steps of an execution.

    :param arn: the execution.
    :param connection: how to reach AWS.
    :param poll_interval: the most seconds between two looks.
    :param event_queue_url: the queue that tells of news; looks are few then.
    """

    #: Those in use, by event loop, connection and execution.
    _open: dict[Hashable, ExecutionWatch] = {}  # noqa: RUF012

    _looks: asyncio.Task[None]

    def __init__(
        self, arn: str, connection: AwsConnection, *, poll_interval: float, event_queue_url: str | None = None
    ) -> None:
        self._arn = arn
        self._connection = connection
        self._poll_interval = poll_interval
        self._event_queue_url = event_queue_url
        self._events: EventQueue | None = None
        self._members = 0
        self._wanted = asyncio.Event()
        self._news = asyncio.Condition()
        self._snapshot: Snapshot | None = None
        self._error: Exception | None = None
        self._began = 0.0
        self._changed_at = time.monotonic()
        self._awake_until = 0.0
        self._failures = self._denials = 0

    @classmethod
    @contextmanager
    def joined(
        cls, arn: str, connection: AwsConnection, *, poll_interval: float, event_queue_url: str | None = None
    ) -> Iterator[ExecutionWatch]:
        """Look at an execution as long as somebody wants to know of it.

        :param poll_interval: the least of all members counts.
        """
        loop = asyncio.get_running_loop()
        key = (loop, connection.key, arn, event_queue_url)
        watch = cls._open.get(key)
        if watch is None or watch._error is not None:
            watch = cls(arn, connection, poll_interval=poll_interval, event_queue_url=event_queue_url)
            cls._open[key] = watch
            watch._looks = loop.create_task(watch._look_for_all())
        watch._poll_interval = min(watch._poll_interval, poll_interval)
        watch._members += 1
        try:
            yield watch
        finally:
            watch._members -= 1
            if not watch._members:
                watch._looks.cancel()
                if cls._open.get(key) is watch:
                    del cls._open[key]

    async def snapshots(self) -> AsyncGenerator[Snapshot]:
        """Give what each look shows, the first from a look that begins after this call.

        What an earlier look has shown may be out of date: a retry makes a failed execution go on.

        :raises PipelineRequestError: if AWS refuses to tell.
        """
        after = time.monotonic()
        self._wanted.set()
        while True:
            async with self._news:
                await self._news.wait_for(partial(self._has_news, after))
            if self._error is not None:
                raise self._error
            after = self._began
            if self._snapshot is not None:
                yield self._snapshot

    def _has_news(self, after: float) -> bool:
        return self._error is not None or self._began > after

    def hear(self, key: str) -> bool:
        """Look at once if an event is about the execution; return whether it is."""
        if key.lower() != self._arn.lower():
            return False
        self._awake_until = time.monotonic() + _AWAKE_SECONDS
        self._wanted.set()
        return True

    def notice(self) -> None:
        """Poll as usual if there are no events any more."""
        self._wanted.set()

    async def _look_for_all(self) -> None:
        with ExitStack() as listening:
            if self._event_queue_url is not None:
                heard = EventQueue.heard(self._event_queue_url, self._connection, self)
                self._events = listening.enter_context(heard)
            while self._error is None:
                self._wanted.clear()
                began = time.monotonic()
                shortest, longest = await self._look()
                async with self._news:
                    self._began = began if self._failures == 0 else self._began
                    self._news.notify_all()
                await asyncio.sleep(shortest)
                await self._until_wanted(longest - shortest)

    async def _until_wanted(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wanted.wait()
        except TimeoutError:
            pass

    async def _look(self) -> tuple[float, float]:
        """Look once; return the least and the most seconds until the next look."""
        from airflow_sagemaker_pipelines.executions.errors import PipelineError  # noqa: PLC0415

        call = partial(_read, self._arn, self._connection)
        try:
            snapshot = await in_thread(call, looks.THREADS)
        except PipelineError as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            self._error = error
            return 0.0, 0.0
        self._failures = self._denials = 0
        if self._snapshot is None or _statuses(snapshot) != _statuses(self._snapshot):
            self._changed_at = time.monotonic()
        self._snapshot = snapshot
        return _BETWEEN_LOOKS, self._interval(snapshot.pages)

    def _interval(self, pages: int) -> float:
        if self._events is not None and not self._events.is_deaf and time.monotonic() > self._awake_until:
            seconds = pace.QUIET_INTERVAL
        else:
            shortest = shortest_interval(pages, executions=len(self._open))
            age = time.monotonic() - self._changed_at
            seconds = pace.interval(age, expected=None, poll_interval=self._poll_interval, shortest=shortest)
        return pace.jitter(seconds, random.random())  # noqa: S311

    def _failed(self, error: Exception) -> tuple[float, float]:
        """Look again later, or tell everybody if that is of no use."""
        from airflow_sagemaker_pipelines.executions.errors import PipelineCallError  # noqa: PLC0415
        from airflow_sagemaker_pipelines.steps.aws import is_denied  # noqa: PLC0415

        if error.__cause__ is not None and is_denied(error.__cause__):
            self._denials += 1
            forget_shared_clients()
        if not isinstance(error, PipelineCallError) and not 0 < self._denials < pace.MOST_DENIALS:
            self._error = error
            return 0.0, 0.0
        self._failures += 1
        seconds = pace.jitter(pace.back_off(self._failures), random.random())  # noqa: S311
        log.warning("Looking at the execution again in %.0f s: %s", seconds, error)
        return seconds, seconds


def shortest_interval(pages: int, *, executions: int) -> float:
    """Return the least seconds between two looks at an execution, unless the most are less.

    :param pages: how many calls a look takes.
    :param executions: how many are looked at by the process.
    """
    return pages * max(pace.SHORTEST_PER_PAGE, executions / _PAGES_A_SECOND)


def _read(arn: str, connection: AwsConnection) -> Snapshot:
    from airflow_sagemaker_pipelines.executions.snapshot import read  # noqa: PLC0415

    return read(shared_clients(connection), arn)


def _statuses(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.status, *((key, step.entry.get("StepStatus")) for key, step in snapshot.steps.items())
