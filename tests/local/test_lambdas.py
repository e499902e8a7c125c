"""Lambda functions run by the local interpreter, over HTTP."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from airflow_sagemaker_pipelines.local import lambdas

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient

HANDLER = """
import json, os, time
print("imported")
def echo(event, context):
    print("got", json.dumps(event, sort_keys=True))
    return {
        "event": event,
        "function": context.function_name,
        "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis(),
        "mine": os.environ.get("MINE"),
        "region": os.environ["AWS_REGION"],
        "airflow": [name for name in os.environ if name.startswith("AIRFLOW")],
    }
def broken(event, context):
    raise KeyError("no such model")
def unserialisable(event, context):
    return {1, 2}
def slow(event, context):
    time.sleep(60)
def leave(event, context):
    os._exit(3)
def store(event, context):
    import boto3
    boto3.client("s3").put_object(Bucket=event["bucket"], Key="k", Body=b"from lambda")
    return "gespeichert für " + event["bucket"]
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    lambdas.install(address)
    yield address
    lambdas.uninstall()
    server.stop()


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture(scope="module")
def aws(url: str) -> LambdaClient:
    made: LambdaClient = client("lambda", url)
    return made


@pytest.fixture(scope="module")
def logs(url: str) -> CloudWatchLogsClient:
    made: CloudWatchLogsClient = client("logs", url)
    return made


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, text in files.items():
            out.writestr(name.replace("__", "/") + ".py", text)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def function(aws: LambdaClient) -> Callable[..., str]:
    def create(handler: str, **members: Any) -> str:
        name = members.pop("FunctionName", handler.replace(".", "-"))
        aws.create_function(
            FunctionName=name,
            Handler=handler,
            Runtime="python3.12",
            Role="arn:aws:iam::123456789012:role/service/nobody-made-it",
            Code={"ZipFile": members.pop("ZipFile", archive(index=HANDLER))},
            **members,
        )
        return name

    return create


def log_of(logs: CloudWatchLogsClient, name: str) -> list[str]:
    group = f"/aws/lambda/{name}"
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    return [
        event["message"]
        for stream in streams
        for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    ]


def test_a_handler_gets_its_event_and_answers(
    aws: LambdaClient,
    logs: CloudWatchLogsClient,
    function: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    name = function("index.echo", Environment={"Variables": {"MINE": "yes"}}, Timeout=7)

    answer = aws.invoke(FunctionName=name, Payload=json.dumps({"a": 1, "b": "ü"}).encode(), LogType="Tail")

    assert "FunctionError" not in answer
    assert answer["StatusCode"] == 200
    payload = json.load(answer["Payload"])
    assert 0 < payload.pop("left") <= 7000
    assert payload == {
        "event": {"a": 1, "b": "ü"},
        "function": name,
        "arn": f"arn:aws:lambda:eu-west-1:123456789012:function:{name}",
        "mine": "yes",
        "region": "eu-west-1",
        "airflow": [],
    }
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert 'got {"a": 1, "b": "\\u00fc"}' in tail
    lines = log_of(logs, name)
    assert lines[0].startswith("START RequestId: ")
    assert lines[1] == "imported"
    assert lines[-2].startswith("END RequestId: ")
    assert lines[-1].startswith("REPORT RequestId: ")


def test_no_payload_is_an_empty_event(aws: LambdaClient, function: Callable[..., str]) -> None:
    name = function("index.echo", FunctionName="empty")

    assert json.load(aws.invoke(FunctionName=name)["Payload"])["event"] == {}


def test_an_exception_is_an_unhandled_function_error(
    aws: LambdaClient, logs: CloudWatchLogsClient, function: Callable[..., str]
) -> None:
    name = function("index.broken")

    answer = aws.invoke(FunctionName=name, Payload=b"{}")

    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    report = json.load(answer["Payload"])
    assert report["errorMessage"] == "'no such model'"
    assert report["errorType"] == "KeyError"
    assert len(report["stackTrace"]) == 1, "our own frames are not the user's business"
    assert 'raise KeyError("no such model")' in report["stackTrace"][0]
    assert "[ERROR] KeyError: 'no such model'" in log_of(logs, name)


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        ("index.unserialisable", "TypeError"),
        ("missing.handler", "ModuleNotFoundError"),
        ("index.missing", "AttributeError"),
        ("index.leave", "Runtime.ExitError"),
    ],
)
def test_other_ways_to_fail(aws: LambdaClient, function: Callable[..., str], handler: str, kind: str) -> None:
    answer = aws.invoke(FunctionName=function(handler), Payload=b"{}")

    assert answer["FunctionError"] == "Unhandled"
    assert json.load(answer["Payload"])["errorType"] == kind


def test_the_timeout_of_the_function_counts(
    aws: LambdaClient, logs: CloudWatchLogsClient, function: Callable[..., str]
) -> None:
    name = function("index.slow", Timeout=1)

    begin = time.monotonic()
    answer = aws.invoke(FunctionName=name, Payload=b"{}")

    assert 1 <= time.monotonic() - begin < 4
    assert answer["FunctionError"] == "Unhandled"
    report = json.load(answer["Payload"])
    assert report["errorType"] == "Sandbox.Timedout"
    assert report["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert any(line.endswith("Task timed out after 1.00 seconds") for line in log_of(logs, name))


def test_its_aws_calls_go_to_the_endpoint(aws: LambdaClient, function: Callable[..., str], url: str) -> None:
    s3 = client("s3", url)
    s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    name = function("index.store", Timeout=20)

    answer = aws.invoke(FunctionName=name, Payload=b'{"bucket": "lake"}')

    assert json.load(answer["Payload"]) == "gespeichert für lake"
    assert s3.get_object(Bucket="lake", Key="k")["Body"].read() == b"from lambda"


def test_event_returns_at_once_and_runs_later(
    aws: LambdaClient, logs: CloudWatchLogsClient, function: Callable[..., str]
) -> None:
    name = function("index.echo", FunctionName="event")

    answer = aws.invoke(FunctionName=name, Payload=b'{"later": true}', InvocationType="Event")

    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    deadline = time.monotonic() + 10
    lines: list[str] = []
    while 'got {"later": true}' not in lines and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            lines = log_of(logs, name)
        except logs.exceptions.ResourceNotFoundException:
            continue
    assert 'got {"later": true}' in lines


def test_dry_run_runs_nothing(aws: LambdaClient, logs: CloudWatchLogsClient, function: Callable[..., str]) -> None:
    name = function("index.echo", FunctionName="dry")

    assert aws.invoke(FunctionName=name, Payload=b"{}", InvocationType="DryRun")["StatusCode"] == 204
    assert logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"] == []


def test_a_payload_that_is_no_json(aws: LambdaClient, function: Callable[..., str]) -> None:
    name = function("index.echo", FunctionName="nojson")

    with pytest.raises(ClientError) as raised:
        aws.invoke(FunctionName=name, Payload=b"{")
    assert raised.value.response["Error"]["Code"] == "InvalidRequestContentException"


def test_a_handler_in_a_package_with_a_layer(aws: LambdaClient, function: Callable[..., str]) -> None:
    layer = aws.publish_layer_version(LayerName="lib", Content={"ZipFile": archive(python__shared="VALUE = 42\n")})
    code = archive(pkg__main="import shared\ndef go(event, context):\n    return shared.VALUE\n")
    name = function("pkg/main.go", FunctionName="layered", ZipFile=code, Layers=[layer["LayerVersionArn"]])

    answer = aws.invoke(FunctionName=name, Payload=b"{}")

    assert json.load(answer["Payload"]) == 42


def test_the_role_still_needs_the_form_of_a_role(aws: LambdaClient) -> None:
    with pytest.raises(ClientError, match="failed to satisfy constraint"):
        aws.create_function(
            FunctionName="norole",
            Handler="index.echo",
            Runtime="python3.12",
            Role="nonsense",
            Code={"ZipFile": archive(index=HANDLER)},
        )


def test_many_at_once(aws: LambdaClient, function: Callable[..., str]) -> None:
    name = function("index.echo", FunctionName="many")
    seen: list[int] = []

    def call(number: int) -> None:
        answer = aws.invoke(FunctionName=name, Payload=json.dumps({"n": number}).encode())
        seen.append(json.load(answer["Payload"])["event"]["n"])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(seen) == list(range(8))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_timeout_leaves_no_process(aws: LambdaClient, function: Callable[..., str]) -> None:
    code = archive(
        index="import subprocess, sys\ndef go(e, c):\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', 'left-by-lambda'],"
        " start_new_session=True).wait()\n"
    )
    name = function("index.go", FunctionName="leftover", ZipFile=code, Timeout=1)

    aws.invoke(FunctionName=name, Payload=b"{}")

    commands = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                commands.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    assert [command for command in commands if b"left-by-lambda" in command] == []
