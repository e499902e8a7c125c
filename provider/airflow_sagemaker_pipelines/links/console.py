"""Links to the AWS console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

CONSOLE_KEY = "_link_console"
LOGS_KEY = "_link_logs"

_HOSTS = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}


class LinkedTask(Protocol):
    """A task that knows the addresses of what it has made."""

    @property
    def console_url(self) -> str | None:
        """The resource's page in the SageMaker console."""

    @property
    def log_url(self) -> str | None:
        """The job's log streams."""


def console_url(region: str, path: str) -> str:
    """Return the address of a page of the SageMaker console.

    :param path: such as ``jobs/<name>``.
    """
    return f"https://{_host(region)}/sagemaker/home?region={region}#/{path}"


def log_url(region: str, group: str, stream_prefix: str) -> str:
    """Return the address of a job's log streams in the CloudWatch console."""
    # The console decodes this part of the address twice, with $ in place of %.
    encoded = quote(group, safe="").replace("%", "$25")
    return (
        f"https://{_host(region)}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{encoded}"
        f"$3FlogStreamNameFilter$3D{quote(stream_prefix, safe='').replace('%', '$25')}"
    )


def _host(region: str) -> str:
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"{region}.{_HOSTS.get(partition, 'console.aws.amazon.com')}"


def links_of(runner: Any, handle: Mapping[str, Any], region: str) -> dict[str, str]:
    """Return the addresses of what a step has made, by the XCom key where its buttons look for them.

    :param runner: the runner of its type.
    """
    from airflow_sagemaker_pipelines.steps.logs import log_source  # noqa: PLC0415

    links = {}
    if (page := getattr(runner, "console", None)) is not None:
        links[CONSOLE_KEY] = console_url(region, f"{page}/{handle['name']}")
    if (source := log_source(runner, dict(handle))) is not None:
        links[LOGS_KEY] = log_url(region, source.group, source.prefix)
    return links


class SageMakerConsoleLink(BaseOperatorLink):
    """The resource's page in the SageMaker console."""

    name = "SageMaker console"

    @property
    def xcom_key(self) -> str:
        """Where the link is kept."""
        return CONSOLE_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, or "" while there is no resource."""
        task: LinkedTask = operator
        return task.console_url or ""


class CloudWatchLogsLink(BaseOperatorLink):
    """The job's log streams in the CloudWatch console."""

    name = "CloudWatch logs"

    @property
    def xcom_key(self) -> str:
        """Where the link is kept."""
        return LOGS_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, or "" while there is no job."""
        task: LinkedTask = operator
        return task.log_url or ""
