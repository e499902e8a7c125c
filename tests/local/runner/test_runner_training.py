from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable
from typing import Any

from runner_support import ROLE, Background, Cloud, wait_for

from airflow_sagemaker_pipelines.local.runner import Runner, script_mode

TRAIN = """
import argparse, json, os, sys
import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("--max_iter", type=int)
parser.add_argument("--penalty")
parser.add_argument("--verbose-name", default="?")
parser.add_argument("-c", type=float)
parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
arguments = parser.parse_args()
rows = np.loadtxt(os.path.join(arguments.train, "rows.csv"), delimiter=",")
model = LogisticRegression(max_iter=arguments.max_iter, C=arguments.c)
model.fit(rows[:, :2], rows[:, 2])
accuracy = model.score(rows[:, :2], rows[:, 2])
print("epoch=1 train:accuracy=0.10;")
print(f"epoch=2 train:accuracy={accuracy:.2f};")
joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
with open("/opt/ml/model/about.json", "w") as out:
    json.dump({"where": os.environ["SM_MODEL_DIR"], "hps": json.loads(os.environ["SM_HPS"])}, out)
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "facts.json"), "w") as out:
    json.dump({
        "argv": sys.argv[1:],
        "cwd": os.getcwd(),
        "sm": {k: v for k, v in os.environ.items() if k.startswith("SM_")},
        "job": os.environ["TRAINING_JOB_NAME"],
        "hyperparameters": json.load(open("/opt/ml/input/config/hyperparameters.json")),
        "channels": json.load(open("/opt/ml/input/config/inputdataconfig.json")),
        "hosts": json.load(open("/opt/ml/input/config/resourceconfig.json"))["hosts"],
    }, out)
"""
ROWS = "".join(f"{x},{y},{int(x + y > 9)}\n" for x in range(10) for y in range(10))


def training(cloud: Cloud, **members: Any) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": cloud.uri("models/")},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **members,
    }


def script(cloud: Cloud, text: str, **hyperparameters: str) -> dict[str, str]:
    """Hyperparameters of script mode; values are JSON, as the SDK writes them."""
    archive = cloud.put_tar("code/sourcedir.tar.gz", {"train.py": text, "requirements.txt": "nonsense"})
    return {
        "sagemaker_program": json.dumps("train.py"),
        "sagemaker_submit_directory": json.dumps(archive),
        **hyperparameters,
    }


def test_script_mode_trains_a_model(runner: Runner, cloud: Cloud) -> None:
    cloud.put("rows/rows.csv", ROWS)
    name = f"train-{runner.mode.value}"
    hyperparameters = script(
        cloud, TRAIN, max_iter="200", penalty='"l2"', c="1.5", sagemaker_region='"us-east-1"', **{"verbose-name": "x y"}
    )
    channel = {
        "ChannelName": "train",
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": cloud.uri("rows")}},
    }
    request = training(
        cloud,
        HyperParameters=hyperparameters,
        InputDataConfig=[channel],
        AlgorithmSpecification={
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "train:accuracy", "Regex": "train:accuracy=(.*?);"},
                {"Name": "absent", "Regex": "absent=([0-9.]+)"},
                {"Name": "broken", "Regex": "("},
            ],
        },
    )

    result = runner.run("training", name, request, threading.Event())

    assert result is not None
    log = cloud.log("TrainingJobs", name)
    assert result.succeeded, (result, log)
    assert [(metric.name, metric.value >= 0.9) for metric in result.metrics] == [("train:accuracy", True)]
    assert any("requirements.txt is not installed" in line for line in log)
    assert any("metric broken" in line for line in log)
    model = cloud.get_tar(f"models/{name}/output/model.tar.gz")
    assert sorted(model) == ["about.json", "model.joblib"]
    assert json.loads(model["about.json"]) == {
        "where": "/opt/ml/model",
        "hps": {"c": 1.5, "max_iter": 200, "penalty": "l2", "verbose-name": "x y"},
    }
    facts = json.loads(cloud.get_tar(f"models/{name}/output/output.tar.gz")["facts.json"])
    assert facts["argv"] == ["-c", "1.5", "--max_iter", "200", "--penalty", "l2", "--verbose-name", "x y"]
    assert facts["cwd"] == "/opt/ml/code"
    assert facts["job"] == name
    assert facts["hosts"] == ["algo-1"]
    assert facts["hyperparameters"] == hyperparameters
    assert facts["channels"]["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    variables = facts["sm"]
    assert variables["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert variables["SM_CHANNELS"] == '["train"]'
    assert variables["SM_HP_MAX_ITER"] == "200"
    assert variables["SM_HP_PENALTY"] == "l2"
    assert "SM_HP_SAGEMAKER_PROGRAM" not in variables
    assert variables["SM_HOSTS"] == '["algo-1"]'
    assert variables["SM_CURRENT_HOST"] == "algo-1"
    assert variables["SM_NUM_GPUS"] == "0"
    assert int(variables["SM_NUM_CPUS"]) >= 1
    assert variables["SM_OUTPUT_DIR"] == "/opt/ml/output"
    assert json.loads(variables["SM_USER_ARGS"]) == facts["argv"]
    assert variables["SM_USER_ENTRY_POINT"] == "train.py"
    assert json.loads(variables["SM_TRAINING_ENV"])["hyperparameters"]["max_iter"] == 200


# The SDK's repack step: a training job whose script puts an inference script into a model's archive.
REPACK = """
import argparse, os, shutil, tarfile, tempfile
parser = argparse.ArgumentParser()
parser.add_argument("--inference_script")
parser.add_argument("--model_archive")
arguments = parser.parse_args()
with tempfile.TemporaryDirectory() as work:
    name = arguments.model_archive.split("/")[-1]
    with tarfile.open(os.path.join("/opt/ml/input/data/training", name)) as tar:
        tar.extractall(work)
    os.makedirs(os.path.join(work, "code"), exist_ok=True)
    shutil.copy(os.path.join("/opt/ml/code", arguments.inference_script), os.path.join(work, "code"))
    shutil.copytree(work, "/opt/ml/model", dirs_exist_ok=True)
"""


def test_repacking_a_model(runner: Runner, cloud: Cloud) -> None:
    model = cloud.put_tar("old/output/model.tar.gz", {"weights.bin": b"\x00\xff/opt/ml\x00"})
    inference = "MODEL = '/opt/ml/model/weights.bin'\n"
    archive = cloud.put_tar("code/sourcedir.tar.gz", {"_repack_model.py": REPACK, "inference.py": inference})
    request = training(
        cloud,
        HyperParameters={
            "sagemaker_program": '"_repack_model.py"',
            "sagemaker_submit_directory": json.dumps(archive),
            "inference_script": '"inference.py"',
            "model_archive": json.dumps(model),
            "sagemaker_container_log_level": "20",
        },
        InputDataConfig=[
            {
                "ChannelName": "training",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": model}},
            }
        ],
    )

    result = runner.run("training", "repack", request, threading.Event())

    assert result is not None
    assert result.succeeded, cloud.log("TrainingJobs", "repack")
    assert cloud.get_tar("models/repack/output/model.tar.gz") == {
        "weights.bin": b"\x00\xff/opt/ml\x00",
        "code/inference.py": inference.encode(),
    }


def test_a_failing_script_tells_its_traceback(runner: Runner, cloud: Cloud) -> None:
    text = "import pathlib\nprint('loss=2.5;')\npathlib.Path('/opt/ml/model/x').touch()\nraise ValueError('no rows')"
    algorithm = {"TrainingImage": "i", "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*);"}]}
    request = training(cloud, HyperParameters=script(cloud, text, depth="5"), AlgorithmSpecification=algorithm)

    result = runner.run("training", "broken", request, threading.Event())

    assert result is not None
    assert not result.succeeded
    assert result.failure_reason is not None
    assert result.failure_reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "')
    assert 'File "/opt/ml/code/train.py", line 4' in result.failure_reason
    assert "ValueError: no rows" in result.failure_reason
    assert result.failure_reason.endswith('Command "python3 train.py --depth 5", exit code: 1')
    assert [(metric.name, metric.value) for metric in result.metrics] == [("loss", 2.5)]
    assert cloud.keys("models") == [], "a failed training leaves no model"


def test_a_failure_file_wins_over_the_traceback(runner: Runner, cloud: Cloud) -> None:
    text = "open('/opt/ml/output/failure', 'w').write('bad data'); raise SystemExit(2)"
    request = training(cloud, HyperParameters=script(cloud, text))

    result = runner.run("training", "told", request, threading.Event())

    assert result is not None
    assert result.failure_reason == "AlgorithmError: bad data, exit code: 2"


def test_an_entry_point_in_the_request(runner: Runner, cloud: Cloud) -> None:
    cloud.put("driver/run.sh", "echo $1 > /opt/ml/model/said.txt\n")
    request = training(
        cloud,
        AlgorithmSpecification={
            "TrainingImage": "image",
            "ContainerEntrypoint": ["/bin/bash", "/opt/ml/input/data/driver/run.sh"],
            "ContainerArguments": ["hello"],
        },
        InputDataConfig=[{"ChannelName": "driver", "DataSource": {"S3DataSource": {"S3Uri": cloud.uri("driver/")}}}],
        OutputDataConfig={"S3OutputPath": cloud.uri("models"), "CompressionType": "NONE"},
    )

    result = runner.run("training", "entry", request, threading.Event())

    assert result is not None
    assert result.succeeded, cloud.log("TrainingJobs", "entry")
    assert cloud.get("models/entry/output/model/said.txt") == b"hello\n"


def test_a_built_in_algorithm_is_not_run(any_runner: Runner, cloud: Cloud) -> None:
    request = training(cloud, HyperParameters={"max_depth": "5"})

    assert any_runner.run("training", "builtin", request, threading.Event()) is None
    assert "local endpoint: not run: the algorithm is that of the image image" in cloud.log("TrainingJobs", "builtin")


def test_step_functions_need_the_sdk(any_runner: Runner, cloud: Cloud) -> None:
    driver = "/opt/ml/input/data/sagemaker_remote_function_bootstrap/job_driver.sh"
    request = training(
        cloud, AlgorithmSpecification={"TrainingImage": "i", "ContainerEntrypoint": ["/bin/bash", driver]}
    )

    assert any_runner.run("training", "step", request, threading.Event()) is None


def test_stopping_keeps_the_model(runner: Runner, cloud: Cloud, in_background: Callable[..., Background]) -> None:
    text = """
import signal, sys, time
def save(*_):
    open("/opt/ml/model/m.txt", "w").write("half")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(60)
"""
    name = f"half-{runner.mode.value}"
    run = in_background(runner, "training", name, training(cloud, HyperParameters=script(cloud, text)))
    wait_for(lambda: "up" in cloud.log("TrainingJobs", name), "the job to be up")

    run.stop.set()

    assert run.end().stopped
    assert cloud.get_tar(f"models/{name}/output/model.tar.gz") == {"m.txt": b"half"}


def test_nothing_trained_is_nothing_stored(any_runner: Runner, cloud: Cloud) -> None:
    result = any_runner.run("training", "empty", training(cloud, HyperParameters=script(cloud, "")), threading.Event())

    assert result is not None
    assert result.succeeded
    assert cloud.keys("models") == []


def test_a_missing_source_archive(any_runner: Runner, cloud: Cloud) -> None:
    url = cloud.uri("no/sourcedir.tar.gz")
    request = training(cloud, HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": url})

    result = any_runner.run("training", "nosource", request, threading.Event())

    assert result is not None
    assert result.failure_reason == (
        f"ClientError: Data download failed:NoSuchKey (404): The specified key does not exist: {url}"
    )


def test_an_archive_cannot_write_outside(any_runner: Runner, cloud: Cloud) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped"))
    url = cloud.put("evil.tar.gz", buffer.getvalue())
    request = training(cloud, HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": url})

    result = any_runner.run("training", "evil", request, threading.Event())

    assert result is not None
    assert result.failure_reason is not None
    assert result.failure_reason.startswith("ClientError: Cannot extract sourcedir.tar.gz:")


def test_checkpoints_are_kept_between_jobs(runner: Runner, cloud: Cloud) -> None:
    text = """
import pathlib
file = pathlib.Path("/opt/ml/checkpoints/epoch.txt")
file.write_text(str(int(file.read_text()) + 1 if file.exists() else 1))
"""
    request = training(
        cloud,
        HyperParameters=script(cloud, text),
        CheckpointConfig={"S3Uri": cloud.uri("check"), "LocalPath": "/opt/ml/checkpoints"},
    )

    for _ in range(2):
        runner.run("training", "check", request, threading.Event())

    assert cloud.get("check/epoch.txt") == b"2"


def test_hyperparameters_on_the_command_line() -> None:
    given = script_mode.decoded(
        {"b": "true", "text": "plain words", "none": "null", "list": "[1, 2]", "map": '{"k": 1, "a": "x"}'}
    )

    assert script_mode.as_arguments(given) == [
        *("-b", "True"),
        *("--list", "[1, 2]"),
        *("--map", "a=x,k=1"),
        *("--none", ""),
        *("--text", "plain words"),
    ]
