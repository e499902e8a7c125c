"""Whoever walks the graph, Airflow or SageMaker: a failure, a stop and a retry end in the same states.

Runs that succeed, with all outcomes of conditions, are compared in test_corpus_runs.py.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.corpus_oracle import FILES, corpus_of
from tests.integration.corpus_world import job_pattern
from tests.integration.test_corpus_runs import (
    clients_of_the_process,  # noqa: F401 - a fixture
    ends,
    run_corpus,
    run_in_sagemaker,  # noqa: F401 - a fixture
)

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

#: Types of steps whose jobs a test can have fail.
JOBS = {"Processing", "Training", "Tuning", "Transform"}


def with_jobs():
    """Yield each definition with the first of its steps that runs a job, whatever its conditions say."""
    for file in FILES:
        corpus = corpus_of(file)
        for name, step in corpus.steps.items():
            if step["Type"] in JOBS and corpus.holders[name] is None:
                yield pytest.param(corpus, name, id=file.stem)
                break


@pytest.fixture(params=["fails", "is stopped", "fails once"])
def how(request):
    """Say what becomes of the step: the rule for its job, and arguments of all tasks."""
    return {
        "fails": ({"outcome": "Failed", "reason": "AlgorithmError: by a rule"}, {}),
        "is stopped": ({"outcome": "Stopped"}, {}),
        "fails once": (
            {"outcome": "Failed", "reason": "AlgorithmError: once", "times": 1},
            {"retries": 1, "retry_delay": timedelta()},
        ),
    }[request.param]


@pytest.mark.parametrize(("corpus", "name"), with_jobs())
def test_a_step_that_does_not_succeed_at_once_leaves_the_same_states(
    local_sagemaker,
    run_in_sagemaker,  # noqa: F811
    corpus,
    name,
    how,
):
    rule, default_args = how
    values = next(iter(corpus.scenarios()))

    def prepare():
        local_sagemaker.reset()
        local_sagemaker.rule(kind=corpus.steps[name]["Type"], name=job_pattern(corpus, name), **rule)

    prepare()
    under_airflow = ends(run_corpus(local_sagemaker, corpus, values, {}, default_args=default_args))
    prepare()
    in_sagemaker = ends(run_in_sagemaker(corpus, values, default_args=default_args))

    assert in_sagemaker == under_airflow
    if not default_args:
        assert under_airflow[0][name] == "failed"
