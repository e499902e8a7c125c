"""Names of jobs: unique, stable, within AWS's limits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.steps.names import LONG_NAME, SHORT_NAME, TaskIdentity, execution_id

IDENTITY = TaskIdentity(
    dag_id="abalone",
    run_id="manual__1",
    task_id="Train",
    execution_id="p4jn9xou8a8s",
    step_name="TrainAbaloneModelWithXgboost",
)
step_names = st.text("abcXYZ012-_", min_size=1, max_size=64)


def test_a_name_has_the_form_that_sagemaker_documents():
    assert re.fullmatch(r"pipelines-p4jn9xou8a8s-TrainAbaloneModelWit-[0-9a-z]{10}", IDENTITY.name(0))


def test_a_retry_appends_the_number_of_failures():
    assert IDENTITY.name(2) == f"{IDENTITY.name(0)}-2"


def test_a_name_in_the_definition_is_a_prefix():
    assert re.fullmatch(r"my-base-p4jn9xou8a8s-[0-9a-z]{10}", IDENTITY.name(0, prefix="my-base"))


def test_a_short_name_keeps_the_execution_and_the_beginning_of_the_step():
    assert re.fullmatch(r"p4jn9xou8a8s-TrainAb-[0-9a-z]{10}", IDENTITY.name(0, limit=SHORT_NAME))


@given(
    step=step_names,
    prefix=st.none() | st.text("abc-_.9", min_size=1, max_size=80),
    generation=st.integers(0, 120),
    limit=st.sampled_from([LONG_NAME, SHORT_NAME]),
)
def test_every_name_fits_the_api_whatever_the_step_is_called(step, prefix, generation, limit):
    name = replace(IDENTITY, step_name=step).name(generation, prefix=prefix, limit=limit)

    assert len(name) <= limit
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name)


@given(data=st.data())
def test_two_tasks_never_share_a_name(data):
    changes = st.fixed_dictionaries(
        {},
        optional={
            "dag_id": st.text(min_size=1),
            "run_id": st.text(min_size=1),
            "task_id": st.text(min_size=1),
            "map_index": st.integers(-1, 50),
            "life": st.integers(0, 9),
        },
    )
    first, second = (replace(IDENTITY, **data.draw(changes)) for _ in range(2))

    assert (first == second) == (first.name(0) == second.name(0))


def test_parts_of_an_identity_are_not_mixed_up():
    assert replace(IDENTITY, dag_id="a", run_id="bc").name(0) != replace(IDENTITY, dag_id="ab", run_id="c").name(0)


def test_an_execution_id_is_twelve_lower_case_alphanumerics_and_stable():
    identifier = execution_id("abalone", "scheduled__2026-01-01", "")

    assert re.fullmatch(r"[0-9a-z]{12}", identifier)
    assert identifier == execution_id("abalone", "scheduled__2026-01-01", "")
    assert identifier != execution_id("abalone", "scheduled__2026-01-02", "")


@pytest.mark.parametrize("length", [1, 10, 36])
def test_a_token_has_the_length_asked_for(length):
    assert re.fullmatch(rf"[0-9a-z]{{{length}}}", IDENTITY.token("x", length=length))


def test_tokens_for_two_purposes_differ():
    assert IDENTITY.token("a") != IDENTITY.token("b")
