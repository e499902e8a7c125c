"""The lives of a task, and its notes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_sagemaker_pipelines.operators.lives import failures_before, first_try_age, is_told, life_of, note_told

BEGAN = datetime.now(UTC) - timedelta(hours=1)
JOB, OTHER = {"name": "job"}, {"name": "other"}


def instance(max_tries=2, retries=2):
    return SimpleNamespace(max_tries=max_tries, task=SimpleNamespace(retries=retries))


@pytest.fixture
def notes():
    """What the task has noted, in all its lives."""
    return {}


@pytest.fixture
def in_life(notes):
    """The context of a task by its life."""
    store = SimpleNamespace(get=notes.get, set=notes.__setitem__)
    run = SimpleNamespace(start_date=BEGAN)
    return lambda life: {"ti": instance(max_tries=2 + life), "dag_run": run, "task_state_store": store}


@pytest.fixture
def without_store():
    return {"ti": instance(), "dag_run": SimpleNamespace(start_date=BEGAN)}


@pytest.mark.parametrize(("max_tries", "life"), [(2, 0), (None, 0), (1, 0), (3, 1), (7, 5)])
def test_a_life_is_told_by_the_tries_before_it(max_tries, life):
    assert life_of(instance(max_tries=max_tries)) == life


@pytest.mark.parametrize(
    ("try_number", "max_tries", "failures"), [(1, 2, 0), (3, 2, 2), (4, 5, 0), (6, 5, 2), (2, 5, 0)]
)
def test_failures_count_from_the_last_clear(try_number, max_tries, failures):
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries, task=SimpleNamespace(retries=2))

    assert failures_before(ti) == failures


def test_the_age_of_a_life_counts_from_its_own_first_try(in_life, notes):
    assert first_try_age(in_life(0)) == timedelta()
    (first,) = notes

    notes[first] = BEGAN.isoformat()

    assert first_try_age(in_life(0)) >= timedelta(hours=1)
    assert first_try_age(in_life(1)) == timedelta()


def test_without_a_store_the_age_is_that_of_the_run(without_store):
    assert first_try_age(without_store) >= timedelta(hours=1)


def test_a_failure_that_was_told_of_is_known_in_the_same_life_only(in_life):
    note_told(in_life(0), OTHER)
    assert not is_told(in_life(0), JOB)

    note_told(in_life(0), JOB)

    assert is_told(in_life(0), JOB)
    assert is_told(in_life(0), OTHER)
    assert not is_told(in_life(1), JOB)


def test_without_a_store_every_failure_counts_as_told(without_store):
    note_told(without_store, JOB)

    assert is_told(without_store, OTHER)


def test_what_has_no_name_is_not_noted(in_life):
    note_told(in_life(0), {})

    assert not is_told(in_life(0), {})
