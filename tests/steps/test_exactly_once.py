"""Whatever goes wrong with whichever call of a start, in the end there is one of what the step is to make.

The cases are in ``exactly_once_cases.py``. What there is, the endpoint's own records tell.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.hooks.aws import AwsClients, AwsConnection
from airflow_sagemaker_pipelines.local.install import engines
from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, is_transient
from airflow_sagemaker_pipelines.steps.errors import StepCallError
from airflow_sagemaker_pipelines.steps.registry import runner_of, runners
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.steps.exactly_once_cases import CASES
from tests.steps.faults import Fault, FaultyClients, WorkerDiedError
from tests.steps.types.step_runs import EndpointClients, start, wait

TRIES = 3
#: They call nobody; and Cleanup, which makes nothing, has its tests below.
NOT_IN_THE_TABLE = {StepType.CONDITION, StepType.FAIL, StepType.CLEANUP}
#: A callback runs until somebody answers, who is not here.
RUN_ON = {"callback", "callback by a FIFO queue"}
#: Kinds of what runs for a while, by the endpoint's rules.
RULED = {"Training", "Processing", "Transform", "Tuning", "AutoML", "Job", "EMR", "EMRServerless"}


@pytest.fixture(scope="module")
def clean(local_sagemaker_session):
    """Clients without a fault; they are expensive to make."""
    return EndpointClients(local_sagemaker_session)


@pytest.fixture(autouse=True)
def in_a_hurry(local_sagemaker, monkeypatch):
    """Let botocore not wait between its repetitions."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))


def arrange(case, endpoint):
    """Make what the step needs. What comes after that takes little time."""
    arranged = case.arrange(endpoint)
    endpoint.rule(duration=0.02)
    return arranged


def survive(case, endpoint, arranged, faulty, clean):
    """Start as a task and its retries do, then wait for the end."""
    for clients in (faulty, *[clean] * (TRIES - 1)):
        run = case.run(endpoint, arranged, clients)
        try:
            state = start(run)
        except (StepCallError, WorkerDiedError):
            continue
        return state if case.name in RUN_ON else wait(case.run(endpoint, arranged, clean), state)
    raise AssertionError(f"{TRIES} tries were not enough")


def check(case, endpoint, before, fault, state):
    made = case.made(endpoint) - before
    if case.at_least_once and fault is not Fault.REFUSED:
        (kind,) = case.wanted
        assert 1 <= made.pop(kind) <= TRIES
        assert not made
    else:
        assert made == case.wanted
    assert state.verdict is (Verdict.RUNNING if case.name in RUN_ON else Verdict.SUCCEEDED)


STARTS = [(case, operation) for case in CASES for operation in case.starts]
FINDS = [(case, operation) for case in CASES for operation in case.finds]


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize(("case", "operation"), STARTS, ids=str)
def test_a_fault_at_the_start_makes_no_duplicate(local_sagemaker, clean, case, operation, fault):
    arranged = arrange(case, local_sagemaker)
    before, faulty = case.made(local_sagemaker), FaultyClients(local_sagemaker, operation, fault)

    state = survive(case, local_sagemaker, arranged, faulty, clean)

    check(case, local_sagemaker, before, fault, state)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize(("case", "operation"), FINDS, ids=str)
def test_a_fault_at_the_look_for_an_earlier_tries_work_makes_no_duplicate(
    local_sagemaker, clean, case, operation, fault
):
    arranged = arrange(case, local_sagemaker)
    before, faulty = case.made(local_sagemaker), FaultyClients(local_sagemaker, operation, fault)
    first = case.run(local_sagemaker, arranged, clean)
    wait(first, start(first))

    state = survive(case, local_sagemaker, arranged, faulty, clean)

    check(case, local_sagemaker, before, fault, state)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_has_every_call(local_sagemaker, case):
    arranged = arrange(case, local_sagemaker)
    runs = [case.run(local_sagemaker, arranged, FaultyClients(local_sagemaker)) for _ in range(2)]

    state = start(runs[0])
    assert sorted(runs[0].clients.operations) == sorted(case.starts)
    if case.finds:
        wait(runs[0], state)
        start(runs[1])
        assert sorted(runs[1].clients.operations) == sorted(case.finds)


def test_the_table_has_every_step_type():
    types = {case.step("x")["Type"] for case in CASES}

    assert types == {str(kind) for kind in runners().keys() - NOT_IN_THE_TABLE}


MADE = [
    (case, operation)
    for case, operation in STARTS
    if operation.startswith(("Create", "Add", "Run", "Update"))
    and operation not in {"CreateModelPackage", "CreateModelPackageGroup", "CreateApplication", "CreateTrial"}
    and case.name != "lineage"
    and "Experiment" not in operation
]


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPEATED])
@pytest.mark.parametrize(("case", "operation"), MADE, ids=str)
def test_what_was_made_is_found_by_the_same_try_as_there_may_be_no_other(
    local_sagemaker, clean, case, operation, fault
):
    arranged = arrange(case, local_sagemaker)

    state = start(case.run(local_sagemaker, arranged, FaultyClients(local_sagemaker, operation, fault)))

    assert wait(case.run(local_sagemaker, arranged, clean), state).verdict is Verdict.SUCCEEDED


JOBS = [case for case in CASES if any(kind in RULED for kind in case.wanted)]


@pytest.mark.parametrize("case", JOBS, ids=str)
def test_what_has_failed_is_replaced_and_its_replacement_is_adopted(local_sagemaker, clean, case):
    (kind,) = [kind for kind in case.wanted if kind in RULED]
    local_sagemaker.rule(kind=kind, outcome="Failed", times=1, duration=0.02)
    arranged = arrange(case, local_sagemaker)
    run = case.run(local_sagemaker, arranged, clean)

    verdicts = [wait(run, start(run)).verdict for _ in range(3)]

    assert verdicts == [Verdict.FAILED, Verdict.SUCCEEDED, Verdict.SUCCEEDED]
    assert case.made(local_sagemaker)[kind] == 2


@pytest.mark.parametrize("case", JOBS, ids=str)
def test_what_is_being_stopped_is_replaced_at_once(local_sagemaker, clean, case):
    (kind,) = [kind for kind in case.wanted if kind in RULED]
    local_sagemaker.rule(kind=kind, times=1, duration=60)
    arranged = arrange(case, local_sagemaker)
    run = case.run(local_sagemaker, arranged, clean)
    runner = runner_of(run.step.type)
    first = start(run)

    runner.stop(clean, first.handle)
    second = start(run)

    assert second.handle != first.handle
    assert wait(run, second).verdict is Verdict.SUCCEEDED
    assert wait(run, first).verdict is Verdict.STOPPED


def test_a_package_whose_registration_failed_is_replaced_by_the_next_version(local_sagemaker, clean):
    (case,) = [case for case in CASES if case.name == "model package in a group"]
    run = case.run(local_sagemaker, None, clean)
    first = start(run)
    (package,) = [made for engine in engines() for made in engine.store.made if made.arn == first.handle["name"]]
    package.status = package.extra["ModelPackageStatus"] = "Failed"

    second, third = start(run), start(run)

    assert second.handle["name"].endswith("/2")
    assert second.handle == third.handle
    assert case.made(local_sagemaker)["ModelPackage"] == 2


def test_two_runs_with_one_cache_key_do_not_touch_each_others_running_jobs(local_sagemaker, clean):
    (case,) = [case for case in CASES if case.name == "cached"]
    arranged = arrange(case, local_sagemaker)
    local_sagemaker.rules.clear()
    local_sagemaker.rule(duration=0.5)
    one = case.run(local_sagemaker, arranged, clean)
    other = replace(one, identity=replace(one.identity, run_id="other", execution_id="0123456789ab"))

    first, second = start(one), start(other)

    assert first.handle != second.handle
    assert start(one).handle == first.handle
    assert [wait(one, first).verdict, wait(other, second).verdict] == [Verdict.SUCCEEDED] * 2


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in RUN_ON], ids=str)
def test_an_answer_cut_off_while_waiting_never_ends_the_wait(local_sagemaker, clean, case):
    arranged = arrange(case, local_sagemaker)
    run = case.run(local_sagemaker, arranged, clean)
    state, runner = start(run), runner_of(run.step.type)
    wait(run, state)
    asked = FaultyClients(local_sagemaker)
    if not asks(runner, asked, state):
        return
    for operation in asked.operations:
        assert not asks(runner, FaultyClients(local_sagemaker, operation, Fault.TRUNCATED), state)


def asks(runner, clients, state):
    """Poll and collect the outputs as a trigger does; return whether the end was seen."""
    try:
        state = runner.poll(clients, state.handle)
        if state.verdict is Verdict.SUCCEEDED:
            runner.outputs(clients, state)
    except NotImplementedError:
        return False
    except AWS_ERRORS as error:
        assert is_transient(error)
        return False
    return state.verdict.is_final


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.DIED])
def test_callback_messages_that_are_sent_twice_have_one_token(local_sagemaker, clean, fault):
    (case,) = [case for case in CASES if case.name == "callback"]
    queue = arrange(case, local_sagemaker)

    survive(case, local_sagemaker, queue, FaultyClients(local_sagemaker, "SendMessage", fault), clean)

    received = clean("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert len(received) == 2
    assert len({json.loads(message["Body"])["token"] for message in received}) == 1


def test_a_fifo_queue_drops_what_botocore_repeats(local_sagemaker, clean):
    (case,) = [case for case in CASES if case.name == "callback by a FIFO queue"]
    queue = arrange(case, local_sagemaker)

    start(case.run(local_sagemaker, queue, FaultyClients(local_sagemaker, "SendMessage", Fault.REPEATED)))

    assert case.made(local_sagemaker)["Message"] == 1


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPEATED, Fault.TRUNCATED])
def test_who_reads_of_a_lost_invocation_learns_that_the_function_may_have_run(local_sagemaker, fault):
    (case,) = [case for case in CASES if case.name == "function"]
    function = arrange(case, local_sagemaker)
    clients = FaultyClients(local_sagemaker, "Invoke", fault, retries={"total_max_attempts": 1})

    with pytest.raises(StepCallError, match="may have run all the same; a retry invokes it again"):
        start(case.run(local_sagemaker, function, clients))


@pytest.mark.parametrize("place", ["argument", "connection"])
def test_what_aws_would_do_twice_botocore_never_repeats(local_sagemaker, monkeypatch, place):
    config = {"retries": {"max_attempts": 9}}
    settings = json.loads(local_sagemaker.connection())
    if place == "connection":
        settings["extra"]["config_kwargs"] = config
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(settings))
    clients = AwsClients(AwsConnection(botocore_config=config if place == "argument" else None))

    assert clients("emr", repeats=False).meta.config.retries["total_max_attempts"] == 1
    assert clients("emr").meta.config.retries["total_max_attempts"] == 10
