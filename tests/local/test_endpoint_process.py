"""The endpoint as a process, and the pytest plugin as pytest loads it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from endpoint_support import BUCKET, ROLE, until, wait_processing

LOCAL = "airflow_sagemaker_pipelines.local"


@pytest.fixture
def process(tmp_path):
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", LOCAL, "--port", "0", "--port-file", str(port_file), "--run-code"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            until(lambda: port_file.exists() or running.poll() is not None, seconds=20)
            assert running.poll() is None, running.stderr.read()
            yield running, int(port_file.read_text()), port_file
        finally:
            running.kill()


def client(service, port):
    return boto3.session.Session().client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(proxies={}),
    )


def code_request(name, code):
    output = {"S3Uri": f"s3://{BUCKET}/out", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["python3", "-c", code]},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
    }


def test_a_job_runs_its_code_and_its_output_is_in_s3(process):
    _, port, _ = process
    sagemaker, s3 = client("sagemaker", port), client("s3", port)
    s3.create_bucket(Bucket=BUCKET)
    code = "open('/opt/ml/processing/out/x.txt', 'w').write('made here')"
    sagemaker.create_processing_job(**code_request("run-1", code))

    job = wait_processing(sagemaker, "run-1")

    assert job["ProcessingJobStatus"] == "Completed", job
    assert s3.get_object(Bucket=BUCKET, Key="out/x.txt")["Body"].read() == b"made here"


def test_sigterm_ends_the_process_and_the_code_of_its_jobs(process, tmp_path):
    running, port, port_file = process
    sagemaker, s3 = client("sagemaker", port), client("s3", port)
    s3.create_bucket(Bucket=BUCKET)
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    sagemaker.create_processing_job(**code_request("run-1", code))
    until(lambda: pid_file.exists() and pid_file.read_text())
    marker = code_marker(code)
    assert marker()

    running.send_signal(signal.SIGTERM)

    assert running.wait(timeout=15) == 0
    until(lambda: not marker(), seconds=5)
    assert not port_file.exists()


def code_marker(code):
    """Return a function that tells whether a process with this code in its command line exists (any pid namespace)."""
    needle = code.encode()

    def exists():
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if needle in Path(entry.path, "cmdline").read_bytes():
                        return True
                except OSError:
                    continue
        return False

    return exists


def test_a_taken_port_is_told_in_one_line(process):
    _, port, _ = process

    second = subprocess.run(
        [sys.executable, "-m", LOCAL, "--port", str(port)], capture_output=True, text=True, timeout=30, check=False
    )

    assert second.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_plugin_imports_nothing_heavy():
    code = (
        f"import sys, {LOCAL}.pytest_plugin; "
        "heavy = {'moto', 'boto3', 'botocore', 'airflow', 'werkzeug', 'flask'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr


def test_without_moto_the_fixture_says_what_to_install(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(local_sagemaker): pass\n")
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['moto'] = None\n")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )

    assert done.returncode == 1
    assert "pip install 'airflow-provider-sagemaker-pipelines[local]'" in done.stdout


def test_the_fixture_sends_plain_boto3_and_airflows_connection_to_the_endpoint(local_sagemaker):
    before = time.time()
    boto3.session.Session().client("sqs").create_queue(QueueName="q")

    assert local_sagemaker.calls() == {"sqs.CreateQueue": 1}
    assert local_sagemaker.url in os.environ["AIRFLOW_CONN_AWS_DEFAULT"]
    assert time.time() - before < 10
