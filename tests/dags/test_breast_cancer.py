"""The example pipeline: its definition, its manifest, and its scripts, run for real."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from airflow_sagemaker_pipelines import load_definition
from airflow_sagemaker_pipelines.local.demo.assets import dataset, read_assets

DAGS = Path(__file__).parents[2] / "dags"
FOLDER = DAGS / "breast_cancer"
SCRIPTS = FOLDER / "scripts"
BUCKET = "s3://sagemaker-us-east-1-123456789012/"


def run(script: str, *arguments: str, **environment: str) -> str:
    """Run a script as a job's container does: arguments and environment, no more."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a processing job after preprocess.py."""
    base = tmp_path_factory.mktemp("processing")
    (base / "input").mkdir()
    (base / "input" / "breast_cancer.csv").write_bytes(dataset("breast_cancer"))
    run("preprocess.py", "--base-dir", str(base))
    return base


@pytest.fixture(scope="module")
def trained(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A model directory after train.py, and what the script has printed."""
    model = tmp_path_factory.mktemp("model")
    printed = run(
        "train.py",
        "--inverse-regularization",
        "0.5",
        SM_MODEL_DIR=str(model),
        SM_CHANNEL_TRAIN=str(processed / "train"),
        SM_CHANNEL_VALIDATION=str(processed / "validation"),
    )
    return model, printed


def test_preprocess_splits_every_row_once(processed: Path) -> None:
    tables = {
        name: np.loadtxt(processed / name / f"{name}.csv", delimiter=",") for name in ("train", "validation", "test")
    }
    assert sum(len(table) for table in tables.values()) == 569
    assert len(np.unique(np.vstack(list(tables.values())), axis=0)) == 569
    batch = np.loadtxt(processed / "batch" / "batch.csv", delimiter=",")
    assert np.array_equal(batch, tables["test"][:, 1:])


def test_training_prints_what_the_metric_definitions_look_for(trained: tuple[Path, str]) -> None:
    steps = {step["Name"]: step for step in json.loads((FOLDER / "definition.json").read_text())["Steps"]}
    metrics = {}
    for metric in steps["Train"]["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]:
        found = re.findall(metric["Regex"], trained[1])
        assert len(found) == 1, metric
        metrics[metric["Name"]] = float(found[0])
    assert metrics["validation:accuracy"] > 0.9


def test_evaluation_holds_the_metric_of_the_condition(processed: Path, trained: tuple[Path, str]) -> None:
    (processed / "model").mkdir()
    with tarfile.open(processed / "model" / "model.tar.gz", "w:gz") as archive:
        archive.add(trained[0] / "model.joblib", arcname="model.joblib")
    run("evaluate.py", "--base-dir", str(processed))

    evaluation = json.loads((processed / "evaluation" / "evaluation.json").read_text())
    condition = next(
        step for step in json.loads((FOLDER / "definition.json").read_text())["Steps"] if step["Type"] == "Condition"
    )["Arguments"]["Conditions"][0]
    value = evaluation
    for key in condition["LeftValue"]["Std:JsonGet"]["Path"].split("."):
        value = value[key]
    assert 0.9 < value < 1


def test_inference_scores_each_row_of_the_batch(processed: Path, trained: tuple[Path, str]) -> None:
    spec = importlib.util.spec_from_file_location("inference", SCRIPTS / "inference.py")
    inference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inference)

    body = (processed / "batch" / "batch.csv").read_bytes()
    prediction = inference.predict_fn(inference.input_fn(body, "text/csv"), inference.model_fn(str(trained[0])))
    text, accept = inference.output_fn(prediction, "text/csv")
    scores = np.array([float(line) for line in text.splitlines()])
    target = np.loadtxt(processed / "test" / "test.csv", delimiter=",")[:, 0]
    assert accept == "text/csv"
    assert ((scores > 0.5) == target).mean() > 0.9
    with pytest.raises(ValueError, match="application/json"):
        inference.input_fn(b"[]", "application/json")


def test_manifest_is_what_the_definition_asks_for() -> None:
    text = (FOLDER / "definition.json").read_text()
    wanted = set(re.findall(rf"{BUCKET}[^\"\\]+/(?:code|data)/[^\"\\]*", text))
    uris = [uri for uri, _ in read_assets(DAGS)]
    code = {uri for uri in wanted if "/code/" in uri}
    assert code
    assert code == {uri for uri in uris if "/code/" in uri}
    (data,) = wanted - code
    assert [uri for uri in uris if uri.startswith(data)]


def test_manifest_holds_the_scripts_that_the_definition_names() -> None:
    for uri, source in json.loads((FOLDER / "assets.json").read_text()).items():
        for name in [source["file"]] if "file" in source else source.get("archive", []):
            assert (FOLDER / name).is_file(), uri


def test_scripts_do_not_know_where_they_run() -> None:
    for script in SCRIPTS.glob("*.py"):
        assert not re.search(r"localhost|127\.0\.0\.1|endpoint_url|moto|airflow", script.read_text()), script


def test_definition_loads() -> None:
    definition = load_definition(FOLDER / "definition.json")
    assert list(definition.graph.upstreams) == [
        "Preprocess",
        "Train",
        "Evaluate",
        "GoodEnough",
        "Register-RegisterModel",
        "Create-CreateModel",
        "Score",
        "Reject",
    ]
    assert set(definition.graph.upstreams["Score"]) == {"Preprocess", "GoodEnough", "Create-CreateModel"}


def test_the_dag_has_a_task_for_each_step() -> None:
    spec = importlib.util.spec_from_file_location("breast_cancer_dag", DAGS / "breast_cancer_dag.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(module.dag.task_ids) == set(load_definition(FOLDER / "definition.json").graph.upstreams)
    assert module.dag.params["AccuracyThreshold"] == 0.9
