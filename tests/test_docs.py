"""What is in ``docs/`` names modules and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "provider" / "airflow_sagemaker_pipelines"
FEATURES = 73
_ROW = re.compile(r"\| (\d+) \| (.*) \| (.*) \| (.*) \| (\w+) \| (.*)\|")
_CODE = re.compile(r"`([^`]+)`")


def exists(test):
    file, _, name = test.partition("::")
    return re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE) is not None


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_tests_that_a_page_names_exist(page):
    for test in re.findall(r"`(tests/[\w/]+\.py::\w+)`", page.read_text()):
        assert exists(test), test


def rows():
    lines = (ROOT / "docs" / "semantics.md").read_text().splitlines()
    return [match.groups() for line in lines if (match := _ROW.fullmatch(line))]


def test_every_feature_has_its_row():
    assert [int(number) for number, *_ in rows()] == list(range(1, FEATURES + 1))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_modules_and_tests_of_a_row_exist(row):
    _, _, modules, tests, _, _ = row

    for module in _CODE.findall(modules):
        assert (PACKAGE / module).is_file(), module
    for test in _CODE.findall(tests):
        assert exists(test), test


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_is_done_is_tested_and_what_is_not_says_what_is_missing(row):
    _, _, modules, tests, status, remarks = row

    assert status in {"done", "partly", "open"}
    assert bool(_CODE.findall(modules)) == bool(_CODE.findall(tests)) == (status != "open")
    assert status == "done" or remarks.strip()
