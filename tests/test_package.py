"""The distribution as Airflow sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files

import jsonschema

from airflow_sagemaker_pipelines.get_provider_info import get_provider_info

NAME = "airflow-provider-sagemaker-pipelines"


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_provider_info_fits_airflows_schema():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_the_provider_under_the_name_of_its_distribution():
    (entry_point,) = (e for e in entry_points(group="apache_airflow_provider") if e.dist and e.dist.name == NAME)

    assert entry_point.load()()["package-name"] == NAME


def test_airflow_lists_the_provider():
    result = subprocess.run(
        [sys.executable, "-m", "airflow", "providers", "list", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert NAME in {provider["package_name"] for provider in json.loads(result.stdout[result.stdout.index("[") :])}


def test_the_package_is_typed():
    assert files("airflow_sagemaker_pipelines").joinpath("py.typed").is_file()


def test_reading_a_definition_imports_neither_airflow_nor_boto3():
    code = """
import sys
from airflow_sagemaker_pipelines import load_definition
load_definition({"Steps": [{"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}]})
print([name for name in ("airflow", "boto3", "botocore") if name in sys.modules])
"""

    assert run_python(code).strip() == "[]"


def test_building_a_dag_imports_no_boto3():
    code = """
import sys
from airflow_sagemaker_pipelines import pipeline_dag
step = {"Name": "Train", "Type": "Training", "Arguments": {}}
check = {"Name": "C", "Type": "Condition", "Arguments": {"Conditions": [], "IfSteps": [step]}}
pipeline_dag("abalone", {"Steps": [check]})
print(sorted(name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore", "moto")))
"""

    assert run_python(code).strip().splitlines()[-1] == "[]"


def test_nothing_but_the_endpoint_itself_imports_the_local_endpoint():
    code = """
import importlib, pkgutil, sys
import airflow_sagemaker_pipelines as package

def import_all(parent):
    for module in pkgutil.iter_modules(parent.__path__, parent.__name__ + "."):
        if module.name != package.__name__ + ".local":
            imported = importlib.import_module(module.name)
            if module.ispkg:
                import_all(imported)

import_all(package)
print([name for name in sys.modules if name.startswith(package.__name__ + ".local") or name == "moto"])
"""

    assert run_python(code).strip().splitlines()[-1] == "[]"
