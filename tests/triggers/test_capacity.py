"""The wait before a start that a quota has refused is tried again."""

from __future__ import annotations

import asyncio
import time

from airflow_sagemaker_pipelines.triggers.capacity import CapacityTrigger


async def first_event(trigger):
    async for event in trigger.run():
        return event
    return None


def test_it_fires_at_its_time_and_says_how_long_the_task_has_waited():
    trigger = CapacityTrigger(until=time.time() + 0.2, waited_since=1.0, waits=3)
    start = time.monotonic()

    event = asyncio.run(first_event(trigger))

    assert time.monotonic() - start >= 0.15
    assert event.payload == {"waited_since": 1.0, "waits": 3}


def test_a_restarted_triggerer_does_not_wait_anew():
    classpath, arguments = CapacityTrigger(until=time.time() - 5, waited_since=1.0, waits=1).serialize()

    assert classpath.rpartition(".")[2] == "CapacityTrigger"
    assert asyncio.run(asyncio.wait_for(first_event(CapacityTrigger(**arguments)), 1)).payload["waits"] == 1


def test_waits_grow_up_to_ten_minutes_and_never_pass_the_limit():
    waits = [CapacityTrigger.after(n, waited_since=0, at_most=1e6).until - time.time() for n in (0, 4, 30)]

    assert 20 < waits[0] < 40
    assert waits[0] < waits[1] < waits[2] < 730
    assert CapacityTrigger.after(30, waited_since=0, at_most=5).until - time.time() <= 5
