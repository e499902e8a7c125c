"""Receives replies to callbacks, once per reply queue for all tasks that wait in this process.

SQS hands a message to one receiver, which need not be the one that waits for it. So the waits of a process share one
receiver per queue, and what nobody here waits for is put back at once, for another triggerer, or for a task that has
not begun to wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.triggers.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_sagemaker_pipelines.steps.replies import Reply

log = logging.getLogger(__name__)

#: Seconds of one long poll. SQS allows 20; a triggerer that ends must wait for it.
_LONG_POLL_SECONDS = 10
#: A message that was received and neither deleted nor put back, because its receiver died, is there again after this.
_VISIBILITY_SECONDS = 30
#: SQS gives at most ten messages per call; so many calls in a row reach those behind stale ones.
_BATCH = 10
_MOST_BATCHES = 20
#: Seconds before the next look at a queue that holds replies of others: they, too, must get a look at it.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_GROWTH = 2.0
#: Complaints about one message are made once; after so many messages they may be repeated.
_MOST_REMEMBERED = 1000

#: Long polls hold threads of their own: asyncio's few are for the polls of all other triggers.
_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="callback-replies")


@dataclass(frozen=True, slots=True)
class Received:
    """A reply that is still in its queue, hidden from other receivers until it is deleted or its time is up."""

    reply: Reply
    receipt: str


class ReplyQueue:
    """One queue, and who waits for replies out of it.

    :param key: the event loop, the queue's URL, and the connection as text.
    :param connection: how to reach AWS.
    """

    #: Those in use, by event loop, URL and connection.
    _open: dict[tuple[asyncio.AbstractEventLoop, str, str], ReplyQueue] = {}  # noqa: RUF012

    def __init__(self, key: tuple[asyncio.AbstractEventLoop, str, str], connection: AwsConnection) -> None:
        self._key = key
        self._connection = connection
        self.url = key[1]
        self._waiters: dict[str, set[asyncio.Future[Received]]] = {}
        self._joined = asyncio.Event()
        self._complained: set[str] = set()
        self._receiver: asyncio.Task[None] | None = None

    @classmethod
    async def reply(cls, url: str, connection: AwsConnection, token: str) -> Received:
        """Wait for the reply to a token.

        :raises ClientError: if AWS refuses to let the queue be read.
        """
        loop = asyncio.get_running_loop()
        key = (loop, url, json.dumps(connection.serialize(), sort_keys=True))
        queue = cls._open.get(key)
        if queue is None:
            queue = cls._open[key] = cls(key, connection)
        # Nothing is awaited between the look-up and here, so the receiver has not ended in between.
        future: asyncio.Future[Received] = loop.create_future()
        queue._waiters.setdefault(token, set()).add(future)
        queue._joined.set()
        if queue._receiver is None:
            queue._receiver = loop.create_task(queue._receive_for_all())
            queue._receiver.add_done_callback(queue._ended)
        try:
            return await future
        finally:
            queue._leave(token, future)

    def _leave(self, token: str, future: asyncio.Future[Received]) -> None:
        waiters = self._waiters.get(token, set())
        waiters.discard(future)
        if not waiters:
            self._waiters.pop(token, None)

    @classmethod
    async def delete(cls, url: str, connection: AwsConnection, received: Received) -> None:
        """Take a reply out of its queue. A reply that stays is one that nobody waits for, which does no harm."""

        def delete() -> None:
            shared_clients(connection)("sqs").delete_message(QueueUrl=url, ReceiptHandle=received.receipt)

        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS  # noqa: PLC0415

        try:
            await in_thread(delete, _threads)
        except AWS_ERRORS as error:
            log.warning("The reply to callback %s stays in %s: %s", received.reply.token, url, error)

    async def _receive_for_all(self) -> None:
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
            self._open.pop(self._key, None)

    def _ended(self, receiver: asyncio.Task[None]) -> None:
        """Hand over what ended the receiver before its time."""
        error = None if receiver.cancelled() else receiver.exception()
        for future in [future for futures in self._waiters.values() for future in futures]:
            if error is not None and not future.done():
                future.set_exception(error)

    async def _receive_and_hand_over(self) -> bool:
        """Receive once; return whether another look may follow at once."""
        try:
            messages = await in_thread(self._receive, _threads)
        except Exception as error:
            if not self._may_pass(error):
                raise
            log.warning("No replies could be received from %s, trying again: %s", self.url, error)
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
        from airflow_sagemaker_pipelines.steps.replies import parse_reply  # noqa: PLC0415

        try:
            reply = parse_reply(message["Body"])
        except ValueError as error:
            self._complain(message, error)
            return False
        waiting = [future for future in self._waiters.get(reply.token, ()) if not future.done()]
        for future in waiting:
            future.set_result(Received(reply, message["ReceiptHandle"]))
            self._leave(reply.token, future)
        return bool(waiting)

    def _complain(self, message: dict[str, Any], error: ValueError) -> None:
        identifier = message["MessageId"]
        if identifier in self._complained:
            return
        if len(self._complained) >= _MOST_REMEMBERED:
            self._complained.clear()
        self._complained.add(identifier)
        log.warning("Message %s in %s is no reply to a callback, it stays there: %s", identifier, self.url, error)

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
                    "Replies to others in %s are hidden for up to %s s: %s", self.url, _VISIBILITY_SECONDS, error
                )

    async def _pause(self, seconds: float) -> None:
        """Leave the queue to others, until somebody joins here."""
        self._joined.clear()
        try:
            # Jitter, lest two triggerers take turns at the same reply.
            async with asyncio.timeout(seconds * random.uniform(0.5, 1.0)):  # noqa: S311
                await self._joined.wait()
        except TimeoutError:
            pass

    @staticmethod
    def _may_pass(error: Exception) -> bool:
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, is_transient  # noqa: PLC0415

        return isinstance(error, AWS_ERRORS) and is_transient(error)
