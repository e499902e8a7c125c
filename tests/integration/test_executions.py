"""The operators and sensors of deployed pipelines, in DAGs that are written by hand."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
from airflow.sdk import DAG, task

from airflow_sagemaker_pipelines import watch_pipeline_execution
from airflow_sagemaker_pipelines.operators.executions import (
    SageMakerRetryPipelineExecutionOperator,
    SageMakerStartPipelineExecutionOperator,
    SageMakerStopPipelineExecutionOperator,
    SageMakerUpsertPipelineOperator,
)
from airflow_sagemaker_pipelines.sensors.pipeline_execution import (
    SageMakerPipelineExecutionSensor,
    SageMakerPipelineStepSensor,
)
from tests.airflow_dags import run_dag, states
from tests.executions import deployed
from tests.executions.deployed import NAME, callback, condition, described, document, ended, executions, loop
from tests.integration.documents import BUCKET, ROLE, processing, training

pytestmark = pytest.mark.usefixtures("airflow_database", "local_sagemaker")

SUCCESS = {"execution.start-pipeline-execution": "success", "execution.pipeline-execution": "success"}
STARTED = "{{ ti.xcom_pull(task_ids='Start')['PipelineExecutionArn'] }}"


@pytest.fixture(autouse=True)
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    local_sagemaker.clear_calls()


class ByHand:
    """A DAG of a user's own, which notes what its tasks fail with."""

    def __init__(self, **defaults):
        self.errors = {}
        defaults = {"retry_delay": timedelta(), "on_failure_callback": self._note, **defaults}
        self.dag = DAG("by-hand", schedule=None, default_args=defaults)

    def _note(self, context):
        self.errors[context["ti"].task_id] = str(context["exception"])

    def run(self, **conf):
        self.found = run_dag(self.dag, conf=conf)
        return states(self.found)

    def result(self, task_id):
        (ti,) = [ti for ti in self.found.get_task_instances() if ti.task_id == task_id]
        return ti.xcom_pull(task_ids=task_id)


@pytest.fixture
def by_hand():
    return ByHand()


def run_one(by_hand, operator, **arguments):
    """Run a DAG of one task, which is called Start; return its state."""
    with by_hand.dag:
        operator(task_id="Start", **arguments)
    return by_hand.run()["Start"]


def start(by_hand, **arguments):
    return run_one(by_hand, SageMakerStartPipelineExecutionOperator, **{"pipeline_name": NAME, **arguments})


# --- a chain


def test_a_pipeline_is_deployed_started_and_waited_for(local_sagemaker, by_hand):
    steps = [processing("Prepare"), training("Train", DependsOn=["Prepare"])]
    with by_hand.dag:
        upsert = SageMakerUpsertPipelineOperator(
            task_id="Upsert",
            pipeline_name="{{ dag.dag_id }}",
            definition=document(*steps),
            role_arn=ROLE,
            description="{{ run_id }}",
            tags={"team": "sea"},
        )
        begin = SageMakerStartPipelineExecutionOperator(
            task_id="Start", pipeline_name="{{ ti.xcom_pull(task_ids='Upsert')['PipelineArn'] }}"
        )
        whole = SageMakerPipelineExecutionSensor(task_id="Whole", execution_arn=STARTED, poll_interval=0.1)
        one = SageMakerPipelineStepSensor(task_id="One", execution_arn=STARTED, step_name="Train")
        upsert >> begin >> whole >> one

    assert by_hand.run() == {"Upsert": "success", "Start": "success", "Whole": "success", "One": "success"}
    (arn,) = executions(local_sagemaker, "by-hand")
    assert by_hand.result("Upsert")["Action"] == "created"
    assert by_hand.result("Start") == {"PipelineExecutionArn": arn}
    assert by_hand.result("Whole") == {"PipelineExecutionArn": arn, "PipelineExecutionStatus": "Succeeded"}
    assert by_hand.result("One")["StepName"] == "Train"
    assert described(local_sagemaker, arn)["PipelineExecutionDescription"].endswith("of the Airflow DAG by-hand")


@pytest.mark.parametrize(("change", "action", "version"), [((), "unchanged", None), (("More",), "updated", 2)])
def test_a_pipeline_is_updated_only_if_it_differs(local_sagemaker, by_hand, change, action, version):
    arn = deployed.deploy(local_sagemaker, processing("Prepare"))

    state = run_one(
        by_hand,
        SageMakerUpsertPipelineOperator,
        pipeline_name=NAME,
        definition=json.dumps(document(processing("Prepare"), *map(processing, change))),
    )

    assert state == "success"
    assert by_hand.result("Start") == {"PipelineArn": arn, "PipelineVersionId": version, "Action": action}


def test_a_new_pipeline_without_a_role_fails_for_good(local_sagemaker):
    by_hand = ByHand(retries=3)

    assert (
        run_one(by_hand, SageMakerUpsertPipelineOperator, pipeline_name=NAME, definition=document(processing("P")))
        == "failed"
    )
    assert by_hand.errors["Start"] == f"a new pipeline needs a role: pass role_arn ({NAME})"
    assert local_sagemaker.calls() == {"sagemaker.DescribePipeline": 1}


# --- start


def test_a_version_or_an_alias_is_started(local_sagemaker):
    deployed.deploy(local_sagemaker, processing("First"))
    arn = deployed.deploy(local_sagemaker, processing("Second"))
    local_sagemaker.client("sagemaker").update_pipeline_version(
        PipelineArn=arn, PipelineVersionId=1, PipelineVersionAliasOperations={"Add": ["prod"]}
    )

    for version in (1, "1", "prod", "{{ 'prod' }}", None):
        by_hand = ByHand()
        assert start(by_hand, version=version) == "success"

    found = [described(local_sagemaker, arn)["PipelineVersionId"] for arn in executions(local_sagemaker)]
    assert found == [1, 1, 1, 1, 2]


def test_a_version_is_compared_with_the_definition(local_sagemaker, by_hand):
    deployed.deploy(local_sagemaker, processing("First"))
    deployed.deploy(local_sagemaker, processing("Second"))

    assert start(by_hand, version=1, definition=document(processing("First"))) == "success"
    assert start(ByHand(), version=2, definition=document(processing("First"))) == "failed"


def test_a_version_that_is_missing_is_named(local_sagemaker, by_hand):
    deployed.deploy(local_sagemaker, processing("First"))

    assert start(by_hand, version="prod", definition=document(processing("First"))) == "failed"
    assert "it has no version 'prod'" in by_hand.errors["Start"]


def test_without_a_definition_what_is_there_is_started(local_sagemaker, by_hand):
    deployed.deploy(local_sagemaker, processing("Prepare"))

    assert start(by_hand) == "success"
    assert local_sagemaker.calls()["sagemaker.StartPipelineExecution"] == 1
    assert "sagemaker.DescribePipeline" not in local_sagemaker.calls()


def test_with_a_definition_the_pipeline_must_be_that(local_sagemaker, by_hand):
    deployed.deploy(local_sagemaker, processing("Prepare"), processing("Extra"))

    assert start(by_hand, definition=document(processing("Prepare"))) == "failed"
    assert "removed: Extra" in by_hand.errors["Start"]
    assert executions(local_sagemaker) == []


def test_a_definition_is_deployed_if_asked_to(local_sagemaker, by_hand):
    deployed.deploy(local_sagemaker, processing("Extra"))

    assert start(by_hand, definition=document(processing("Prepare")), deploy="upsert") == "success"
    (arn,) = executions(local_sagemaker)
    assert set(deployed.states(local_sagemaker, ended(local_sagemaker, arn))) == {"Prepare"}
    assert described(local_sagemaker, arn)["PipelineVersionId"] == 2


def test_what_runs_by_another_definition_is_stopped_at_once(local_sagemaker, by_hand):
    local_sagemaker.rule(duration=3600)
    deployed.deploy(local_sagemaker, processing("Prepare"), processing("Extra"))

    assert start(by_hand, definition=document(processing("Prepare")), deploy="never") == "failed"
    assert "removed: Extra), so it was stopped" in by_hand.errors["Start"]
    (arn,) = executions(local_sagemaker)
    assert described(local_sagemaker, ended(local_sagemaker, arn))["PipelineExecutionStatus"] == "Stopped"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"deploy": "upsert"}, "deploy='upsert' needs a definition"),
        ({"deploy": "require"}, "deploy='require' needs a definition"),
        ({"deploy": "always"}, "must be 'upsert', 'require' or 'never', not 'always'"),
        ({"deploy": "upsert", "definition": document(processing("P")), "version": 1}, "leave version out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_while_the_dag_is_built(arguments, said):
    with pytest.raises(ValueError, match=said):
        SageMakerStartPipelineExecutionOperator(task_id="Start", pipeline_name=NAME, **arguments)


def test_parameters_are_rendered_and_given_as_text(local_sagemaker, by_hand):
    kinds = {"Day": "String", "Fast": "Boolean", "Rate": "Float", "Count": "Integer"}
    declared = [{"Name": name, "Type": kind} for name, kind in kinds.items()]
    deployed.deploy(local_sagemaker, processing("Prepare"), Parameters=declared)

    values = {"Day": "{{ dag.dag_id }}", "Fast": True, "Rate": 0.5, "Count": "{{ 6 * 7 }}"}
    assert start(by_hand, parameters=values) == "success"

    (arn,) = executions(local_sagemaker)
    listed = local_sagemaker.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert {item["Name"]: item["Value"] for item in listed["PipelineParameters"]} == {
        "Day": "by-hand",
        "Fast": "true",
        "Rate": "0.5",
        "Count": "42",
    }


@pytest.mark.parametrize(
    ("values", "said"), [({"Count": "many"}, "Count"), ({"Count": 1, "Counts": 2}, "Counts"), ({}, "Count")]
)
def test_parameters_that_do_not_fit_the_definition_fail_for_good_before_any_call(local_sagemaker, values, said):
    by_hand = ByHand(retries=3)
    definition = document(processing("Prepare"), Parameters=[{"Name": "Count", "Type": "Integer"}])

    assert start(by_hand, definition=definition, parameters=values) == "failed"
    assert said in by_hand.errors["Start"]
    assert not local_sagemaker.calls()
    (ti,) = by_hand.found.get_task_instances()
    assert ti.try_number == 1


def test_the_execution_has_what_the_author_says_of_it(local_sagemaker, by_hand):
    deployed.deploy(local_sagemaker, processing("Prepare"))

    assert (
        start(by_hand, display_name="{{ dag.dag_id }}: daily", description="{{ 1 + 1 }} steps", max_parallel_steps=2)
        == "success"
    )

    found = described(local_sagemaker, executions(local_sagemaker)[0])
    assert found["PipelineExecutionDisplayName"] == "by-hand-daily"
    assert found["PipelineExecutionDescription"] == "2 steps"
    assert found["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 2}


@pytest.mark.parametrize("selected", [["B", "C"], "B, C", "{{ 'B,C' }}"])
def test_selected_steps_use_the_outputs_of_another_execution(local_sagemaker, by_hand, selected):
    chain = processing("A"), processing("B", DependsOn=["A"]), processing("C", DependsOn=["B"])
    source = deployed.run(local_sagemaker, *chain)

    assert start(by_hand, selected_steps=selected, source_execution_arn=source) == "success"

    selective = described(local_sagemaker, executions(local_sagemaker)[1])["SelectiveExecutionConfig"]
    assert selective["SourcePipelineExecutionArn"] == source
    assert [step["StepName"] for step in selective["SelectedSteps"]] == ["B", "C"]


def test_selecting_an_unknown_step_fails_for_good_in_awss_words(local_sagemaker):
    deployed.deploy(local_sagemaker, processing("A"))
    by_hand = ByHand(retries=3)

    assert start(by_hand, selected_steps=["Z"]) == "failed"
    assert "StartPipelineExecution was refused with ValidationException" in by_hand.errors["Start"]
    assert local_sagemaker.calls()["sagemaker.StartPipelineExecution"] == 1


def test_a_start_whose_answer_was_lost_is_found_by_the_next_try(local_sagemaker, by_hand):
    deployed.deploy(local_sagemaker, processing("Prepare"))
    local_sagemaker.fault("truncate", operation="StartPipelineExecution", keep=0, content_length="cut", times=1)

    # The author wants no retries; a call that AWS could not answer is repeated in any case.
    by_hand = ByHand(retries=1)
    assert start(by_hand) == "success"
    assert by_hand.result("Start") == {"PipelineExecutionArn": executions(local_sagemaker)[0]}
    assert len(executions(local_sagemaker)) == 1


# --- stop and retry


def test_a_running_execution_is_stopped_and_its_callbacks_answered(local_sagemaker, by_hand):
    local_sagemaker.rule(duration=3600)
    arn = deployed.start(local_sagemaker, callback(local_sagemaker), training("Train"))
    deployed.running(local_sagemaker, arn, "Ask", "Train")

    assert run_one(by_hand, SageMakerStopPipelineExecutionOperator, execution_arn=arn) == "success"

    assert described(local_sagemaker, ended(local_sagemaker, arn))["PipelineExecutionStatus"] == "Stopped"


def test_stopping_what_is_over_is_a_success(local_sagemaker, by_hand):
    arn = deployed.run(local_sagemaker, processing("Prepare"))

    assert run_one(by_hand, SageMakerStopPipelineExecutionOperator, execution_arn=arn) == "success"


def failed_once(local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: once", times=1)
    return deployed.run(local_sagemaker, processing("Prepare"), training("Train", DependsOn=["Prepare"]))


def test_a_failed_execution_goes_on_in_place(local_sagemaker, by_hand):
    arn = failed_once(local_sagemaker)
    with by_hand.dag:
        again = SageMakerRetryPipelineExecutionOperator(task_id="Start", execution_arn=arn, max_parallel_steps=3)
        again >> SageMakerPipelineExecutionSensor(task_id="Whole", execution_arn=STARTED, poll_interval=0.1)

    assert by_hand.run() == {"Start": "success", "Whole": "success"}
    assert by_hand.result("Whole")["PipelineExecutionArn"] == arn
    assert described(local_sagemaker, arn)["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 3}


def test_a_retry_of_what_goes_on_already_leaves_it_alone(local_sagemaker, by_hand):
    local_sagemaker.rule(duration=3600)
    arn = deployed.running(local_sagemaker, deployed.start(local_sagemaker, training("Train")), "Train")

    assert run_one(by_hand, SageMakerRetryPipelineExecutionOperator, execution_arn=arn) == "success"
    assert "sagemaker.RetryPipelineExecution" not in local_sagemaker.calls()


def test_a_retry_of_a_success_fails_for_good(local_sagemaker):
    arn = deployed.run(local_sagemaker, processing("Prepare"))
    by_hand = ByHand(retries=3)

    assert run_one(by_hand, SageMakerRetryPipelineExecutionOperator, execution_arn=arn) == "failed"
    assert by_hand.errors["Start"] == f"AWS does not retry the execution, which is Succeeded ({arn})"


OPERATORS = [SageMakerStopPipelineExecutionOperator, SageMakerRetryPipelineExecutionOperator]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("text", ["abalone", "{{ '' }}"])
def test_what_is_no_execution_fails_for_good(local_sagemaker, operator, text):
    by_hand = ByHand(retries=3)

    assert run_one(by_hand, operator, execution_arn=text) == "failed"
    assert "ValidationException" in by_hand.errors["Start"]


# --- sensors


def sense(by_hand, arn, step=None, **arguments):
    """Run a DAG of one sensor, which is called Wait; return its state."""
    arguments = {"task_id": "Wait", "execution_arn": arn, "poll_interval": 0.1, **arguments}
    with by_hand.dag:
        if step is None:
            SageMakerPipelineExecutionSensor(**arguments)
        else:
            SageMakerPipelineStepSensor(step_name=step, **arguments)
    return by_hand.run()["Wait"]


@pytest.mark.parametrize("seconds", [0.2, 2.0])
def test_an_execution_is_waited_for_whether_it_is_over_or_not(local_sagemaker, by_hand, seconds):
    local_sagemaker.rule(kind="Training", duration=seconds)
    arn = deployed.start(local_sagemaker, training("Train"))

    assert sense(by_hand, f"  {arn}\n") == "success"
    assert by_hand.result("Wait") == {"PipelineExecutionArn": arn, "PipelineExecutionStatus": "Succeeded"}


@pytest.mark.parametrize("seconds", [0.2, 2.0])
def test_an_execution_that_fails_names_the_steps_with_their_reasons(local_sagemaker, by_hand, seconds):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data", duration=seconds)
    arn = deployed.start(local_sagemaker, training("Train"))

    assert sense(by_hand, arn) == "failed"
    assert by_hand.errors["Wait"].startswith(f"pipeline execution {arn} failed: ")
    assert by_hand.errors["Wait"].endswith("Step 'Train': AlgorithmError: no data")


def test_an_execution_that_was_stopped_is_no_success(local_sagemaker, by_hand):
    local_sagemaker.rule(duration=3600)
    arn = deployed.running(local_sagemaker, deployed.start(local_sagemaker, training("Train")), "Train")
    local_sagemaker.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)

    assert sense(by_hand, arn) == "failed"
    assert by_hand.errors["Wait"].startswith(f"pipeline execution {arn} was stopped: ")


def test_completed_with_failures_is_told_apart_from_succeeded(local_sagemaker, by_hand):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    handler = processing("OnFailure", DependsOn=[{"Step": "Train", "Trigger": "Failed"}])
    arn = deployed.start(local_sagemaker, training("Train"), handler)

    assert sense(by_hand, arn) == "success"
    assert by_hand.result("Wait")["PipelineExecutionStatus"] == "CompletedWithFailures"


def test_a_step_is_waited_for_while_others_go_on(local_sagemaker, by_hand):
    local_sagemaker.rule(kind="Processing", duration=3600)
    arn = deployed.start(local_sagemaker, training("Train"), processing("Beside"))

    assert sense(by_hand, arn, "{{ 'Train' }}") == "success"
    assert by_hand.result("Wait")["StepStatus"] == "Succeeded"
    assert deployed.states(local_sagemaker, arn)["Beside"] == "Executing"


def test_a_step_that_fails_says_why(local_sagemaker, by_hand):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    arn = deployed.start(local_sagemaker, training("Train"))

    assert sense(by_hand, arn, "Train") == "failed"
    assert "Step 'Train' failed: AlgorithmError: no data" in by_hand.errors["Wait"]


def test_a_step_that_does_not_run_skips_the_task(local_sagemaker, by_hand):
    arn = deployed.start(local_sagemaker, condition(yes=[processing("Yes")], no=[processing("No")]))

    assert sense(by_hand, arn, "No") == "skipped"


def test_a_step_that_never_starts_fails_the_task(local_sagemaker, by_hand):
    local_sagemaker.rule(kind="Training", outcome="Failed")
    arn = deployed.start(local_sagemaker, training("Train"), processing("After", DependsOn=["Train"]))

    assert sense(by_hand, arn, "After") == "failed"
    assert "the execution is Failed, and the step has not started" in by_hand.errors["Wait"]


@pytest.mark.parametrize("name", ["Trian", "Body", "Body-0"])
def test_a_step_that_the_pipeline_does_not_have_fails_the_task_at_once(local_sagemaker, by_hand, name):
    local_sagemaker.rule(kind="Training", duration=3600)
    arn = deployed.start(local_sagemaker, training("Train"), loop(processing("Body"), items=["a"]))

    assert sense(by_hand, arn, name) == "failed"
    assert f"step '{name}' of {arn}: the pipeline has no such step" in by_hand.errors["Wait"]


@pytest.mark.parametrize("step", [None, "Train"])
@pytest.mark.parametrize("text", ["abalone", "{{ '' }}", "arn:aws:sagemaker:us-east-1:123456789012:pipeline/abalone"])
def test_a_sensor_of_what_is_no_execution_says_so_without_a_call(local_sagemaker, by_hand, step, text):
    assert sense(by_hand, text, step) == "failed"
    assert "not the ARN of a pipeline execution" in by_hand.errors["Wait"]
    assert not local_sagemaker.calls()


@pytest.mark.parametrize("step", [None, "Train"])
def test_an_execution_that_aws_does_not_know_fails_the_task(local_sagemaker, by_hand, step):
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{NAME}/execution/abcdefghijkl"

    assert sense(by_hand, arn, step) == "failed"
    assert "AWS does not tell the state of" in by_hand.errors["Wait"]


@pytest.mark.parametrize("step", [None, "Train"])
def test_the_timeout_fails_the_task_and_stops_nothing(local_sagemaker, by_hand, step):
    local_sagemaker.rule(duration=3600)
    arn = deployed.running(local_sagemaker, deployed.start(local_sagemaker, training("Train")), "Train")
    began = time.monotonic()

    assert sense(by_hand, arn, step, timeout=1.5) == "failed"
    assert "nothing to report after 1.5 seconds" in by_hand.errors["Wait"]
    assert time.monotonic() - began >= 1.5
    assert deployed.states(local_sagemaker, arn) == {"Train": "Executing"}


@pytest.mark.parametrize("step", [None, "Train"])
@pytest.mark.parametrize("why", ["time", "failure", "bad input"])
def test_soft_fail_skips_the_task(local_sagemaker, by_hand, step, why):
    local_sagemaker.rule(outcome="Failed", duration=3600 if why == "time" else 0.2)
    arn = deployed.start(local_sagemaker, training("Train"))

    seconds = 1 if why == "time" else 60
    assert sense(by_hand, "none" if why == "bad input" else arn, step, timeout=seconds, soft_fail=True) == "skipped"


def test_an_unknown_step_is_skipped_by_soft_fail(local_sagemaker, by_hand):
    arn = deployed.start(local_sagemaker, training("Train"))

    assert sense(by_hand, arn, "Trian", soft_fail=True) == "skipped"


# --- executions that somebody else starts


def watching(by_hand, *steps, **arguments):
    """Add the tasks that watch the execution of which the run's conf tells, and one behind them."""
    with by_hand.dag:
        group = watch_pipeline_execution(
            '{{ dag_run.conf["execution_arn"] }}', document(*steps), **{"poll_interval": 0.1, **arguments}
        )

        @task
        def report():
            return "done"

        group >> report()


def test_an_execution_that_was_started_elsewhere_has_a_task_per_step(local_sagemaker, by_hand):
    steps = condition(yes=[processing("Yes")], no=[processing("No")]), training("Train", DependsOn=["Yes"])
    arn = deployed.start(local_sagemaker, *steps)
    watching(by_hand, *steps)
    local_sagemaker.clear_calls()

    assert by_hand.run(execution_arn=arn) == {
        **SUCCESS,
        "execution.Check": "success",
        "execution.Yes": "success",
        "execution.No": "skipped",
        "execution.Train": "success",
        "report": "success",
    }
    assert by_hand.result("execution.start-pipeline-execution") == {"PipelineExecutionArn": arn}
    assert by_hand.result("execution.Train")["StepName"] == "Train"
    assert not {"sagemaker.StartPipelineExecution", "sagemaker.CreatePipeline"} & set(local_sagemaker.calls())


def test_an_execution_of_another_definition_fails_closed_with_the_difference(local_sagemaker, by_hand):
    local_sagemaker.rule(duration=3600)
    arn = deployed.start(local_sagemaker, processing("Prepare"), processing("Extra"))
    watching(by_hand, processing("Prepare"))

    assert by_hand.run(execution_arn=arn) == {
        "execution.start-pipeline-execution": "failed",
        "execution.Prepare": "upstream_failed",
        "execution.pipeline-execution": "upstream_failed",
        "report": "upstream_failed",
    }
    assert "removed: Extra" in by_hand.errors["execution.start-pipeline-execution"]
    # It is not ours to stop.
    assert described(local_sagemaker, arn)["PipelineExecutionStatus"] == "Executing"


@pytest.mark.parametrize("text", ["", "abalone"])
def test_what_is_no_execution_cannot_be_watched(by_hand, text):
    watching(by_hand, processing("Prepare"))

    assert by_hand.run(execution_arn=text)["execution.start-pipeline-execution"] == "failed"
    assert "ValidationException" in by_hand.errors["execution.start-pipeline-execution"]


def test_a_retry_of_a_task_resumes_an_execution_that_was_started_elsewhere(local_sagemaker):
    by_hand = ByHand(retries=1)
    arn = failed_once(local_sagemaker)
    watching(by_hand, processing("Prepare"), training("Train", DependsOn=["Prepare"]))

    assert by_hand.run(execution_arn=arn) == {
        **SUCCESS,
        "execution.Prepare": "success",
        "execution.Train": "success",
        "report": "success",
    }
    assert executions(local_sagemaker) == [arn]
    assert local_sagemaker.calls()["sagemaker.RetryPipelineExecution"] == 1


@pytest.mark.parametrize(("describes", "member"), [(True, "TrainingJobStatus"), (False, "StepStatus")])
def test_the_results_of_a_loops_steps_are_descriptions_on_demand(local_sagemaker, by_hand, describes, member):
    steps = (loop(training("Body"), items=["a", "b"]),)
    watching(by_hand, *steps, describe_steps=describes)

    found = by_hand.run(execution_arn=deployed.start(local_sagemaker, *steps))

    assert set(found.values()) == {"success"}
    bodies = [ti for ti in by_hand.found.get_task_instances() if ti.task_id == "execution.Body"]
    results = [ti.xcom_pull(task_ids="execution.Body", map_indexes=ti.map_index) for ti in bodies]
    assert [member in result for result in results] == [True, True]
