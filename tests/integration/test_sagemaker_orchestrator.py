"""SageMaker walks the graph: whole runs of ``orchestrator="sagemaker"`` with ``dag.test()``."""

from __future__ import annotations

import json

import pytest

from tests.airflow_dags import run_dag, states
from tests.integration.documents import BUCKET, ROLE, dag_of, job_names, processing, training

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

SUCCESS = {"start-pipeline-execution": "success", "pipeline-execution": "success"}


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


def executions(local_sagemaker, name="abalone"):
    client = local_sagemaker.client("sagemaker")
    return client.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]


def steps_of(local_sagemaker, arn):
    client = local_sagemaker.client("sagemaker")
    steps = client.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return {step["StepName"]: step["StepStatus"] for step in steps}


def condition(name="Check", left=1, right=2, if_steps=(), else_steps=(), **keys):
    return {
        "Name": name,
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "LessThanOrEqualTo", "LeftValue": left, "RightValue": right}],
            "IfSteps": list(if_steps),
            "ElseSteps": list(else_steps),
        },
    } | keys


def noting(errors):
    """Return a callback that collects, by task, what tasks fail with."""
    return lambda context: errors.update({context["ti"].task_id: context["exception"]})


def pipeline(*steps, **arguments):
    return dag_of(*steps, orchestrator="sagemaker", **arguments)


def deploy(local_sagemaker, *steps):
    """Deploy a pipeline by other means than the DAG's."""
    local_sagemaker.client("sagemaker").create_pipeline(
        PipelineName="abalone",
        PipelineDefinition=json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": list(steps)}),
        RoleArn=ROLE,
        ClientRequestToken="t" * 32,
    )


def test_a_run_is_one_execution_with_a_task_per_step(local_sagemaker):
    dag = pipeline(processing("Prepare"), training("Train", DependsOn=["Prepare"]))

    run = run_dag(dag)

    assert states(run) == {"Prepare": "success", "Train": "success", **SUCCESS}
    (execution,) = executions(local_sagemaker)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    results = {ti.task_id: ti.xcom_pull(task_ids=ti.task_id) for ti in run.get_task_instances()}
    assert results["Train"]["StepName"] == "Train"
    assert "training-job" in results["Train"]["Metadata"]["TrainingJob"]["Arn"]
    assert results["pipeline-execution"] == {
        "PipelineExecutionArn": execution["PipelineExecutionArn"],
        "PipelineExecutionStatus": "Succeeded",
    }


def test_the_branch_that_is_not_taken_is_skipped(local_sagemaker):
    dag = pipeline(
        condition(if_steps=[processing("Yes")], else_steps=[processing("No")]),
        processing("After", DependsOn=["No"]),
    )

    run = run_dag(dag)

    assert states(run) == {"Check": "success", "Yes": "success", "No": "skipped", "After": "skipped", **SUCCESS}


def test_what_fulfils_a_callback_in_that_branch_is_skipped_with_it_at_once(local_sagemaker):
    ask = {
        "Name": "Ask",
        "Type": "Callback",
        "Arguments": {},
        "SqsQueueUrl": "https://sqs.us-east-1.amazonaws.com/1/q",
    }
    dag = pipeline(condition(if_steps=[processing("Yes")], else_steps=[ask]), callbacks={"Ask": lambda arguments: {}})

    run = run_dag(dag)

    found = states(run)
    assert {found[task] for task in ("Ask.arguments", "Ask.answer", "Ask")} == {"skipped"}
    (check,) = [ti for ti in run.get_task_instances() if ti.task_id == "Check"]
    skipped = check.xcom_pull(task_ids="Check", key="skipmixin_key")["skipped"]
    assert sorted(skipped) == ["Ask", "Ask.answer", "Ask.arguments"]


def test_a_failed_step_fails_its_task_and_the_run_with_its_reason(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    errors = {}
    dag = pipeline(
        processing("Prepare"),
        training("Train", DependsOn=["Prepare"]),
        processing("After", DependsOn=["Train"]),
        default_args={
            "on_failure_callback": lambda context: errors.update({context["ti"].task_id: context["exception"]})
        },
    )

    run = run_dag(dag)

    assert states(run) == {
        "start-pipeline-execution": "success",
        "Prepare": "success",
        "Train": "failed",
        "After": "upstream_failed",
        "pipeline-execution": "failed",
    }
    assert run.state == "failed"
    assert str(errors["Train"]).startswith("Step 'Train' failed: AlgorithmError: no data (training job pipelines-")
    assert "Step 'Train': AlgorithmError: no data" in str(errors["pipeline-execution"])


def test_a_retry_of_a_task_resumes_the_execution_in_place(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: once", times=1)
    dag = pipeline(
        processing("Prepare"), training("Train", DependsOn=["Prepare"]), default_args={"retries": 1, "retry_delay": 0}
    )

    run = run_dag(dag)

    assert states(run) == {"Prepare": "success", "Train": "success", **SUCCESS}
    (execution,) = executions(local_sagemaker)
    assert steps_of(local_sagemaker, execution["PipelineExecutionArn"]) == {
        "Prepare": "Succeeded",
        "Train": "Succeeded",
    }
    calls = local_sagemaker.calls()
    assert calls["sagemaker.RetryPipelineExecution"] == 1
    assert calls["sagemaker.StartPipelineExecution"] == 1


def test_two_tasks_that_retry_at_once_make_one_retry(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: once", times=2)
    dag = pipeline(training("A"), training("B"), default_args={"retries": 1, "retry_delay": 0})

    run = run_dag(dag)

    assert states(run) == {"A": "success", "B": "success", **SUCCESS}
    assert len(executions(local_sagemaker)) == 1


def test_parameters_are_checked_before_anything_is_started(local_sagemaker):
    dag = pipeline(
        processing("Prepare"),
        declared=[{"Name": "Count", "Type": "Integer", "DefaultValue": 1}],
        parameters={"Count": "{{ 'many' }}"},
    )

    run = run_dag(dag)

    assert states(run)["start-pipeline-execution"] == "failed"
    assert "sagemaker.StartPipelineExecution" not in local_sagemaker.calls()


def test_a_run_starts_with_its_conf_over_the_authors_values(local_sagemaker):
    declared = [
        {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
        {"Name": "Day", "Type": "String", "DefaultValue": "-"},
        {"Name": "Fast", "Type": "Boolean", "DefaultValue": False},
    ]
    dag = pipeline(
        processing("Prepare"),
        declared=declared,
        parameters={"Day": "{{ run_id }}", "Count": 2},
    )

    run = run_dag(dag, conf={"Count": 3, "Fast": True})

    (execution,) = executions(local_sagemaker)
    listed = local_sagemaker.client("sagemaker").list_pipeline_parameters_for_execution(
        PipelineExecutionArn=execution["PipelineExecutionArn"]
    )
    values = {item["Name"]: item["Value"] for item in listed["PipelineParameters"]}
    assert values == {"Count": "3", "Fast": "true", "Day": run.run_id}


def test_only_a_definition_that_differs_is_deployed(local_sagemaker):
    run_dag(pipeline(processing("Prepare")))
    run_dag(pipeline(processing("Prepare")))

    calls = local_sagemaker.calls()
    assert calls["sagemaker.CreatePipeline"] == 1
    assert "sagemaker.UpdatePipeline" not in calls
    run_dag(pipeline(processing("Prepare"), processing("More")))
    assert local_sagemaker.calls()["sagemaker.UpdatePipeline"] == 1
    assert len(executions(local_sagemaker)) == 3


def test_a_pipeline_that_must_be_there_and_differs_fails_with_the_difference(local_sagemaker):
    deploy(local_sagemaker, processing("Prepare"), processing("Extra"))
    errors = {}
    dag = pipeline(
        processing("Prepare"),
        deploy="require",
        default_args={
            "on_failure_callback": lambda context: errors.update({context["ti"].task_id: context["exception"]})
        },
    )

    run = run_dag(dag)

    assert states(run)["Prepare"] == "upstream_failed"
    assert "removed: Extra" in str(errors["start-pipeline-execution"])
    assert executions(local_sagemaker) == []


def test_an_execution_of_another_definition_is_stopped_before_any_task_watches_it(local_sagemaker):
    deploy(local_sagemaker, processing("Prepare"), processing("Extra"))

    run = run_dag(pipeline(processing("Prepare"), deploy="never"))

    assert states(run)["start-pipeline-execution"] == "failed"
    assert states(run)["Prepare"] == "upstream_failed"
    (execution,) = executions(local_sagemaker)
    assert execution["PipelineExecutionStatus"] in {"Stopping", "Stopped"}


def test_names_of_steps_do_not_collide_with_the_tasks_beside_them(local_sagemaker):
    run = run_dag(pipeline(processing("start-pipeline-execution"), processing("pipeline-execution")))

    assert set(states(run)) == {
        "start-pipeline-execution",
        "pipeline-execution",
        "pipeline.start-pipeline-execution",
        "pipeline.pipeline-execution",
    }
    assert set(states(run).values()) == {"success"}


def test_a_step_found_in_the_cache_says_so(local_sagemaker):
    cached = processing("Prepare", CacheConfig={"Enabled": True, "ExpireAfter": "P1D"})
    run_dag(pipeline(cached))

    run = run_dag(pipeline(cached))

    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == "Prepare"]
    assert ti.xcom_pull(task_ids="Prepare")["CacheHitResult"]["SourcePipelineExecutionArn"]
    assert ti.xcom_pull(task_ids="Prepare", key="sagemaker_cache_hit")["source_execution"]


def test_results_are_describe_answers_on_demand(local_sagemaker):
    run = run_dag(pipeline(training("Train"), describe_steps=True))

    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == "Train"]
    assert ti.xcom_pull(task_ids="Train")["ModelArtifacts"]["S3ModelArtifacts"].startswith("s3://")


def test_a_run_of_selected_steps_reuses_the_others(local_sagemaker):
    steps = (processing("Prepare"), training("Train", DependsOn=["Prepare"]), processing("After", DependsOn=["Train"]))
    first = run_dag(pipeline(*steps))

    second = run_dag(pipeline(*steps), conf={"selected_steps": ["Train"], "reuse_from_run": first.run_id})

    assert states(second) == {"Prepare": "success", "Train": "success", "After": "skipped", **SUCCESS}
    assert len(job_names(local_sagemaker)) == 2


def test_a_callback_step_is_fulfilled_by_a_function_of_the_dag(local_sagemaker):
    url = local_sagemaker.client("sqs").create_queue(QueueName="sagemaker-callbacks")["QueueUrl"]
    step = {
        "Name": "Ask",
        "Type": "Callback",
        "Arguments": {"question": "why"},
        "SqsQueueUrl": url,
        "OutputParameters": [{"OutputName": "answer", "OutputType": "Integer"}],
    }
    asked = []

    def answer(arguments):
        asked.append(arguments)
        return {"answer": 42}

    run = run_dag(pipeline(step, processing("After", DependsOn=["Ask"]), callbacks={"Ask": answer}))

    assert asked == [{"question": "why"}]
    assert set(states(run).values()) == {"success"}
    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == "Ask"]
    outputs = ti.xcom_pull(task_ids="Ask")["Metadata"]["Callback"]["OutputParameters"]
    assert outputs == [{"Name": "answer", "Value": "42"}]


def test_a_callback_whose_fulfilment_fails_is_answered_so_that_the_execution_ends(local_sagemaker):
    url = local_sagemaker.client("sqs").create_queue(QueueName="sagemaker-callbacks")["QueueUrl"]
    step = {"Name": "Ask", "Type": "Callback", "Arguments": {}, "SqsQueueUrl": url, "OutputParameters": []}

    def answer(arguments):
        raise ValueError("no idea")

    run = run_dag(pipeline(step, callbacks={"Ask": answer}))

    assert states(run)["Ask.answer"] == "failed"
    assert states(run)["pipeline-execution"] == "failed"
    (execution,) = executions(local_sagemaker)
    assert execution["PipelineExecutionStatus"] == "Failed"
