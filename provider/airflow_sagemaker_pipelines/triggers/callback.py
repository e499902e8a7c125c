"""Waits until a worker has answered a callback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from typing import Any

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.triggers.replies import ReplyQueue
from airflow_sagemaker_pipelines.triggers.step import StepTrigger
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT

#: A reply that came in time counts, although no triggerer was there to receive it before the deadline.
_SHORTEST_LOOK_SECONDS = 1.0


class CallbackTrigger(StepTrigger):
    """Waits for the reply to one token in a reply queue that callbacks share.

    The event is that of :class:`StepTrigger`; its outputs are those of the reply, untyped. The reply leaves the queue
    once its event is made. Should the triggerer die before Airflow has recorded the event, about a second, the
    reply is lost, and the worker has to send it again. A second reply to a token stays in the queue until SQS discards
    it; so do messages that are no replies.

    When the task is killed, the worker is told by a second message, with ``"status": "Stopping"``.

    :param reply_queue_url: the queue that workers reply to. Its redrive policy, if it has one, must allow for many
        receives: a triggerer receives what others wait for, too, and puts it back.
    :param arguments: those of :class:`StepTrigger`.
    """

    def __init__(self, *, reply_queue_url: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reply_queue_url = reply_queue_url

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make the trigger again."""
        path, arguments = super().serialize()
        return path, {**arguments, "reply_queue_url": self.reply_queue_url}

    def shared_stream_key(self) -> Hashable | None:
        """Return nothing: the waits of a process share a receiver per queue, see :mod:`.replies`."""
        return None

    async def _wait_alone(self) -> dict[str, Any]:
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, error_message  # noqa: PLC0415

        connection = AwsConnection(**self.connection)
        left = None if self.deadline is None else max(_SHORTEST_LOOK_SECONDS, self.deadline - time.time())
        try:
            async with asyncio.timeout(left) as limit:
                received = await ReplyQueue.reply(self.reply_queue_url, connection, self.handle["name"])
        except TimeoutError:
            if not limit.expired():
                raise
            return {"verdict": TIMED_OUT}
        except AWS_ERRORS as error:
            return {"verdict": REFUSED, "reason": f"{self.reply_queue_url}: {error_message(error)}"}
        reply = received.message
        failed = reply.verdict is Verdict.FAILED
        event = {
            "verdict": str(reply.verdict),
            "reason": (reply.reason or "the worker gives no reason") if failed else None,
            "outputs": None if failed else dict(reply.outputs),
        }
        await ReplyQueue.delete(self.reply_queue_url, connection, received)
        return event
