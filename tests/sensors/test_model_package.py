"""The sensor of decisions about model packages on a worker and in a triggerer, against the local endpoint."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.triggers.base import TaskSuccessEvent

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.sensors.model_package import (
    ModelPackageNotApprovedError,
    SageMakerModelPackageApprovalSensor,
)
from airflow_sagemaker_pipelines.steps.events import create_event_queue
from airflow_sagemaker_pipelines.triggers import events, pace
from airflow_sagemaker_pipelines.triggers.model_package import ApprovalWatch, ModelPackageApprovalTrigger
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT
from tests.local.endpoint_support import package_request
from tests.operators.worker import Worker, event_of
from tests.steps.types.step_runs import EndpointClients
from tests.triggers.waiting import Triggerer, end_of, run_together, until

DESCRIBE, LIST = "sagemaker.DescribeModelPackage", "sagemaker.ListModelPackages"
GROUP = "abalone"


@pytest.fixture
def registry(local_sagemaker):
    """A model registry with one empty group."""
    local_sagemaker.client("sagemaker").create_model_package_group(ModelPackageGroupName=GROUP)
    return Registry(local_sagemaker)


class Registry:
    """What people do in a model registry."""

    def __init__(self, local_sagemaker):
        self._client = local_sagemaker.client("sagemaker")

    def register(self, status="PendingManualApproval"):
        """Register the next version, and return its ARN."""
        return self._client.create_model_package(**package_request(GROUP, ModelApprovalStatus=status))[
            "ModelPackageArn"
        ]

    def decide(self, arn, status, **more):
        """Decide about a version."""
        self._client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status, **more)

    def delete(self, arn):
        """Delete a version."""
        self._client.delete_model_package(ModelPackageName=arn)


def dag_of(arn=None, **arguments):
    """A DAG with a sensor, which is called Wait: by default for the newest of the group."""
    what = {"model_package_arn": arn} if arn else {"model_package_group_name": GROUP}
    with DAG("deploying", schedule=None) as dag:
        SageMakerModelPackageApprovalSensor(task_id="Wait", **what | {"poll_interval": 0.1} | arguments)
    return dag


def trigger_of(handle, **arguments):
    """A trigger, as it comes out of the database."""
    connection = AwsConnection(**arguments.pop("connection", {})).serialize()
    given = {"step_type": "RegisterModel", "connection": connection, "poll_interval": 0.1, "stop_on_kill": False}
    _, stored = ModelPackageApprovalTrigger(handle=handle, **given | arguments).serialize()
    return ModelPackageApprovalTrigger(**stored)


def newest(*, ignore_pending=False):
    return {"group": GROUP, "ignore_pending": ignore_pending}


# A version


def test_an_approved_version_is_found_at_once(local_sagemaker, server, registry):
    arn = registry.register("Approved")

    done = Worker(dag_of(arn), server).start("Wait")

    assert done.state == "success"
    assert server.xcom("Wait")["ModelPackageArn"] == arn
    assert server.xcom("Wait")["ModelApprovalStatus"] == "Approved"
    assert local_sagemaker.calls()[DESCRIBE] == 1


def test_a_version_that_is_pending_is_waited_for_without_a_worker(server, registry):
    arn = registry.register()
    worker = Worker(dag_of(arn), server)

    waiting = worker.start("Wait")

    assert waiting.state == "deferred"
    assert waiting.trigger.ends_task
    registry.decide(arn, "Approved")
    assert worker.resume(waiting, event_of(waiting.trigger), "Wait").state == "success"
    assert server.xcom("Wait")["ModelApprovalStatus"] == "Approved"


@pytest.mark.parametrize("is_over", [True, False])
def test_a_rejected_version_fails_the_task_for_good_and_says_why_and_when(server, registry, is_over):
    arn = registry.register()
    worker = Worker(dag_of(arn, retries=3), server)
    if not is_over:
        waiting = worker.start("Wait")
    registry.decide(arn, "Rejected", ApprovalDescription="biased against old abalones")

    failed = worker.start("Wait") if is_over else worker.resume(waiting, event_of(waiting.trigger), "Wait")

    assert failed.state == "failed"
    assert type(failed.error) is ModelPackageNotApprovedError
    said, _, changed = str(failed.error).partition(" (last changed at ")
    assert said == f"The model package {arn} is not approved: it was rejected: biased against old abalones"
    assert datetime.now(UTC) - datetime.fromisoformat(changed.removesuffix(")")) < timedelta(minutes=5)


def test_a_rejected_version_skips_a_task_that_is_to_fail_softly(server, registry):
    assert Worker(dag_of(registry.register("Rejected"), soft_fail=True), server).start("Wait").state == "skipped"


def test_the_version_may_come_from_the_step_that_has_registered_it(server, registry):
    arn = registry.register("Approved")
    template = "{{ ti.xcom_pull(task_ids='Register')['ModelPackageArn'] }}"
    worker = Worker(dag_of(template), server)
    server.xcoms["deploying", worker.run_id, "Register"] = {"return_value": {"ModelPackageArn": arn}}

    assert worker.run("Wait").state == "success"
    assert server.xcom("Wait")["ModelPackageArn"] == arn


def test_a_version_that_does_not_exist_is_said_so_at_once(local_sagemaker, server, registry):
    arn = registry.register()
    registry.delete(arn)

    missing = Worker(dag_of(arn, retries=3), server).start("Wait")

    assert missing.state == "failed"
    assert str(missing.error).startswith(
        f"AWS does not tell the state of model package {arn} (connection 'aws_default'): "
    )
    assert "does not exist" in str(missing.error)
    assert local_sagemaker.calls()[DESCRIBE] == 1


def test_a_version_that_is_deleted_while_it_is_waited_for_fails_the_task(server, registry):
    arn = registry.register()
    worker = Worker(dag_of(arn), server)
    waiting = worker.start("Wait")
    registry.delete(arn)

    event = event_of(waiting.trigger)

    assert event["verdict"] == REFUSED
    assert worker.resume(waiting, event, "Wait").state == "failed"


# A group


def test_the_newest_version_of_a_group_counts(server, registry):
    registry.register("Approved")
    registry.register("Rejected")
    arn = registry.register("Approved")

    assert Worker(dag_of(), server).start("Wait").state == "success"
    assert server.xcom("Wait")["ModelPackageArn"] == arn


def test_a_newer_version_takes_the_place_of_the_one_that_was_waited_for(server, registry):
    first = registry.register()
    worker = Worker(dag_of(), server)
    waiting = worker.start("Wait")
    second = registry.register()
    registry.decide(first, "Rejected")
    registry.decide(second, "Approved")

    assert worker.resume(waiting, event_of(waiting.trigger), "Wait").state == "success"
    assert server.xcom("Wait")["ModelPackageArn"] == second


def test_a_group_without_versions_is_waited_for(server, registry):
    worker = Worker(dag_of(), server)
    waiting = worker.start("Wait")
    assert waiting.state == "deferred"
    registry.register("Approved")

    assert worker.resume(waiting, event_of(waiting.trigger), "Wait").state == "success"


def test_pending_versions_may_be_passed_over(server, registry):
    registry.register("Rejected")
    arn = registry.register("Approved")
    registry.register()

    assert Worker(dag_of(), server).start("Wait").state == "deferred"
    assert Worker(dag_of(ignore_pending=True), server).start("Wait").state == "success"
    assert server.xcom("Wait")["ModelPackageArn"] == arn


def test_of_decided_versions_the_newest_counts_not_the_best(server, registry):
    registry.register("Approved")
    arn = registry.register("Rejected")
    registry.register()

    failed = Worker(dag_of(ignore_pending=True), server).start("Wait")

    assert failed.state == "failed"
    assert f"The model package {arn} is not approved: it was rejected" in str(failed.error)


def test_a_group_of_pending_versions_is_waited_for_until_one_is_decided(server, registry):
    registry.register()
    arn = registry.register()
    worker = Worker(dag_of(ignore_pending=True), server)
    waiting = worker.start("Wait")
    registry.register()
    registry.decide(arn, "Approved")

    assert worker.resume(waiting, event_of(waiting.trigger), "Wait").state == "success"
    assert server.xcom("Wait")["ModelPackageArn"] == arn


def test_the_result_of_a_group_may_be_pushed_by_the_triggerer(server, registry):
    arn = registry.register("Approved")
    trigger = trigger_of(newest(), ends_task=True)
    trigger.task_instance = SimpleNamespace(dag_id="deploying", task_id="Wait", run_id="run-1", map_index=-1)

    event = asyncio.run(asyncio.wait_for(anext(trigger.run()), 20))

    assert type(event) is TaskSuccessEvent
    assert server.xcom("Wait")["ModelPackageArn"] == arn


def test_a_group_that_does_not_exist_is_said_so_at_once(local_sagemaker, server):
    missing = Worker(dag_of(), server).start("Wait")

    assert missing.state == "failed"
    assert "model package group abalone" in str(missing.error)
    assert "does not exist" in str(missing.error)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "either model_package_arn or model_package_group_name"),
        ({"model_package_arn": "arn", "model_package_group_name": GROUP}, "either model_package_arn or model_package"),
        ({"model_package_arn": "arn", "ignore_pending": True}, "ignore_pending chooses among the versions of a group"),
    ],
)
def test_what_does_not_name_one_thing_is_refused_when_the_dag_is_built(arguments, said):
    with pytest.raises(ValueError, match=said):
        SageMakerModelPackageApprovalSensor(task_id="Wait", **arguments)


@pytest.mark.parametrize(
    "arn",
    [
        "None",
        "abalone",
        "arn:aws:sagemaker:us-east-1:123456789012:model-package/unversioned",
        "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/abalone",
        "arn:aws:sagemaker:us-east-1:123456789012:model-package/abalone/1 ",
    ],
)
def test_what_is_no_version_is_refused_without_a_call(local_sagemaker, server, arn):
    refused = Worker(dag_of(arn, retries=3), server).start("Wait")

    assert refused.state == "failed"
    example = "arn:aws:sagemaker:<region>:<account>:model-package/<group>/<version>"
    said = f"model_package_arn must be the ARN of a version in a group, {example}, not {arn!r}"
    assert str(refused.error) == said
    assert local_sagemaker.calls() == {}


def test_a_group_without_a_name_is_refused_without_a_call(local_sagemaker, server):
    refused = Worker(dag_of(model_package_group_name="{{ '' }}"), server).start("Wait")

    assert str(refused.error) == "model_package_group_name must be the name of a group, not ''"
    assert local_sagemaker.calls() == {}


# Robust waiting


def once(fault):
    """A connection whose clients repeat nothing by themselves, and are no other test's."""
    return {"botocore_config": {"retries": {"total_max_attempts": 1}, "user_agent_extra": f"{fault}/{time.time_ns()}"}}


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        *(
            ("DescribeModelPackage", fault)
            for fault in ("throttle", "internal", "expired", "denied", "reset", "truncate")
        ),
        *(("ListModelPackages", fault) for fault in ("unavailable", "denied", "truncate")),
    ],
)
def test_looks_that_go_wrong_for_a_while_are_repeated(local_sagemaker, registry, hasty, operation, fault):
    arn = registry.register("Approved")
    local_sagemaker.fault(fault, operation=operation, times=2)

    event = event_of(trigger_of(newest(), connection=once(fault)))

    assert event["verdict"] == "succeeded"
    assert event["outputs"]["ModelPackageArn"] == arn
    assert local_sagemaker.calls()[f"sagemaker.{operation}"] == 3


def test_answers_that_are_cut_off_decide_nothing(local_sagemaker, registry, hasty):
    arn = registry.register("Rejected")
    # Their length is right, but all is gone.
    local_sagemaker.fault("truncate", operation="DescribeModelPackage", keep=0, content_length="cut", times=2)
    local_sagemaker.fault("truncate", operation="ListModelPackages", keep=0, content_length="cut", times=2)

    event = event_of(trigger_of(newest(), connection=once("cut")))

    assert (event["verdict"], event["handle"]) == ("failed", {"name": arn})


def test_looks_that_are_denied_again_and_again_end_the_waiting(local_sagemaker, registry, hasty):
    arn = registry.register()
    local_sagemaker.fault("denied", operation="DescribeModelPackage")

    event = event_of(trigger_of({"name": arn}))

    assert event["verdict"] == REFUSED
    assert "not authorized" in event["reason"]
    assert local_sagemaker.calls()[DESCRIBE] == pace.MOST_DENIALS


def test_a_first_look_that_goes_wrong_is_repeated_by_the_triggerer(local_sagemaker, server, registry, hasty):
    arn = registry.register("Approved")
    local_sagemaker.fault("denied", operation="DescribeModelPackage", times=1)
    worker = Worker(dag_of(arn), server)

    waiting = worker.start("Wait")

    assert waiting.state == "deferred"
    assert worker.resume(waiting, event_of(waiting.trigger), "Wait").state == "success"


@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_sensor_whose_time_is_up_leaves_the_decision_open(server, registry, soft_fail):
    worker = Worker(dag_of(registry.register(), timeout=3600, soft_fail=soft_fail, retries=3), server)
    waiting = worker.start("Wait")
    trigger = waiting.trigger
    assert trigger.deadline == pytest.approx(time.time() + 3600, abs=60)
    trigger.deadline = time.time()

    event = event_of(trigger)

    assert event["verdict"] == TIMED_OUT
    late = worker.resume(waiting, event, "Wait")
    assert late.state == ("skipped" if soft_fail else "failed")
    assert soft_fail or "nothing to report after 3600 seconds" in str(late.error)


def test_sensors_of_one_triggerer_wait_in_one_loop(registry):
    versions = [registry.register() for _ in range(3)]
    waits = [trigger_of({"name": arn}) for arn in versions]
    assert len({trigger.shared_stream_key() for trigger in waits}) == 1
    for arn, status in zip(versions, ["Approved", "Rejected", "Approved"], strict=True):
        registry.decide(arn, status)

    assert [event["verdict"] for event in run_together(*waits)] == ["succeeded", "failed", "succeeded"]


def test_an_event_tells_of_a_decision(local_sagemaker, registry, monkeypatch):
    monkeypatch.setattr(events, "_LONG_POLL_SECONDS", 1)
    heard, hear = [], ApprovalWatch.hear
    monkeypatch.setattr(ApprovalWatch, "hear", lambda looks, key: heard.append(hear(looks, key)) or heard[-1])
    arn = registry.register()
    queue = create_event_queue(EndpointClients(local_sagemaker), queue_name="news", rule_name="news").url
    local_sagemaker.clear_calls()

    async def wait():
        waiting = Triggerer().start(trigger_of({"name": arn}, poll_interval=3600, event_queue_url=queue))
        await until(lambda: local_sagemaker.calls().get(DESCRIBE))
        await asyncio.to_thread(registry.decide, arn, "Approved")
        return await end_of(waiting)

    assert asyncio.run(wait())["verdict"] == "succeeded"
    assert True in heard


def test_a_kill_changes_nothing(local_sagemaker, server, registry):
    waiting = Worker(dag_of(registry.register()), server).start("Wait")
    local_sagemaker.clear_calls()

    asyncio.run(waiting.trigger.on_kill())
    waiting.task.on_kill()

    assert local_sagemaker.calls() == {}
