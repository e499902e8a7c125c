"""The rules of a run beyond success: triggers, selection, retries, overrides."""

from __future__ import annotations

import pytest
from airflow.sdk import BaseOperator

from airflow_sagemaker_pipelines.operators.translator import OverrideError, StepTasks, StepTranslator
from airflow_sagemaker_pipelines.steps.errors import StepCallError
from airflow_sagemaker_pipelines.steps.job import NamedResource
from airflow_sagemaker_pipelines.triggers import capacity
from tests.airflow_dags import run_dag, states
from tests.integration.documents import BUCKET, dag_of, job_names, processing, steps_run

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


def on(step, trigger):
    return {"Step": step, "Trigger": trigger}


HANDLED = (
    processing("Work"),
    processing("Next", DependsOn=["Work"]),
    processing("OnFailed", DependsOn=[on("Work", "Failed")]),
    processing("OnStopped", DependsOn=[on("Work", "Stopped")]),
    processing("OnAny", DependsOn=[on("Work", "Any")]),
)


@pytest.mark.parametrize(
    ("outcome", "ran"),
    [
        ("Completed", {"Next", "OnAny"}),
        ("Failed", {"OnFailed", "OnAny"}),
        ("Stopped", {"OnStopped", "OnAny"}),
    ],
)
def test_handlers_run_by_what_became_of_the_step_and_the_run_succeeds(local_sagemaker, outcome, ran):
    local_sagemaker.rule(kind="Processing", name="-Work-", outcome=outcome, reason="AlgorithmError: x")

    run = run_dag(dag_of(*HANDLED))

    after = {name: state for name, state in states(run).items() if name != "Work"}
    assert after == {name: "success" if name in ran else "skipped" for name in after}
    assert states(run)["Work"] == ("success" if outcome == "Completed" else "failed")
    assert run.state == "success"


def test_a_failure_that_nothing_handles_fails_the_run_beside_one_that_is_handled(local_sagemaker):
    local_sagemaker.rule(kind="Processing", name="-(Work|Other)-", outcome="Failed", reason="AlgorithmError: x")

    run = run_dag(
        dag_of(
            processing("Work"),
            processing("Other"),
            processing("Handler", DependsOn=[on("Work", "Failed")]),
            processing("Both", DependsOn=["Work", "Other"]),
        )
    )

    assert states(run)["Handler"] == "success"
    assert states(run)["Both"] == "failed"
    assert run.state == "failed"


def test_a_skipped_step_is_no_state_that_a_handler_waits_for(local_sagemaker):
    never = {
        "Name": "Check",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 2}],
            "IfSteps": [processing("Work")],
            "ElseSteps": [],
        },
    }

    run = run_dag(dag_of(never, processing("OnAny", DependsOn=[on("Work", "Any")])))

    assert states(run) == {"Check": "success", "Work": "skipped", "OnAny": "skipped"}


CHAIN = tuple(
    processing(
        name,
        arguments={"Environment": {"before": {"Get": f"Steps.{before}.ProcessingJobName"}}} if before else {},
    )
    for before, name in (("", "A"), ("A", "B"), ("B", "C"), ("C", "D"))
)


def test_selected_steps_run_with_the_outputs_of_an_earlier_run(local_sagemaker):
    dag = dag_of(*CHAIN, processing("Aside"))
    first = run_dag(dag)
    source = dict(zip(steps_run(local_sagemaker), job_names(local_sagemaker), strict=True))

    second = run_dag(dag, conf={"selected_steps": ["C"], "reuse_from_run": first.run_id})

    assert states(second) == {"A": "success", "B": "success", "C": "success", "D": "skipped", "Aside": "skipped"}
    assert sorted(steps_run(local_sagemaker)) == ["A", "Aside", "B", "C", "C", "D"]
    rerun = next(name for name in job_names(local_sagemaker) if "-C-" in name and name != source["C"])
    job = local_sagemaker.client("sagemaker").describe_processing_job(ProcessingJobName=rerun)
    assert job["Environment"] == {"before": source["B"]}


@pytest.mark.parametrize(
    "conf",
    [
        {"selected_steps": ["B", "D"], "reuse_from_run": "manual__1"},
        {"selected_steps": ["C"]},
        {"selected_steps": ["Nope"]},
        {"selected_steps": ["C"], "reuse_from_run": "there is no such run"},
    ],
)
def test_a_selection_that_does_not_fit_starts_nothing(local_sagemaker, conf):
    run = run_dag(dag_of(*CHAIN), conf=conf)

    assert run.state == "failed"
    assert "sagemaker.CreateProcessingJob" not in local_sagemaker.calls()


def test_overrides_are_arguments_of_a_steps_operator(local_sagemaker):
    dag = dag_of(processing("A"), processing("B"), overrides={"A": {"retries": 9, "pool": "gpu", "priority_weight": 7}})

    assert (dag.get_task("A").retries, dag.get_task("A").pool, dag.get_task("A").priority_weight) == (9, "gpu", 7)
    assert dag.get_task("B").pool == "default_pool"


class Answer(BaseOperator):
    def __init__(self, *, value, **arguments):
        super().__init__(**arguments)
        self.value = value

    def execute(self, context):
        return {"Answer": self.value}


def test_a_step_of_an_undocumented_type_runs_as_the_authors_operator(local_sagemaker):
    query = {"Name": "Query", "Type": "Athena", "Arguments": {}}
    use = processing("Use", arguments={"Environment": {"answer": {"Get": "Steps.Query.Answer"}}})

    dag = dag_of(query, use, overrides={"Query": lambda step, **arguments: Answer(value="42", **arguments)})
    run = run_dag(dag)

    assert states(run) == {"Query": "success", "Use": "success"}
    (name,) = job_names(local_sagemaker)
    job = local_sagemaker.client("sagemaker").describe_processing_job(ProcessingJobName=name)
    assert job["Environment"] == {"answer": "42"}


def test_an_override_of_no_step_is_refused_with_the_nearest_name():
    with pytest.raises(OverrideError, match="Perhaps 'Work' is meant"):
        dag_of(processing("Work"), overrides={"Wrok": {}})


def test_a_translator_may_put_tasks_around_a_step(local_sagemaker):
    class Noted(StepTranslator):
        def translate(self, step, pipeline, **arguments):
            task = super().translate(step, pipeline, **arguments).task
            common = {"default_args": arguments["default_args"]}
            return StepTasks(
                task=task,
                before=[Answer(task_id=f"before-{step.name}", value=1, **common)],
                after=[Answer(task_id=f"after-{step.name}", value=2, **common)],
            )

    dag = dag_of(processing("A"), processing("B", DependsOn=["A"]), translator=Noted())
    run = run_dag(dag)

    assert set(states(run).values()) == {"success"}
    assert dag.get_task("before-B").upstream_task_ids == {"after-A"}
    assert dag.get_task("after-A").upstream_task_ids == {"A"}


def loop(items, *, body=None, **arguments):
    each = processing("Each", arguments={"Environment": {"n": {"Get": "ForEach.CurrentItem.n"}}})
    return {
        "Name": "Loop",
        "Type": "ForEach",
        "Arguments": {"IterableItems": items, "MaxConcurrency": 2, "ForEachBody": body or [each], **arguments},
    }


ITEMS = {"Name": "Items", "Type": "String", "DefaultValue": '[{"n": "a"}, {"n": "b"}, {"n": "c"}]'}


def test_a_loop_runs_its_body_for_every_item_and_hands_on_what_each_made(local_sagemaker):
    after = processing(
        "After",
        arguments={
            "Environment": {
                "second": {"Get": "Steps.Loop.IterationOutputs[1].Each.ProcessingJobName"},
                "count": {"Std:Join": {"Values": [{"Get": "Steps.Loop.SucceededStepCount"}]}},
            }
        },
    )

    run = run_dag(dag_of(loop({"Get": "Parameters.Items"}), after, declared=[ITEMS]))

    assert run.state == "success"
    client = local_sagemaker.client("sagemaker")
    jobs = [client.describe_processing_job(ProcessingJobName=name) for name in job_names(local_sagemaker)]
    by_item = {job["Environment"]["n"]: job["ProcessingJobName"] for job in jobs if "n" in job["Environment"]}
    assert set(by_item) == {"a", "b", "c"}
    assert "-Each-1-" in by_item["b"]
    (last,) = (job for job in jobs if "second" in job["Environment"])
    assert last["Environment"] == {"second": by_item["b"], "count": "3"}


def test_steps_of_one_iteration_see_each_other(local_sagemaker):
    body = [
        processing("First"),
        processing("Then", arguments={"Environment": {"before": {"Get": "Steps.First.ProcessingJobName"}}}),
    ]

    run = run_dag(dag_of(loop(["x", "y"], body=body)))

    assert run.state == "success"
    client = local_sagemaker.client("sagemaker")
    for index in (0, 1):
        first, then = (
            next(name for name in job_names(local_sagemaker) if f"-{step}-{index}-" in name)
            for step in ("First", "Then")
        )
        assert client.describe_processing_job(ProcessingJobName=then)["Environment"] == {"before": first}


def test_a_failed_iteration_fails_the_loop_after_the_others_have_ended(local_sagemaker):
    local_sagemaker.rule(kind="Processing", name="-Each-1-", outcome="Failed", reason="AlgorithmError: x")

    run = run_dag(dag_of(loop({"Get": "Parameters.Items"}), processing("After", DependsOn=["Loop"]), declared=[ITEMS]))

    assert run.state == "failed"
    assert len(job_names(local_sagemaker)) == 3
    assert (states(run)["Loop"], states(run)["After"]) == ("failed", "upstream_failed")


def test_a_loop_over_nothing_succeeds(local_sagemaker):
    empty = {**ITEMS, "DefaultValue": "[]"}

    run = run_dag(dag_of(loop({"Get": "Parameters.Items"}), processing("After", DependsOn=["Loop"]), declared=[empty]))

    assert (states(run)["Loop"], states(run)["After"]) == ("success", "success")


def test_items_that_are_no_list_fail_the_loop_before_anything_runs(local_sagemaker):
    wrong = {**ITEMS, "DefaultValue": "{}"}

    run = run_dag(dag_of(loop({"Get": "Parameters.Items"}), declared=[wrong]))

    assert run.state == "failed"
    assert "sagemaker.CreateProcessingJob" not in local_sagemaker.calls()


def test_a_retry_policy_makes_a_new_job_after_a_failure_that_it_covers(local_sagemaker):
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="CapacityError: no capacity", times=1)
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 1, "MaxAttempts": 1}

    run = run_dag(dag_of(processing("Work", RetryPolicies=[policy])))

    assert run.state == "success"
    first, second = job_names(local_sagemaker)
    assert second == f"{first}-1"


def test_a_failure_that_no_policy_covers_is_final(local_sagemaker):
    local_sagemaker.rule(kind="Processing", outcome="Failed", reason="AlgorithmError: bad code", times=1)
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 1, "MaxAttempts": 5}

    run = run_dag(dag_of(processing("Work", RetryPolicies=[policy])))

    assert run.state == "failed"
    assert len(job_names(local_sagemaker)) == 1


@pytest.fixture
def quota(monkeypatch):
    """Let AWS refuse as many starts as the list says; the endpoint has no quotas."""
    refusals = []
    create = NamedResource._create

    def refuse(self, run, request):
        if refusals:
            refusals.pop()
            raise StepCallError("quota reached", step=run.step.name, code="ResourceLimitExceeded")
        return create(self, run, request)

    monkeypatch.setattr(NamedResource, "_create", refuse)
    monkeypatch.setattr(capacity, "_FIRST_WAIT", 0.1)
    return refusals


def test_a_start_that_a_quota_refuses_waits_for_its_turn(local_sagemaker, quota):
    quota.extend([1, 2, 3])

    run = run_dag(dag_of(processing("Work")))

    assert run.state == "success"
    assert not quota
    assert len(job_names(local_sagemaker)) == 1


def test_the_wait_for_a_quota_has_a_limit(local_sagemaker, quota):
    quota.extend(range(1000))

    run = run_dag(dag_of(processing("Work"), capacity_timeout=1.0))

    assert run.state == "failed"
    assert 2 < len(quota) < 1000
