"""Triggers that wait together, as Airflow's triggerer runs them, on jobs of the local endpoint."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import structlog
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection
from airflow_sagemaker_pipelines.triggers.step import StepTrigger

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
DESCRIBE, LIST = "sagemaker.DescribeTrainingJob", "sagemaker.ListTrainingJobs"
#: What the triggerer cancels a trigger with when somebody has ended its task.
KILL = "__airflow_user_action__"


def train(local_sagemaker, *names, **rule):
    """Start training jobs that take as long as a rule says; by default they outlast the test."""
    local_sagemaker.rule(kind="Training", times=len(names), **{"duration": 3600, **rule})
    client = local_sagemaker.client("sagemaker")
    for name in names:
        client.create_training_job(
            TrainingJobName=name,
            RoleArn=ROLE,
            AlgorithmSpecification={"TrainingInputMode": "File", "TrainingImage": "image"},
            OutputDataConfig={"S3OutputPath": "s3://lake/models"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            StoppingCondition={"MaxRuntimeInSeconds": 86400},
        )


def stop(local_sagemaker, *names):
    """Stop training jobs."""
    for name in names:
        local_sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)


def calls(local_sagemaker):
    """How often SageMaker was asked for jobs: how many List calls, how many Describe calls."""
    counts = local_sagemaker.calls()
    return sum(counts.get(name, 0) for name in counts if ".List" in name), sum(
        counts.get(name, 0) for name in counts if ".Describe" in name
    )


class Waiting:
    """Makes triggers that share a loop with those of the same endpoint only.

    :param local_sagemaker: the endpoint.
    :param arguments: of all triggers.
    """

    def __init__(self, local_sagemaker, **arguments):
        # Each call is one request, so that counts tell what was asked for. A short patience keeps tests short.
        config = {"retries": {"total_max_attempts": 1}, "read_timeout": 15, "user_agent_extra": f"t/{time.time_ns()}"}
        self.connection = AwsConnection(botocore_config=config).serialize()
        self._arguments = {"step_type": "Training", "connection": self.connection, "poll_interval": 0.3} | arguments

    def trigger(self, name="job", **arguments):
        """A trigger, as it comes out of the database."""
        trigger = StepTrigger(**{**self._arguments, "handle": {"name": name}, **arguments})
        _, stored = trigger.serialize()
        return StepTrigger(**stored)


class Triggerer:
    """Runs triggers in the running loop the way ``TriggerRunner.run_trigger`` does."""

    def __init__(self):
        self._streams = SharedStreamManager(log=structlog.get_logger())
        self._number = 0

    def start(self, trigger):
        """Begin to run a trigger; the task's result is its event."""
        self._number += 1
        return asyncio.get_running_loop().create_task(self._run(self._number, trigger))

    async def _run(self, number, trigger):
        key = trigger.shared_stream_key()
        if key is None:
            return await anext(trigger.run())
        try:
            stream = self._streams.subscribe(trigger_id=number, trigger=trigger, key=key)
            async for event in trigger.filter_shared_stream(stream):
                return event
        except asyncio.CancelledError as error:
            if error.args == (KILL,):
                await trigger.on_kill()
            raise
        finally:
            await self._streams.unsubscribe(number, key)
        raise AssertionError("the trigger has said nothing")


def run_together(*triggers, seconds=60):
    """Return the payloads of triggers that run together, or what they raised."""

    async def run():
        triggerer = Triggerer()
        tasks = [triggerer.start(trigger) for trigger in triggers]
        events = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), seconds)
        return [event if isinstance(event, Exception) else event.payload for event in events]

    return asyncio.run(run())


def verdicts(*triggers, seconds=60):
    """Return the verdicts of triggers that run together."""
    return [payload["verdict"] for payload in run_together(*triggers, seconds=seconds)]


async def until(holds, seconds=20):
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.05)


async def end_of(task, seconds=30):
    """Return the payload of a running trigger's event."""
    return (await asyncio.wait_for(task, seconds)).payload


def task_instance(**members):
    """The task instance of a trigger."""
    return SimpleNamespace(**({"dag_id": "abalone", "task_id": "Train", "run_id": "run-1", "map_index": -1} | members))
