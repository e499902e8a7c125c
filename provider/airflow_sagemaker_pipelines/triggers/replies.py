"""Waits for replies to callbacks in a reply queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.triggers.message_queue import MessageQueue, Received

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
    from airflow_sagemaker_pipelines.steps.replies import Reply


class ReplyQueue(MessageQueue["Reply"]):
    """A queue that workers reply to; replies are waited for by their token."""

    noun = "reply to a callback"

    @staticmethod
    def parse(body: str) -> tuple[str, Reply]:
        """Return a reply's token and the reply."""
        from airflow_sagemaker_pipelines.steps.replies import parse_reply  # noqa: PLC0415

        reply = parse_reply(body)
        return reply.token, reply

    @classmethod
    async def reply(cls, url: str, connection: AwsConnection, token: str) -> Received[Reply]:
        """Wait for the reply to a token.

        :raises ClientError: if AWS refuses to let the queue be read.
        """
        return await cls.receive(url, connection, token)
