"""Calls of boto3, which block, from triggers, which must not."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(function: Callable[[], T], executor: ThreadPoolExecutor | None = None) -> T:
    """Call a function in a thread.

    asgiref's threads, unlike asyncio's, can look up Airflow connections through the triggerer's loop. Without the
    shield it would put an error of its own in place of Airflow's CancelledError, whose text says that the task was
    killed: no on_kill for whoever is killed during a call.

    :param executor: whose threads; by default asyncio's few, which all triggers of the process share.
    """
    call = asyncio.ensure_future(sync_to_async(function, thread_sensitive=False, executor=executor)())
    call.add_done_callback(_note_error)
    return await asyncio.shield(call)


def _note_error(call: asyncio.Future[T]) -> None:
    # Whoever was cancelled takes no note of it, of which asyncio would complain.
    if not call.cancelled():
        call.exception()
