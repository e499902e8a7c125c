"""Waiting by events: an SQS queue that EventBridge feeds tells which job or execution has news.

An event is a reason to look, not a result, so duplicates, late ones and forged ones do no harm. One that is lost
costs minutes, as everything is looked at now and then in any case.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.triggers import pace
from airflow_sagemaker_pipelines.triggers.threads import in_thread

log = logging.getLogger(__name__)

#: Seconds of one long poll. SQS allows 20; a triggerer that ends must wait for it.
_LONG_POLL_SECONDS = 10
_SHORTEST_POLL_SECONDS = 1.0
#: SQS gives at most ten messages per call.
_BATCH = 10
#: Seconds for which a message that nobody here waits for is kept for another triggerer. A task that has yet to begin
#: to wait does not need it: it looks by itself when it begins.
_KEPT_SECONDS = 60.0
_FIRST_REST = 1
_LONGEST_REST = 30

#: Long polls hold threads of their own: asyncio's few are for the other triggers of the process.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="sagemaker-events")


class Listener(Protocol):
    """Somebody who wants to know which resource an event is about."""

    def hear(self, key: str) -> bool:
        """Take note of an event about a resource; return whether anybody waits for it here."""

    def notice(self) -> None:
        """Take note that the queue has become deaf."""


class EventQueue:
    """The receiver of one queue in this process, for all that listen to it.

    :param url: the queue's URL.
    :param connection: how to reach AWS.
    """

    #: Those in use, by event loop, URL and connection.
    _open: dict[Hashable, EventQueue] = {}  # noqa: RUF012

    _receiver: asyncio.Task[None]

    def __init__(self, url: str, connection: AwsConnection) -> None:
        self.url = url
        self._connection = connection
        self._listeners: dict[Listener, None] = {}
        self._failures = 0

    @property
    def is_deaf(self) -> bool:
        """Whether nothing can be received at present, so that only polling tells what has ended."""
        return self._failures > 0

    @classmethod
    @contextmanager
    def heard(cls, url: str, connection: AwsConnection, listener: Listener) -> Iterator[EventQueue]:
        """Receive from a queue as long as somebody listens."""
        loop = asyncio.get_running_loop()
        key = (loop, url, connection.key)
        queue = cls._open.get(key)
        if queue is None:
            queue = cls._open[key] = cls(url, connection)
            queue._receiver = loop.create_task(queue._receive_for_all(key))
        queue._listeners[listener] = None
        try:
            yield queue
        finally:
            del queue._listeners[listener]

    async def _receive_for_all(self, key: Hashable) -> None:
        """Receive as long as anybody listens.

        A long poll goes on when the last listener leaves: nobody can take back the call, and what it receives must be
        put away.
        """
        try:
            while self._listeners:
                await self._receive_and_tell()
        finally:
            # Nothing is awaited since the last look at the listeners, so nobody has joined in between.
            self._open.pop(key, None)

    async def _receive_and_tell(self) -> None:
        began = time.monotonic()
        try:
            messages = await in_thread(self._receive, _threads)
            unheard = [message for message in messages if not self._hear(message)]
            await in_thread(partial(self._put_away, messages, unheard), _threads)
        except Exception as error:  # noqa: BLE001 - whatever it is, jobs are polled
            self._failures += 1
            for listener in self._listeners:
                listener.notice()
            seconds = pace.back_off(self._failures)
            log.warning("No events from %s, so jobs are polled; trying again in %g s: %s", self.url, seconds, error)
            await asyncio.sleep(seconds)
        else:
            self._failures = 0
            if not messages:
                # A long poll takes its time; an answer that was cut off on the way does not.
                await asyncio.sleep(began + _SHORTEST_POLL_SECONDS - time.monotonic())

    def _receive(self) -> list[dict[str, Any]]:
        answer = shared_clients(self._connection)("sqs").receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=_LONG_POLL_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )
        return list(answer.get("Messages", []))

    def _hear(self, message: Mapping[str, Any]) -> bool:
        """Tell the listeners of a message; return whether it has done its work."""
        from airflow_sagemaker_pipelines.steps.events import resource_to_look_at  # noqa: PLC0415

        resource = resource_to_look_at(message["Body"])
        if resource is None:
            return True
        # Every listener hears it: two DAGs may wait for one endpoint. A namesake of another type costs one look.
        heard = [listener.hear(resource) for listener in self._listeners]
        return any(heard) or time.time() - int(message["Attributes"]["SentTimestamp"]) / 1000 > _KEPT_SECONDS

    def _put_away(self, messages: Sequence[Mapping[str, Any]], unheard: Sequence[Mapping[str, Any]]) -> None:
        """Delete what has done its work, and leave the rest to other triggerers, seldom enough not to spin."""
        sqs = shared_clients(self._connection)("sqs")
        kept = {message["MessageId"] for message in unheard}
        done = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
            for number, message in enumerate(messages)
            if message["MessageId"] not in kept
        ]
        if done:
            sqs.delete_message_batch(QueueUrl=self.url, Entries=done)
        left = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": _rest(message)}
            for number, message in enumerate(unheard)
        ]
        if left:
            sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=left)


def _rest(message: Mapping[str, Any]) -> int:
    """Return for how many seconds a message is hidden that nobody here waits for."""
    received = int(message["Attributes"]["ApproximateReceiveCount"])
    return min(_LONGEST_REST, _FIRST_REST << min(received - 1, 10))
