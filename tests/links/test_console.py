"""Addresses in the AWS console, in the form in which the console itself writes them."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from airflow_sagemaker_pipelines.links.console import (
    CloudWatchLogsLink,
    SageMakerConsoleLink,
    console_url,
    log_url,
)


def test_a_job_has_a_page():
    assert console_url("eu-west-1", "jobs/pipelines-abc-Train-x1") == (
        "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/pipelines-abc-Train-x1"
    )


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("cn-northwest-1", "cn-northwest-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("us-west-2", "us-west-2.console.aws.amazon.com"),
    ],
)
def test_each_partition_has_its_own_console(region, host):
    for url in (console_url(region, "jobs/x"), log_url(region, "/aws/sagemaker/TrainingJobs", "x/")):
        assert urlsplit(url).hostname == host
        assert f"?region={region}#" in url


def test_a_jobs_streams_have_a_page():
    assert log_url("us-east-1", "/aws/sagemaker/TrainingJobs", "pipelines-abc-Train-x1/") == (
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1"
        "#logsV2:log-groups/log-group/$252Faws$252Fsagemaker$252FTrainingJobs"
        "$3FlogStreamNameFilter$3Dpipelines-abc-Train-x1$252F"
    )


def test_the_console_reads_back_what_was_written():
    group, prefix = "/aws/group [1] ü&?#", "job $1/algo+x="

    fragment = urlsplit(log_url("us-east-1", group, prefix)).fragment

    # It decodes twice, with $ in place of %.
    path, _, query = unquote(fragment.replace("$", "%")).partition("?")
    assert unquote(path.rpartition("log-group/")[2]) == group
    assert unquote(query.removeprefix("logStreamNameFilter=")) == prefix


def test_links_say_nothing_while_there_is_nothing():
    operator = SimpleNamespace(console_url=None, log_url=None)

    assert SageMakerConsoleLink().get_link(operator, ti_key=None) == ""
    assert CloudWatchLogsLink().get_link(operator, ti_key=None) == ""


def test_links_are_kept_apart():
    links = [SageMakerConsoleLink(), CloudWatchLogsLink()]

    assert len({link.xcom_key for link in links}) == len({link.name for link in links}) == 2
