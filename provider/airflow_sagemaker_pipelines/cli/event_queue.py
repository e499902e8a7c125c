"""``airflow sagemaker-pipelines event-queue``."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.steps.events import cloudformation_template, create_event_queue

if TYPE_CHECKING:
    from argparse import Namespace


def print_template(args: Namespace) -> None:
    """Write a CloudFormation template as JSON. Asks nobody."""
    _write(cloudformation_template(queue_name=args.queue_name, rule_name=args.rule_name))


def create(args: Namespace) -> None:
    """Create the queue and what belongs to it, and write their URL and ARNs as JSON.

    :raises SystemExit: if AWS refuses; the message says why.
    """
    # They import Airflow's connections and boto3.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from airflow_sagemaker_pipelines.hooks.aws import AwsClients, AwsConnection  # noqa: PLC0415

    # Lets this process look connections up in Airflow's database, as `airflow connections` does.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    clients = AwsClients(AwsConnection(aws_conn_id=args.aws_conn_id, region_name=args.region_name))
    try:
        queue = create_event_queue(clients, queue_name=args.queue_name, rule_name=args.rule_name)
    except (ClientError, BotoCoreError, RuntimeError) as error:
        raise SystemExit(f"The event queue is not complete: {error}") from error
    _write({"QueueUrl": queue.url, "QueueArn": queue.arn, "RuleArn": queue.rule_arn})


def _write(document: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
