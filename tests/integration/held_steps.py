"""Definitions of the corpus with a step that does not end: which it is, what they need in AWS, their DAGs' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.corpus_oracle import FILES, REPAIRS, Corpus, expressions, repaired
from tests.integration.corpus_world import job_pattern, prepare, region_of
from tests.integration.documents import ROLE
from tests.integration.test_corpus_runs import FAILS, STILL_FAILS

ORCHESTRATORS = ("airflow", "sagemaker")
HOURS = 7200.0
#: Types of steps whose jobs are processing, training or transform jobs, which have the step in their names.
NAMED = {"Processing", "Training", "Transform", "QualityCheck", "ClarifyCheck"}
#: Those that run for hours in all definitions. What a Callback step waits for, nobody answers.
ALWAYS_HELD = {"Tuning", "AutoML", "EMR", "EMRServerless", "Job", "Callback"}

#: Definitions in which no step can be held, with the reason.
_NO_JOB = "every step ends with the call that begins it"
_REFUSED = "AWS refuses the arguments of the first step"
LEFT_OUT = {
    "conditions-all-operators-unit": _REFUSED,
    "deploy-two-components": _NO_JOB,
    "fail-step-join-message": _NO_JOB,
    "forecast-fanout-62": _REFUSED,
    "model-card-registration": _NO_JOB,
    "stored-airflow-30-nested-conditions": _NO_JOB,
    "v3-foreach-parameter-items": _NO_JOB,
    "variables-to-string": _NO_JOB,
}

DAG = "dags[{dag_id!r}] = pipeline_dag({dag_id!r}, {file!r}, **{arguments!r})\n"
HEAD = "from airflow_sagemaker_pipelines import pipeline_dag\n\ndags = globals()\n"
#: Of so many definitions the DAGs are in one file: the process of a task reads the file of its DAG.
DEFINITIONS_A_FILE = 8


def held_step(corpus: Corpus) -> str | None:
    """Return the step at which a definition is stopped, if there is one that can be reached whatever conditions say.

    If possible, it comes after another step, which has succeeded then.
    """
    fails = STILL_FAILS if corpus.name in REPAIRS else FAILS
    # Nobody writes the results that one function step reads of another, or a condition of a job.
    reads = {name for name, step in corpus.steps.items() if any(expressions(step, "Std:JsonGet"))}
    lost = {*fails.get(corpus.name, ()), *corpus.conditions, *reads}
    found = [
        name
        for name, step in corpus.steps.items()
        if step["Type"] in NAMED | ALWAYS_HELD
        and corpus.holders[name] is None
        and lost.isdisjoint({name, *above(corpus, name)})
    ]
    return next((name for name in found if corpus.edges[name]), next(iter(found), None))


def above(corpus: Corpus, name: str) -> set[str]:
    """Return all steps that a step waits for."""
    return set(corpus.edges[name]).union(*(above(corpus, upstream) for upstream in corpus.edges[name]))


CORPORA = {corpus.name: corpus for corpus in map(repaired, FILES)}
HELD = {name: step for name, corpus in CORPORA.items() if (step := held_step(corpus))}
#: Jobs of the same name are held in every definition: it is stopped at the first.
HELD_JOBS = sorted({job_pattern(CORPORA[name], step) for name, step in HELD.items()})


def is_held(corpus: Corpus, step: str) -> bool:
    kind = corpus.steps[step]["Type"]
    return kind in ALWAYS_HELD or (kind in NAMED and job_pattern(corpus, step) in HELD_JOBS)


# --- the world


def make_world(endpoint: Any) -> str:
    """Make what the runs need; return the queue that nobody answers to."""
    endpoint.reset()
    # What AWS refuses about a step's arguments fails the step, as it does when Airflow makes the call.
    endpoint.choose(check_arguments=False)
    for pattern in HELD_JOBS:
        endpoint.rule(name=pattern, duration=HOURS)
    for kind in sorted(ALWAYS_HELD - {"Callback"}):
        endpoint.rule(kind=kind, duration=HOURS)
    # A tuning job lasts as long as its training jobs, which are named after it.
    endpoint.rule(kind="Training", name=r"-\d{3}-", duration=HOURS)
    for name in HELD:
        corpus = CORPORA[name]
        prepare(endpoint, corpus, next(iter(corpus.scenarios())), dag_id=name, run_id="")
    return str(endpoint.client("sqs").create_queue(QueueName="replies")["QueueUrl"])


def write_dags(home: Path, queue: str) -> None:
    """Write the DAG files."""
    dags = home / "dags"
    dags.mkdir()
    for number, name in enumerate(HELD):
        corpus = CORPORA[name]
        file = home / f"{name}.json"
        file.write_text(json.dumps(corpus.document))
        arguments = {
            "pipeline_name": name.replace("_", "-"),
            "role_arn": ROLE,
            "region_name": region_of(corpus),
            "poll_interval": 5,
            "callback_reply_queue_url": queue,
            "parameters": corpus.given,
            "schedule": None,
        }
        with (dags / f"dags_{number // DEFINITIONS_A_FILE}.py").open("a") as target:
            if number % DEFINITIONS_A_FILE == 0:
                target.write(HEAD)
            for orchestrator in ORCHESTRATORS:
                kwargs = {**arguments, "orchestrator": orchestrator}
                target.write(DAG.format(dag_id=dag_id(corpus, orchestrator), file=str(file), arguments=kwargs))


def dag_id(corpus: Corpus, orchestrator: str) -> str:
    return f"{corpus.name}-{orchestrator}"
