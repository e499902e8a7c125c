"""What the demo shows of a run."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import httpx
import pytest
from moto import mock_aws
from rich.console import Console

from airflow_sagemaker_pipelines.local.demo.api import AirflowApi
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components
from airflow_sagemaker_pipelines.local.demo.results import artifacts, packages, reports
from airflow_sagemaker_pipelines.local.demo.rows import NOTED_KEY, Row, find, order, resource, row
from airflow_sagemaker_pipelines.local.demo.run import Run, Runner, last_error
from airflow_sagemaker_pipelines.local.demo.table import ChangeLines, LiveTable, run_table, run_view
from airflow_sagemaker_pipelines.xcom_keys import HANDLE_KEY

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_tasks_are_shown_after_their_upstreams() -> None:
    tasks = [
        {"task_id": "Score", "downstream_task_ids": []},
        {"task_id": "Decide", "downstream_task_ids": ["Reject", "Register", "Score"]},
        {"task_id": "Register", "downstream_task_ids": ["Score"]},
        {"task_id": "Reject", "downstream_task_ids": []},
        {"task_id": "Prepare", "downstream_task_ids": ["Decide", "Score"]},
    ]
    assert order(tasks) == ["Prepare", "Decide", "Register", "Reject", "Score"]


@pytest.mark.parametrize(
    ("state", "end", "shown", "duration"),
    [
        (None, None, "waiting", ""),
        ("deferred", None, "running in AWS", "90.0 s"),
        ("success", 5, "success", "5.0 s"),
        ("skipped", 5, "skipped", ""),
        ("upstream_failed", 5, "upstream_failed", ""),
    ],
)
def test_state_and_duration(state: str | None, end: int | None, shown: str, duration: str) -> None:
    start = NOW - timedelta(seconds=90)
    instance = {
        "task_id": "Train",
        "state": state,
        "start_date": state and start.isoformat().replace("+00:00", "Z"),
        "end_date": end and (start + timedelta(seconds=end)).isoformat(),
    }
    made = row(instance, None, None, NOW)
    assert (made.state, made.duration) == (shown, duration)


@pytest.mark.parametrize(
    ("noted", "result", "shown"),
    [
        ({"name": "pipelines-x-Train-y"}, None, "pipelines-x-Train-y"),
        ({"name": "arn:aws:sagemaker:us-east-1:1:model-package/g/1"}, {"x": 1}, "model-package/g/1"),
        (None, {"Outcome": "False"}, "outcome: False"),
        ("text", "text", ""),
        (None, None, ""),
    ],
)
def test_the_resource_is_what_the_task_has_noted(noted: object, result: object, shown: str) -> None:
    assert resource(noted, result) == shown


def test_the_note_is_looked_for_where_the_operators_leave_it() -> None:
    assert NOTED_KEY == HANDLE_KEY


def test_the_outermost_value_is_found() -> None:
    assert find({"a": {"key": 1}, "b": {"c": {"key": 2}}, "key": None}, "key") == 1
    assert find([{"key": 1}], "key") is None


def rows(*states: str) -> list[Row]:
    return [Row(task_id=f"Step{n}", state=state, seconds=1.5, resource="") for n, state in enumerate(states)]


def test_a_pipe_gets_a_line_for_each_change_and_the_table_at_the_end() -> None:
    out = io.StringIO()
    with run_view(Console(file=out, width=200)) as view:
        assert isinstance(view, ChangeLines)
        view.show(rows("waiting", "waiting"))
        view.show(rows("running", "waiting"))
        view.show(rows("running", "waiting"))
        view.show(rows("success", "skipped"))
    lines = out.getvalue().splitlines()
    assert [line.split("  ")[1:3] for line in lines[:3]] == [
        ["Step0", "running"],
        ["Step0", "success"],
        ["Step1", "skipped"],
    ]
    assert sum("Step0" in line for line in lines[3:]) == 1


def test_a_terminal_gets_a_live_table() -> None:
    out = io.StringIO()
    with run_view(Console(file=out, width=120, force_terminal=True)) as view:
        assert isinstance(view, LiveTable)
        view.show(rows("success"))
    assert "Step0" in out.getvalue()


def test_markup_in_names_is_shown_as_it_is() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(
        run_table([Row(task_id="[red]x", state="success", seconds=None, resource="[/b]")])
    )
    assert "[red]x" in out.getvalue()
    assert "[/b]" in out.getvalue()


def test_the_last_error_of_a_log_is_the_exception() -> None:
    log = [
        {"event": "::group::", "level": "info"},
        {"event": "first", "level": "error"},
        {"event": "Task failed", "level": "error", "error_detail": [{"exc_type": "E", "exc_value": "too low: 0.8"}]},
        {"event": "bye", "level": "info"},
    ]
    assert last_error(log) == "too low: 0.8"
    assert last_error(log[:2]) == "first"
    assert last_error(["plain text"]) == ""


def api_answering(**answers: tuple[int, object]) -> tuple[AirflowApi, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        status, body = answers[request.method]
        return httpx.Response(status, json=body)

    return AirflowApi("http://airflow", httpx.MockTransport(handle)), seen


def test_a_run_is_triggered_as_by_the_button() -> None:
    api, seen = api_answering(POST=(200, {"dag_run_id": "manual__1"}))
    assert api.trigger("my dag", {"Threshold": 2}) == "manual__1"
    assert seen[0].url.raw_path == b"/api/v2/dags/my%20dag/dagRuns"
    assert json.loads(seen[0].content) == {"logical_date": None, "conf": {"Threshold": 2}}


def test_absent_things_are_no_errors() -> None:
    api, _ = api_answering(GET=(404, {"detail": "not found"}))
    assert not api.has_dag("x")
    assert api.xcom("x", "r", "t") is None


def test_a_refusal_says_what_the_server_said() -> None:
    api, _ = api_answering(PATCH=(422, {"detail": "is_paused: not a boolean"}))
    with pytest.raises(httpx.HTTPStatusError, match=r"HTTP 422.*not a boolean"):
        api.unpause("x")


def test_unhealthy_components_are_named() -> None:
    healthy = {"status": "healthy"}
    api, _ = api_answering(
        GET=(200, {"metadatabase": healthy, "scheduler": healthy, "triggerer": {"status": None}, "dag_processor": None})
    )
    assert api.unhealthy() == ["triggerer", "dag_processor"]


class FakeView:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[list[tuple[str, str]]] = []

    def show(self, rows: list[Row]) -> None:
        self.shown.append([(each.state, each.resource) for each in rows])


def test_a_run_is_followed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resource shows while the job runs; a retry shows its own; what failed is kept for the report."""
    instance = {"task_id": "Train", "try_number": 1, "start_date": NOW.isoformat(), "end_date": None}
    script = [
        ("running", {**instance, "state": None, "start_date": None}, None),
        ("running", {**instance, "state": "deferred"}, {"name": "job-1"}),
        ("running", {**instance, "state": "up_for_retry"}, None),
        ("running", {**instance, "state": "running", "try_number": 2}, None),
        ("failed", {**instance, "state": "failed", "try_number": 2}, {"name": "job-2"}),
    ]
    now = iter(script)

    def handle(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/tasks"):
            return httpx.Response(200, json={"tasks": [{"task_id": "Train", "downstream_task_ids": []}]})
        if path.endswith("/dagRuns/r"):
            handle.step = next(now)
            return httpx.Response(200, json={"state": handle.step[0]})
        if path.endswith("/taskInstances"):
            return httpx.Response(200, json={"task_instances": [handle.step[1]]})
        if path.endswith("/sagemaker_resource") and handle.step[2]:
            return httpx.Response(200, json={"value": handle.step[2]})
        return httpx.Response(404, json={})

    monkeypatch.setattr("airflow_sagemaker_pipelines.local.demo.run.POLL_SECONDS", 0.0)
    api = AirflowApi("http://airflow", httpx.MockTransport(handle))
    followed, view = Run("d", "r"), FakeView()
    Runner(api, Components(tmp_path), Interrupts()).follow(followed, view, timeout=10)

    assert view.shown == [
        [("waiting", "")],
        [("running in AWS", "job-1")],
        [("up_for_retry", "job-1")],
        [("running", "")],
        [("failed", "job-2")],
    ]
    assert not followed.succeeded
    assert followed.failed_tries == {"Train": 2}


@mock_aws
def test_results_are_read_back_from_s3() -> None:
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    s3.create_bucket(Bucket="bucket")
    for key, body in {
        "run/evaluation/evaluation.json": b'{"accuracy": 0.97}',
        "run/evaluation/report.html": b"<html>",
        "models/job/output/model.tar.gz": b"12345",
        "scored/batch.csv.out": b"0.5",
    }.items():
        s3.put_object(Bucket="bucket", Key=key, Body=body)

    processing = {"ProcessingOutputConfig": {"Outputs": [{"S3Output": {"S3Uri": "s3://bucket/run/evaluation"}}]}}
    ((_, report),) = reports(s3, processing)
    uri, text = report.split("\n", 1)
    assert uri == "s3://bucket/run/evaluation/evaluation.json"
    assert json.loads(text) == {"accuracy": 0.97}

    training = {
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/models/job/output/model.tar.gz"},
        "FinalMetricDataList": [{"MetricName": "auc", "Value": 0.99}],
    }
    ((_, model),) = artifacts(s3, training)
    assert model == "s3://bucket/models/job/output/model.tar.gz  5 bytes  auc 0.99"

    ((_, scored),) = artifacts(s3, {"TransformOutput": {"S3OutputPath": "s3://bucket/scored"}})
    assert scored == "s3://bucket/scored/batch.csv.out  3 bytes"
    assert not [*reports(s3, None), *artifacts(s3, {})]


@mock_aws
def test_the_package_of_the_run_is_told_from_older_ones() -> None:
    client = boto3.client("sagemaker", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.create_model_package_group(ModelPackageGroupName="g")
    old, new = (client.create_model_package(ModelPackageGroupName="g")["ModelPackageArn"] for _ in range(2))
    assert old != new
    result = {"ModelPackageArn": new, "ModelPackageGroupName": "g"}
    assert [text.split()[0] for _, text in packages(client, result)] == [new]
    assert list(packages(client, {"ModelName": "m"})) == []
