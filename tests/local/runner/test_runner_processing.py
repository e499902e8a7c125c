from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runner_support import Background, Cloud, living, processing, wait_for

from airflow_sagemaker_pipelines.local.runner import OptMl, Runner, stop_all
from airflow_sagemaker_pipelines.local.runner.container import _can_bind

REPORT = """
import json, os, pathlib, sys
root = pathlib.Path("/opt/ml/processing")
rows = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and "code" not in p.parts)
out = root / "report"
(out / "deep").mkdir()
(out / "deep" / "seen.json").write_text(json.dumps({
    "files": rows,
    "text": (root / "input" / "a.csv").read_text(),
    "arguments": sys.argv[1:],
    "environment": os.environ["WHERE"],
    "argument_exists": os.path.isdir(sys.argv[2]),
    "environment_exists": os.path.isdir(os.environ["WHERE"]),
    "job": json.load(open("/opt/ml/config/processingjobconfig.json"))["ProcessingJobName"],
    "hosts": json.load(open("/opt/ml/config/resourceconfig.json"))["hosts"],
    "where": str(out),
}))
pathlib.Path("/opt/ml/output/message").write_text("rows: 1, see /opt/ml/processing/report")
print("first")
print("second in /opt/ml", file=sys.stderr)
"""


def test_inputs_arguments_and_outputs(runner: Runner, cloud: Cloud) -> None:
    cloud.put("data/a.csv", "1,2\n")
    cloud.put("data/sub/b.csv", "3\n")
    cloud.put("data/sub/", b"")
    cloud.put("single/file.txt", "x")
    cloud.put("listed/one", "1")
    cloud.put("listed/two", "2")
    manifest = cloud.put("m.manifest", json.dumps([{"prefix": cloud.uri("listed/")}, "two"]))
    inputs = [
        {"InputName": "data", "S3Input": {"S3Uri": cloud.uri("data"), "LocalPath": "/opt/ml/processing/input"}},
        {
            "InputName": "one",
            "S3Input": {"S3Uri": cloud.uri("single/file.txt"), "LocalPath": "/opt/ml/processing/single"},
        },
        {
            "InputName": "list",
            "S3Input": {"S3Uri": manifest, "S3DataType": "ManifestFile", "LocalPath": "/opt/ml/processing/list"},
        },
    ]
    output = {"S3Uri": cloud.uri("out"), "LocalPath": "/opt/ml/processing/report", "S3UploadMode": "Continuous"}
    request = processing(
        cloud.put("code/report.py", REPORT),
        ProcessingInputs=inputs,
        ContainerArguments=["--in", "/opt/ml/processing/input", "3"],
        Environment={"WHERE": "/opt/ml/processing/single"},
        ProcessingOutputConfig={"Outputs": [{"OutputName": "report", "S3Output": output}]},
    )
    name = f"inputs-{runner.mode.value}"

    result = runner.run("processing", name, request, threading.Event())

    assert result is not None
    assert result.succeeded, (result, cloud.log("ProcessingJobs", name))
    assert result.exit_message == "rows: 1, see /opt/ml/processing/report"
    assert cloud.keys("out") == ["out/deep/seen.json"]
    seen = json.loads(cloud.get("out/deep/seen.json"))
    assert seen["files"] == ["input/a.csv", "input/sub/b.csv", "list/two", "single/file.txt"]
    assert seen["text"] == "1,2\n"
    assert seen["arguments"][0] == "--in"
    assert seen["arguments"][2] == "3"
    assert seen["argument_exists"]
    assert seen["environment_exists"]
    assert seen["job"] == name
    assert seen["hosts"] == ["algo-1"]
    assert seen["where"] == "/opt/ml/processing/report"
    assert cloud.log("ProcessingJobs", name) == ["first", "second in /opt/ml"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit(3)", "AlgorithmError: , exit code: 3"),
        (
            "open('/opt/ml/output/failure', 'w').write('no rows in /opt/ml/processing'); raise SystemExit(1)",
            "AlgorithmError: no rows in /opt/ml/processing, exit code: 1",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "AlgorithmError: , exit code: 137"),
        (
            "open('/opt/ml/output/failure', 'w').write('x' * 5000); raise SystemExit(1)",
            "AlgorithmError: " + "x" * (1024 - 30) + ", exit code: 1",
        ),
    ],
)
def test_a_failure_is_worded_as_aws_words_it(runner: Runner, cloud: Cloud, script: str, reason: str) -> None:
    output = {"S3Uri": cloud.uri("out"), "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    request = processing(
        cloud.put("code/fail.py", "open('/opt/ml/processing/out/x', 'w').close()\n" + script),
        ProcessingOutputConfig={"Outputs": [{"OutputName": "o", "S3Output": output}]},
    )

    result = runner.run("processing", "fail", request, threading.Event())

    assert result is not None
    assert not result.succeeded
    assert result.failure_reason == reason
    assert cloud.keys("out") == []


@pytest.mark.parametrize("source", ["nothing/here", "missing-bucket"])
def test_missing_input(any_runner: Runner, cloud: Cloud, source: str) -> None:
    url = "s3://no-such-bucket-at-all/x" if source == "missing-bucket" else cloud.uri(source)
    script = cloud.put("code/p.py", "print('ran')")
    inputs = [{"InputName": "i", "S3Input": {"S3Uri": url, "LocalPath": "/opt/ml/processing/input"}}]

    result = any_runner.run(
        "processing", f"missing-{source[:7]}", processing(script, ProcessingInputs=inputs), threading.Event()
    )

    assert result is not None
    assert result.failure_reason is not None
    assert result.failure_reason.startswith(
        f'ClientError: Data download failed:No S3 objects found under S3 URL "{url}" given in input data source.'
    )


def test_a_missing_output_bucket(any_runner: Runner, cloud: Cloud) -> None:
    output = {"S3Uri": "s3://no-such-bucket-at-all/x", "LocalPath": "/opt/ml/processing/out"}
    request = processing(
        cloud.put("p.py", "open('/opt/ml/processing/out/x', 'w').close()"),
        ProcessingOutputConfig={"Outputs": [{"OutputName": "o", "S3Output": output}]},
    )

    result = any_runner.run("processing", "nobucket", request, threading.Event())

    assert result is not None
    assert result.failure_reason is not None
    assert result.failure_reason.startswith("ClientError: Artifact upload failed:")
    assert "NoSuchBucket" in result.failure_reason


def test_a_key_cannot_lead_out_of_its_directory(any_runner: Runner, cloud: Cloud) -> None:
    manifest = cloud.put("m", json.dumps([{"prefix": cloud.uri("d/")}, "../../../../evil"]))
    inputs = [{"S3Input": {"S3Uri": manifest, "S3DataType": "ManifestFile", "LocalPath": "/opt/ml/processing/input"}}]
    request = processing(cloud.put("code/p.py", ""), ProcessingInputs=inputs)

    result = any_runner.run("processing", "evil", request, threading.Event())

    assert result is not None
    assert result.failure_reason == (
        "ClientError: Data download failed:The name ../../../../evil leads out of its directory."
    )


@pytest.mark.parametrize("local", ["/etc", "/opt/ml/../../etc", "/opt/mlx"])
def test_local_path_must_be_below_opt_ml(any_runner: Runner, cloud: Cloud, local: str) -> None:
    cloud.put("d/x", "x")
    inputs = [{"S3Input": {"S3Uri": cloud.uri("d"), "LocalPath": local}}]

    result = any_runner.run(
        "processing", "etc", processing(cloud.put("p.py", ""), ProcessingInputs=inputs), threading.Event()
    )

    assert result is not None
    assert result.failure_reason == f"ClientError: The local path {local} is not below /opt/ml."


def test_the_environment_is_clean_and_aws_is_the_endpoint(
    any_runner: Runner, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-real-one")
    monkeypatch.setenv("AWS_PROFILE", "production")
    script = f"""
import boto3, json, os
boto3.client("s3").put_object(Bucket="{cloud.bucket}", Key="env.json", Body=json.dumps(dict(os.environ)))
"""
    result = any_runner.run(
        "processing", "env", processing(cloud.put("p.py", script), Environment={"MINE": "1"}), threading.Event()
    )

    assert result is not None
    assert result.succeeded, cloud.log("ProcessingJobs", "env")
    environment = json.loads(cloud.get("env.json"))
    assert "secret" not in environment.values()
    assert "AWS_PROFILE" not in environment
    assert environment["AWS_SECRET_ACCESS_KEY"] == "testing"
    assert environment["AWS_ENDPOINT_URL"] == cloud.url
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "us-east-1"
    assert environment["MINE"] == "1"


@pytest.mark.parametrize(
    ("entrypoint", "why"),
    [(None, "the entry point is that of the image"), (["smspark-submit", "x"], "'smspark-submit' is not on this")],
)
def test_what_only_the_image_has_is_not_run(
    any_runner: Runner, cloud: Cloud, entrypoint: list[str] | None, why: str
) -> None:
    request = processing(cloud.put("p.py", ""))
    request["AppSpecification"]["ContainerEntrypoint"] = entrypoint
    name = f"image-{bool(entrypoint)}"

    assert any_runner.run("processing", name, request, threading.Event()) is None
    assert why in cloud.log("ProcessingJobs", name)[0]


def test_pip_install_is_skipped_and_python_is_this_one(any_runner: Runner, cloud: Cloud) -> None:
    script = "pip install nonsense && python -m pip install nonsense && python3 -c 'import sys; print(sys.prefix)'"
    request = processing(cloud.put("p.py", ""))
    request["AppSpecification"] |= {"ContainerEntrypoint": ["/bin/bash", "-c"], "ContainerArguments": [script]}

    result = any_runner.run("processing", "pip", request, threading.Event())

    assert result is not None
    assert result.succeeded
    skipped = "local endpoint: 'pip install nonsense' skipped, the job uses the packages of this interpreter"
    assert cloud.log("ProcessingJobs", "pip") == [skipped, skipped, sys.prefix]


def test_source_archives_are_rewritten_too(runner: Runner, cloud: Cloud) -> None:
    """As the SDK's FrameworkProcessor does: a shell script unpacks the archive and runs the program."""
    cloud.put_tar("in/sourcedir.tar.gz", {"go.py": "open('/opt/ml/processing/out/done.txt', 'w').write('ok')"})
    cloud.put("in/runproc.sh", "cd /opt/ml/processing/in/ && tar -xzf sourcedir.tar.gz && python go.py\n")
    request = processing(cloud.put("p.py", ""))
    request["AppSpecification"] |= {"ContainerEntrypoint": ["/bin/bash", "/opt/ml/processing/in/runproc.sh"]}
    request["ProcessingInputs"] = [{"S3Input": {"S3Uri": cloud.uri("in/"), "LocalPath": "/opt/ml/processing/in"}}]
    output = {"S3Uri": cloud.uri("out"), "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    request["ProcessingOutputConfig"] = {"Outputs": [{"OutputName": "o", "S3Output": output}]}

    result = runner.run("processing", "framework", request, threading.Event())

    assert result is not None
    assert result.succeeded, cloud.log("ProcessingJobs", "framework")
    assert cloud.get("out/done.txt") == b"ok"


@pytest.mark.skipif(not _can_bind(), reason="no mount namespaces here")
def test_binding_hides_nothing_else_of_opt(runners: dict[OptMl, Runner], cloud: Cloud) -> None:
    listing = "import os; print({e.name: e.is_dir() and len(os.listdir(e)) for e in os.scandir('/opt')})"
    request = processing(cloud.put("p.py", listing))

    def outside() -> dict[str, int]:
        return {e.name: e.is_dir() and len(list(e.iterdir())) for e in Path("/opt").iterdir()}

    before = outside()
    runners[OptMl.BIND].run("processing", "opt", request, threading.Event())

    seen = ast.literal_eval(cloud.log("ProcessingJobs", "opt")[0])
    assert seen.pop("ml") > 0
    before.pop("ml", None)
    assert seen == before
    after = outside()
    after.pop("ml", None)
    assert after == before, "the job's mounts must not be seen outside"


def test_log_lines_arrive_while_the_job_runs(
    any_runner: Runner, cloud: Cloud, in_background: Callable[..., Background]
) -> None:
    script = cloud.put("p.py", "import time; print('early'); print(); print('after empty'); time.sleep(60)")
    run = in_background(any_runner, "processing", "live", processing(script))

    wait_for(lambda: cloud.log("ProcessingJobs", "live") == ["early", " ", "after empty"], "the first lines")

    assert run.thread.is_alive()


POLITE = """
import signal, sys, time
def leave(*_):
    print("leaving")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up")
time.sleep(60)
"""
# Ignores SIGTERM, and has a child in a session of its own that does so, too.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child, sys.argv[1]], start_new_session=True)
print("up")
time.sleep(60)
"""


def test_stop_lets_the_job_end_itself(
    any_runner: Runner, cloud: Cloud, in_background: Callable[..., Background]
) -> None:
    run = in_background(any_runner, "processing", "polite", processing(cloud.put("p.py", POLITE)))
    wait_for(lambda: cloud.log("ProcessingJobs", "polite"), "the job to be up")

    run.stop.set()
    result = run.end()

    assert result.stopped
    assert not result.succeeded
    assert result.failure_reason is None
    assert cloud.log("ProcessingJobs", "polite") == ["up", "leaving"]


def test_a_job_stopped_before_its_start_does_not_start(any_runner: Runner, cloud: Cloud) -> None:
    stop = threading.Event()
    stop.set()

    result = any_runner.run("processing", "never", processing(cloud.put("p.py", "print('ran')")), stop)

    assert result is not None
    assert result.stopped
    assert cloud.log("ProcessingJobs", "never") == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_stop_kills_what_does_not_end_itself(
    runner: Runner, cloud: Cloud, in_background: Callable[..., Background]
) -> None:
    marker = f"marker-stubborn-{runner.mode.value}-{os.getpid()}"
    request = processing(cloud.put("p.py", STUBBORN), ContainerArguments=[marker])
    name = f"stubborn-{runner.mode.value}"
    run = in_background(runner, "processing", name, request)
    wait_for(lambda: len(living(marker)) >= 2 and cloud.log("ProcessingJobs", name), "the job and its child")

    begin = time.monotonic()
    run.stop.set()
    result = run.end()

    assert result.stopped
    assert 1.0 <= time.monotonic() - begin < 5.0, "SIGKILL comes after the grace period of one second"
    assert living(marker) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_a_job_leaves_running_ends_with_it(any_runner: Runner, cloud: Cloud) -> None:
    marker = f"marker-left-{os.getpid()}"
    script = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "{marker}"], start_new_session=True)
"""
    begin = time.monotonic()
    result = any_runner.run("processing", "left", processing(cloud.put("p.py", script)), threading.Event())

    assert result is not None
    assert result.succeeded
    assert time.monotonic() - begin < 10
    assert living(marker) == []


def test_stop_all_ends_every_run(any_runner: Runner, cloud: Cloud, in_background: Callable[..., Background]) -> None:
    request = processing(cloud.put("p.py", "import time; print('up'); time.sleep(60)"))
    runs = [in_background(any_runner, "processing", f"all-{number}", request) for number in range(3)]
    for number in range(3):
        wait_for(lambda n=number: cloud.log("ProcessingJobs", f"all-{n}"), "the jobs to be up")

    stop_all()

    assert [run.end().stopped for run in runs] == [True, True, True]
    later = any_runner.run("processing", "later", processing(cloud.put("q.py", "")), threading.Event())
    assert later is not None
    assert later.succeeded


def test_max_runtime(any_runner: Runner, cloud: Cloud) -> None:
    request = processing(cloud.put("p.py", "import time; time.sleep(60)"), StoppingCondition={"MaxRuntimeInSeconds": 1})

    result = any_runner.run("processing", "long", request, threading.Event())

    assert result is not None
    assert result.timed_out
    assert not result.succeeded
    assert not result.stopped


ENDPOINT = """
import json, sys, threading
from airflow_sagemaker_pipelines.local.runner import OptMl, Runner
url, mode, request = sys.argv[1], OptMl(sys.argv[2]), json.loads(sys.argv[3])
Runner(endpoint_url=url, region="us-east-1", opt_ml=mode).run("processing", "orphan", request, threading.Event())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_no_process_and_no_file_survives_the_endpoint(
    runner: Runner, cloud: Cloud, tmp_path: Path, number: signal.Signals
) -> None:
    marker = f"marker-orphan-{runner.mode.value}-{number}-{os.getpid()}"
    request: dict[str, Any] = processing(cloud.put("p.py", STUBBORN), ContainerArguments=[marker])
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    endpoint = subprocess.Popen(
        [sys.executable, "-c", ENDPOINT, cloud.url, runner.mode.value, json.dumps(request)], env=environment
    )
    try:
        # the endpoint itself has the marker in its request
        wait_for(lambda: len(set(living(marker)) - {endpoint.pid}) >= 2, "the job and its child")
        assert list(tmp_path.iterdir()) != []
    finally:
        endpoint.send_signal(number)
        endpoint.wait(10)

    wait_for(lambda: living(marker) == [], "the job's end", 5)
    wait_for(lambda: list(tmp_path.iterdir()) == [], "the removal of its files", 5)
