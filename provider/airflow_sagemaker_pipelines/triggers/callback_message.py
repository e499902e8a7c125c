"""Waits for the messages of Callback steps whose execution SageMaker orchestrates, and which Airflow fulfils.

The queue is the step's: several runs, triggerers and workers outside Airflow may share it, so a message is taken only
by its token, which ListPipelineExecutionSteps tells. Its redrive policy, if it has one, must allow for many receives.
The connection needs ``sqs:ReceiveMessage``, ``sqs:DeleteMessage`` and ``sqs:ChangeMessageVisibility``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.triggers.message_queue import MessageQueue, Received

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.executions.callbacks import CallbackMessage
    from airflow_sagemaker_pipelines.hooks.aws import AwsConnection

log = logging.getLogger(__name__)


class CallbackMessages(MessageQueue["CallbackMessage"]):
    """The queue of Callback steps; messages are waited for by token and status.

    A step has one message that asks for work, and a second one once its execution is being stopped. The second says
    nothing that the step's status does not say, too, so nobody waits for it; but it stays in the queue, as the first
    one does if nobody has taken it, until SQS discards it or somebody calls :meth:`discard`.
    """

    noun = "message of a Callback step"

    @staticmethod
    def parse(body: str) -> tuple[str, CallbackMessage]:
        """Return a message's key and the message."""
        from airflow_sagemaker_pipelines.executions.callbacks import parse_callback_message  # noqa: PLC0415

        message = parse_callback_message(body)
        return _key(message.token, message.status), message

    @classmethod
    async def message(cls, url: str, connection: AwsConnection, token: str) -> Received[CallbackMessage]:
        """Wait for the message that asks for the work of a token.

        It stays in the queue, hidden for 30 seconds, until the caller deletes it; so whoever dies before that finds
        it again. SageMaker sends it once: when it is gone, its arguments are.

        :param url: the step's queue.
        :raises ClientError: if AWS refuses to let the queue be read.
        """
        from airflow_sagemaker_pipelines.executions.callbacks import EXECUTING  # noqa: PLC0415

        return await cls.receive(url, connection, _key(token, EXECUTING))

    @classmethod
    async def discard(cls, url: str, connection: AwsConnection, token: str, *, seconds: float = 20.0) -> None:
        """Take out of the queue what is left there of a step that is being stopped, or was.

        A message that nobody takes does no harm beyond that it is received again and again. So what AWS refuses is
        logged, and what does not come in time stays.

        :param token: of a step whose status is ``Stopping`` or ``Stopped``: for no other is there a second message.
        :param seconds: how long to look for the second message.
        """
        from airflow_sagemaker_pipelines.executions.callbacks import EXECUTING, STOPPING  # noqa: PLC0415
        from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS  # noqa: PLC0415

        try:
            async with asyncio.timeout(seconds):
                status = EXECUTING
                while status != STOPPING:
                    received = await cls.receive(url, connection, _key(token, EXECUTING), _key(token, STOPPING))
                    await cls.delete(url, connection, received)
                    status = received.message.status
        except TimeoutError:
            log.info("The queue %s has no message that callback %s shall stop", url, token)
        except AWS_ERRORS as error:
            log.warning("The messages of callback %s stay in %s: %s", token, url, error)


def _key(token: str, status: str) -> str:
    return f"{status} {token}"
