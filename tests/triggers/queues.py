"""Queues of the local endpoint, for tests of who waits for messages."""

from __future__ import annotations

import asyncio
import json
import time


class Queue:
    """A queue of the local endpoint."""

    def __init__(self, local_sagemaker, name):
        self.client = local_sagemaker.client("sqs")
        self.url = self.client.create_queue(QueueName=name)["QueueUrl"]

    def send(self, body):
        text = body if isinstance(body, str) else json.dumps(body)
        return self.client.send_message(QueueUrl=self.url, MessageBody=text)["MessageId"]

    def succeed(self, token, **outputs):
        values = [{"Name": name, "Value": value} for name, value in outputs.items()]
        return self.send({"token": token, "status": "Succeeded", "outputParameters": values})

    def visible(self):
        """Take out what a receiver would get now."""
        found = []
        while batch := self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            found += batch
        return [message["Body"] for message in found]

    def counts(self):
        """How many messages can be received, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return tuple(int(attributes[name]) for name in names)


async def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
