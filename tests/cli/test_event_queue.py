"""``airflow sagemaker-pipelines event-queue``, by the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from airflow_sagemaker_pipelines._compat import HAS_RETRY_POLICIES
from airflow_sagemaker_pipelines.steps.events import cloudformation_template

NAME = "airflow-sagemaker-pipelines-events"
MODULE = "airflow_sagemaker_pipelines.cli"
#: Airflow asks providers for commands since 3.2.
COMMAND = ["airflow", "sagemaker-pipelines"] if HAS_RETRY_POLICIES else [MODULE]


def run(*arguments, **environment):
    """Run Python with a module, as a shell would, in the throw-away Airflow of all tests."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def event_queue(*arguments, **environment):
    return run(*COMMAND, "event-queue", *arguments, **environment)


@pytest.fixture
def connection(local_sagemaker):
    extra = {"endpoint_url": local_sagemaker.url, "region_name": "us-east-1"}
    return json.dumps({"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra})


@pytest.mark.parametrize("command", [COMMAND, [MODULE]], ids=" ".join)
def test_print_writes_the_template_and_needs_neither_aws_nor_a_database(command, tmp_path):
    database = f"sqlite:///{tmp_path}/none.db"
    arguments = ("event-queue", "print", "--rule-name", "mine")
    result = run(*command, *arguments, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=database)

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == cloudformation_template(queue_name=NAME, rule_name="mine")


def test_create_makes_the_queue_by_an_airflow_connection(local_sagemaker, connection):
    result = event_queue("create", "--queue-name", "mine", AIRFLOW_CONN_AWS_DEFAULT=connection)

    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    assert local_sagemaker.client("sqs").get_queue_url(QueueName="mine")["QueueUrl"] == made["QueueUrl"]
    (target,) = local_sagemaker.client("events").list_targets_by_rule(Rule=NAME)["Targets"]
    assert target["Arn"] == made["QueueArn"]
    assert made["RuleArn"].endswith(f":rule/{NAME}")


def test_create_says_what_aws_refuses(local_sagemaker, connection):
    result = event_queue("create", "--queue-name", "no such name!", AIRFLOW_CONN_AWS_DEFAULT=connection)

    assert result.returncode == 1
    assert "The event queue is not complete: An error occurred (InvalidParameterValue)" in result.stderr
    assert "Traceback" not in result.stderr


def test_create_takes_a_region_and_a_connection_out_of_airflows_database(airflow_database, local_sagemaker, connection):
    added = run("airflow", "connections", "add", "event_queue_test", "--conn-json", connection)
    assert added.returncode == 0, added.stderr

    # Airflow 3.1 looks connections up in its database only for its own processes.
    also = {} if HAS_RETRY_POLICIES else {"AIRFLOW_CONN_EVENT_QUEUE_TEST": connection}
    result = event_queue("create", "--aws-conn-id", "event_queue_test", "--region-name", "eu-central-1", **also)

    assert result.returncode == 0, result.stderr
    assert f"arn:aws:sqs:eu-central-1:123456789012:{NAME}" in result.stdout
    sqs = local_sagemaker.client("sqs", region_name="eu-central-1")
    assert sqs.get_queue_url(QueueName=NAME)["QueueUrl"] in result.stdout


def test_the_commands_are_declared_without_importing_boto3_or_definitions():
    code = """
import sys
from airflow_sagemaker_pipelines.cli.definition import get_cli_commands
(group,) = get_cli_commands()
heavy = ("boto3", "botocore", "airflow_sagemaker_pipelines.definition", "airflow_sagemaker_pipelines.steps")
print(group.name, [name for name in heavy if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip().splitlines()[-1] == "sagemaker-pipelines []"
