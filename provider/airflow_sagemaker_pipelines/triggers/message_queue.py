"""Receives messages, once per queue for all tasks of this process that wait for one of them.

SQS hands a message to one receiver, which need not be the one that waits for it. So the waits of a process share one
receiver per queue, and what nobody here waits for is put back at once, for another triggerer, for a worker outside
Airflow, or for a task that has not begun to wait.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.triggers.threads import in_thread

log = logging.getLogger(__name__)

M = TypeVar("M")

#: Seconds of one long poll. SQS allows 20; a triggerer that ends must wait for it.
_LONG_POLL_SECONDS = 10
#: A message that was received and neither deleted nor put back, because its receiver died, is there again after this.
_VISIBILITY_SECONDS = 30
#: SQS gives at most ten messages per call; so many calls in a row reach those behind stale ones.
_BATCH = 10
_MOST_BATCHES = 20
#: Seconds before the next look at a queue that holds messages for others: they, too, must get a look at it.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_GROWTH = 2.0
#: Complaints about one message are made once; after so many messages they may be repeated.
_MOST_REMEMBERED = 1000

#: Long polls hold threads of their own: asyncio's few are for the polls of all other triggers.
_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="callback-messages")


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """A message that is still in its queue, hidden from other receivers until it is deleted or its time is up."""

    key: str
    message: M
    receipt: str


class MessageQueue(ABC, Generic[M]):
    """One queue with messages of one kind, and who waits for which of them.

    A subclass says how a message reads, and by which key it is waited for.

    :param url: the queue's URL.
    :param connection: how to reach AWS.
    """

    #: What its messages are, for people.
    noun: ClassVar[str]

    #: Those in use, by kind, event loop, URL and connection.
    _open: ClassVar[dict[Hashable, MessageQueue[Any]]] = {}

    _receiver: asyncio.Task[None]

    def __init__(self, url: str, connection: AwsConnection) -> None:
        self.url = url
        self._connection = connection
        self._waiters: dict[asyncio.Future[Received[M]], frozenset[str]] = {}
        self._joined = asyncio.Event()
        self._complained: set[str] = set()

    @staticmethod
    @abstractmethod
    def parse(body: str) -> tuple[str, M]:
        """Return the key of a message, and what it says.

        :raises ValueError: if it is none of this kind; the message says why.
        """

    @classmethod
    async def receive(cls, url: str, connection: AwsConnection, *keys: str) -> Received[M]:
        """Wait for a message that has one of some keys.

        :raises ClientError: if AWS refuses to let the queue be read.
        """
        loop = asyncio.get_running_loop()
        place = (cls, loop, url, connection.key)
        queue = cls._open.get(place)
        if queue is None:
            queue = cls._open[place] = cls(url, connection)
            queue._receiver = loop.create_task(queue._receive_for_all(place))
            queue._receiver.add_done_callback(queue._ended)
        # Nothing is awaited between the look-up and here, so the receiver has not ended in between.
        future: asyncio.Future[Received[M]] = loop.create_future()
        queue._waiters[future] = frozenset(keys)
        queue._joined.set()
        try:
            return await future
        finally:
            queue._waiters.pop(future, None)

    @classmethod
    async def delete(cls, url: str, connection: AwsConnection, received: Received[M]) -> None:
        """Take a message out of its queue. One that stays is one that nobody waits for, which does no harm."""

        def delete() -> None:
            shared_clients(connection)("sqs").delete_message(QueueUrl=url, ReceiptHandle=received.receipt)

        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS  # noqa: PLC0415

        try:
            await in_thread(delete, _threads)
        except AWS_ERRORS as error:
            log.warning("The %s %s stays in %s: %s", cls.noun, received.key, url, error)

    async def _receive_for_all(self, place: Hashable) -> None:
        """Receive as long as anybody waits."""
        pause = _FIRST_PAUSE
        try:
            while self._waiters:
                if await self._receive_and_hand_over():
                    pause = _FIRST_PAUSE
                elif self._waiters:
                    await self._pause(pause)
                    pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        finally:
            # Nothing is awaited since the last look at the waiters, so nobody has joined in between.
            self._open.pop(place, None)

    def _ended(self, receiver: asyncio.Task[None]) -> None:
        """Hand over what ended the receiver before its time."""
        error = None if receiver.cancelled() else receiver.exception()
        for future in self._waiters:
            if error is not None and not future.done():
                future.set_exception(error)

    async def _receive_and_hand_over(self) -> bool:
        """Receive once; return whether another look may follow at once."""
        try:
            messages = await in_thread(self._receive, _threads)
        except Exception as error:
            if not self._may_pass(error):
                raise
            log.warning("No messages could be received from %s, trying again: %s", self.url, error)
            return False
        others = [message for message in messages if not self._hand_over(message)]
        if others:
            await in_thread(lambda: self._put_back(others), _threads)
        return not others

    def _receive(self) -> list[dict[str, Any]]:
        """Wait for messages, and take all that are there."""
        messages: list[dict[str, Any]] = []
        for _ in range(_MOST_BATCHES):
            answer = shared_clients(self._connection)("sqs").receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=_BATCH,
                VisibilityTimeout=_VISIBILITY_SECONDS,
                WaitTimeSeconds=0 if messages else _LONG_POLL_SECONDS,
            )
            batch = answer.get("Messages", [])
            messages += batch
            if len(batch) < _BATCH:
                break
        return messages

    def _hand_over(self, message: dict[str, Any]) -> bool:
        """Give a message to those who wait for it, if there are any."""
        try:
            key, content = self.parse(message["Body"])
        except ValueError as error:
            self._complain(message, error)
            return False
        waiting = [future for future, keys in self._waiters.items() if key in keys and not future.done()]
        for future in waiting:
            future.set_result(Received(key, content, message["ReceiptHandle"]))
            # It does not wait any more, though it has yet to go on.
            del self._waiters[future]
        return bool(waiting)

    def _complain(self, message: dict[str, Any], error: ValueError) -> None:
        identifier = message["MessageId"]
        if identifier in self._complained:
            return
        if len(self._complained) >= _MOST_REMEMBERED:
            self._complained.clear()
        self._complained.add(identifier)
        log.warning("Message %s in %s is no %s, it stays there: %s", identifier, self.url, self.noun, error)

    def _put_back(self, messages: Iterable[dict[str, Any]]) -> None:
        """Let others receive messages at once."""
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            for number, message in enumerate(messages)
        ]
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS  # noqa: PLC0415

        sqs = shared_clients(self._connection)("sqs")
        for start in range(0, len(entries), _BATCH):
            try:
                sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries[start : start + _BATCH])
            except AWS_ERRORS as error:
                log.warning(
                    "Messages for others in %s are hidden for up to %s s: %s", self.url, _VISIBILITY_SECONDS, error
                )

    async def _pause(self, seconds: float) -> None:
        """Leave the queue to others, until somebody joins here."""
        self._joined.clear()
        try:
            # Jitter, lest two triggerers take turns at the same message.
            async with asyncio.timeout(seconds * random.uniform(0.5, 1.0)):  # noqa: S311
                await self._joined.wait()
        except TimeoutError:
            pass

    @staticmethod
    def _may_pass(error: Exception) -> bool:
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, is_transient  # noqa: PLC0415

        return isinstance(error, AWS_ERRORS) and is_transient(error)
