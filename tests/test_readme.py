"""What README and CONTRIBUTING say is true: commands, snippets, names, links."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import boto3
import pytest
from airflow.sdk import DAG
from botocore import xform_name

from airflow_sagemaker_pipelines import pipeline_dag
from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.local.__main__ import _parse
from airflow_sagemaker_pipelines.steps.registry import runners

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "provider" / "airflow_sagemaker_pipelines"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def page(name):
    return (ROOT / name).read_text()


def snippets(name):
    """The Python of a page, by the file that a comment before it names."""
    return dict(re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", page(name), flags=re.DOTALL))


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page(name), flags=re.DOTALL | re.MULTILINE)


@cache
def targets():
    """The Makefile's phony targets."""
    return frozenset(re.search(r"^\.PHONY: (.*)$", page("Makefile"), flags=re.MULTILINE)[1].split())


@pytest.fixture
def dags(tmp_path):
    """A DAGs folder with the README's files, and the definition that they name."""
    for name, code in snippets("README.md").items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    shutil.copy(ROOT / "dags" / "breast_cancer" / "definition.json", tmp_path / "dags" / "abalone.json")
    return tmp_path / "dags"


# Commands


@pytest.mark.parametrize("name", PAGES)
def test_what_make_is_told_to_do_it_can(name):
    used = set(re.findall(r"`make (\w+)", page(name)))

    assert used <= targets()


def test_the_readme_begins_with_two_commands():
    first = page("README.md").split("\n## ")[0]

    assert re.findall(r"^\* `(make \w+)`", first, flags=re.MULTILINE) == ["make demo", "make test"]


@pytest.mark.parametrize("arguments", [["demo", "ONCE=1"], ["demo"], ["test", "TESTS=tests/definition"]])
def test_make_runs_what_the_pages_say(arguments):
    # -n prints the commands; the stamps of a finished environment are taken for granted.
    stamps = [f"--assume-old=.venv/{stamp}.stamp" for stamp in ("venv", "demo", "dev")]
    command = ["make", "-n", "--no-print-directory", *stamps, *arguments]
    # Under `make test` this is a make inside a make, which would inherit TESTS and more.
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
    }
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=env)

    last = result.stdout.strip().splitlines()[-1]
    if arguments[0] == "demo":
        assert ".venv/bin/python -m airflow_sagemaker_pipelines.local.demo" in result.stdout
        assert ("--once" in result.stdout) == ("ONCE=1" in arguments)
    else:
        assert last == ".venv/bin/python -m pytest --numprocesses auto --dist loadfile tests/definition"


def test_what_pip_is_told_to_install_is_this_distribution():
    pyproject = page("pyproject.toml")
    installed = re.findall(r"pip install '?([\w-]+)(?:\[(\w+)\])?", page("README.md"))

    assert {name for name, _ in installed} == {re.search(r'^name = "(.*)"$', pyproject, flags=re.MULTILINE)[1]}
    for extra in filter(None, (extra for _, extra in installed)):
        assert re.search(rf"^{extra} = \[$", pyproject, flags=re.MULTILINE)


def test_the_endpoint_takes_the_arguments_of_the_readme():
    (command,) = (line for block in blocks("README.md", "sh") for line in block.splitlines() if ".local" in line)
    arguments = shlex.split(command.removesuffix("&"))

    assert arguments[:3] == ["python", "-m", "airflow_sagemaker_pipelines.local"]
    options = _parse(arguments[3:])
    assert f"127.0.0.1:{options.port}" in page("README.md")
    assert _parse(["--run-code"]).run_code


def test_the_readmes_connection_is_one(monkeypatch):
    (block,) = (block for block in blocks("README.md", "sh") if "export" in block)
    (value,) = re.findall(r"AIRFLOW_CONN_AWS_DEFAULT='(.*?)'", block, flags=re.DOTALL)
    monkeypatch.setenv("AIRFLOW_CONN_README", value)
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    client = AwsBaseHook(aws_conn_id="readme", client_type="sagemaker").get_conn()

    assert client.meta.endpoint_url == json.loads(value)["extra"]["endpoint_url"]


# Snippets


def test_every_snippet_says_which_file_it_is():
    for name in PAGES:
        assert len(blocks(name, "python")) == len(snippets(name))


def test_the_readmes_dags_are_dags(dags):
    found = {}
    for path in dags.glob("*.py"):
        scope = {"__name__": path.stem, "__file__": str(path)}
        exec(compile(path.read_text(), path, "exec"), scope)
        found |= {path.stem: scope}

    daily = found["abalone_dag"]["dag"]
    assert isinstance(daily, DAG)
    assert {"Preprocess", "Train", "Evaluate"} <= set(daily.task_ids)
    weekly = found["weekly_dag"]["weekly"]()
    assert {"announce", "abalone.Train"} <= set(weekly.task_ids)
    assert weekly.get_task("abalone.Train").author_retries == 3
    assert "announce" in weekly.get_task("abalone.Preprocess").upstream_task_ids


def test_the_readmes_test_passes_and_can_fail(dags):
    root = dags.parent
    home = root / "airflow"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS"))}
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in env.get("PYTHONPATH", "").split(":") if entry)
    env |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(dags), path])),
    }
    test = root / "tests" / "test_abalone.py"
    wrong = test.with_name("test_wrong.py")
    wrong.write_text(test.read_text().replace('"failed"', '"success"'))

    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test), str(wrong)],
        env=env,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    assert "FAILED tests/test_wrong.py" in result.stdout


def test_the_step_type_of_contributing_is_all_there_is_to_it():
    for name, code in snippets("CONTRIBUTING.md").items():
        assert (ROOT / name).read_text() == code


# Names


def step_rows():
    """The README's table of step types: type, calls, results."""
    table = page("README.md").split("## What a step becomes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\w[\w, ]*) \| (.*?) \| (.*?) \|$", table, flags=re.MULTILINE)[1:]
    return [(kind, calls, result) for kinds, calls, result in rows for kind in kinds.split(", ")]


def operations(*services):
    return {
        operation
        for service in services
        for operation in boto3.client(service, region_name="us-east-1").meta.service_model.operation_names
    }


def test_every_step_type_of_the_readme_becomes_tasks():
    # Loops are tasks of their own kind.
    assert {StepType(kind) for kind, _, _ in step_rows()} - {StepType.FOR_EACH} <= set(runners())


def test_the_calls_of_the_readme_are_those_that_steps_make():
    for kind, calls, result in step_rows():
        runner = runners().get(StepType(kind))
        made = [xform_name(call) for call in re.findall(r"`(\w+)`", calls)]
        if hasattr(runner, "create"):
            assert made[0] == runner.create
            assert made[1:] == ([runner.update] if hasattr(runner, "update") else [])
            # A check says more than its job.
            assert runner.describe == "describe_processing_job" or f"`{pascal(runner.describe)}`" in result


def pascal(method):
    (name,) = (name for name in operations("sagemaker") if xform_name(name) == method)
    return name


def test_calls_of_the_readme_exist():
    called = {call for _, calls, _ in step_rows() for call in re.findall(r"`(\w+)`", calls)}

    assert called <= operations("sagemaker", "lambda", "sqs", "s3", "emr", "emr-serverless")


@pytest.mark.parametrize("name", PAGES)
def test_arguments_that_the_pages_name_exist(name):
    named = set(re.findall(r"`(\w+)=`", page(name)))

    assert named <= set(inspect.signature(pipeline_dag).parameters)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)#]+)", page(name)):
        assert (ROOT / link).exists(), link


def test_paths_of_contributing_exist():
    paths = re.findall(r"`((?:tests|steps|[a-z_]+)/[\w/.]*|\w+\.(?:py|txt))`", page("CONTRIBUTING.md"))

    assert paths
    for path in paths:
        places = [ROOT / path, PACKAGE / path, PACKAGE / "steps" / "types" / path, ROOT / "tests/integration" / path]
        assert any(place.exists() for place in places), path


# Floors


def floors():
    """The folders of CONTRIBUTING's table, the ground floor first."""
    table = page("CONTRIBUTING.md").split("## The house")[1].split("## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, flags=re.MULTILINE)
    return [re.findall(r"`(\w+)(?:/|\.py)`", row) for row in rows]


def test_every_folder_has_a_floor():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}

    assert folders - {name for names in floors() for name in names} == set()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_folder_imports_only_from_floors_below(path):
    level = {name: floor for floor, names in enumerate(floors()) for name in names}
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for imported in imports(path.read_text()):
        if imported in level and room in level:
            assert level[imported] <= level[room], f"{room} imports {imported}"
        assert imported != "local" or room == "local"


def imports(code):
    """The first part of what a module imports of the package, wherever it does."""
    prefix = PACKAGE.name + "."
    for node in ast.walk(ast.parse(code)):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix))
