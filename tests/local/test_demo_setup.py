"""What the demo prepares: its directory, the environment of its processes, the objects in S3."""

import io
import json
import re
import socket
import tarfile
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from airflow_sagemaker_pipelines.local.demo.__main__ import parse
from airflow_sagemaker_pipelines.local.demo.airflow import airflow_environment, free_port
from airflow_sagemaker_pipelines.local.demo.assets import read_assets, split_uri, upload_assets
from airflow_sagemaker_pipelines.local.demo.errors import DemoError
from airflow_sagemaker_pipelines.local.demo.home import LOCK, fresh_home

ROOT = Path(__file__).parents[2]


def test_home_starts_empty_every_time(tmp_path: Path) -> None:
    path = tmp_path / "demo"
    for _ in range(2):
        with fresh_home(path) as home:
            assert [entry.name for entry in home.iterdir()] == [LOCK]
            (home / "airflow" / "logs").mkdir(parents=True)
            (home / "airflow.db").write_text("old")
            (home / "elsewhere").symlink_to(ROOT)
    assert (ROOT / "pyproject.toml").exists()


def test_home_of_a_running_demo_is_left_alone(tmp_path: Path) -> None:
    with fresh_home(tmp_path / "demo") as home:
        (home / "airflow.db").write_text("in use")
        with pytest.raises(DemoError, match="Another demo is running"), fresh_home(home):
            pass
        assert (home / "airflow.db").read_text() == "in use"


def test_a_directory_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DemoError, match="not the demo's"), fresh_home(tmp_path):
        pass
    assert (tmp_path / "thesis.tex").exists()


def test_airflow_sees_neither_the_users_airflow_nor_the_users_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "aws://")
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("NO_PROXY", "internal")
    env = airflow_environment(tmp_path, tmp_path / "dags", 4711, "http://127.0.0.1:4712")

    assert not {name for name in env if "production" in env[name] or env[name] == "AKIA"}
    assert "AIRFLOW_CONN_OTHER" not in env
    assert env["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    assert env["NO_PROXY"] == "internal,127.0.0.1,localhost"
    connection = json.loads(env["AIRFLOW_CONN_AWS_DEFAULT"])
    assert connection["extra"]["endpoint_url"] == "http://127.0.0.1:4712"


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))


def test_assets_of_every_kind_are_uploaded(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "a.py").write_text("print('a')")
    (folder / "b.py").write_text("print('b')")
    manifest = {
        "s3://one/code/a.py": {"file": "a.py"},
        "s3://one/code/source.tar.gz": {"archive": ["a.py", "b.py"]},
        "s3://two/data.csv": {"dataset": "iris"},
    }
    (folder / "assets.json").write_text(json.dumps(manifest))
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        assert upload_assets(s3, tmp_path) == list(manifest)

        def content(bucket: str, key: str) -> bytes:
            return s3.get_object(Bucket=bucket, Key=key)["Body"].read()

        assert content("one", "code/a.py") == b"print('a')"
        with tarfile.open(fileobj=io.BytesIO(content("one", "code/source.tar.gz"))) as archive:
            assert archive.getnames() == ["a.py", "b.py"]
        header, *rows = content("two", "data.csv").decode().splitlines()
    assert header.endswith("petal_width_(cm),target")
    assert len(rows) == 150


def test_an_asset_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "assets.json").write_text('{"s3://b/k": {"url": "http://x"}}')
    with pytest.raises(DemoError, match="none of file, archive, dataset"):
        list(read_assets(tmp_path))


@pytest.mark.parametrize("uri", ["http://b/k", "s3:///k", "b/k"])
def test_only_s3_uris_are_split(uri: str) -> None:
    with pytest.raises(DemoError):
        split_uri(uri)


def test_conf_must_be_a_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--conf", '{"AccuracyThreshold": 0.99}']).conf == {"AccuracyThreshold": 0.99}
    for text in ("[1]", "{"):
        with pytest.raises(SystemExit):
            parse(["--conf", text])
    assert "is not a JSON object" in capsys.readouterr().err


def test_constraints_are_plain_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][a-z0-9.]*", line)] == []
    assert lines == sorted(set(lines))
    assert not [line for line in lines if line.startswith("airflow-provider-sagemaker-pipelines")]
