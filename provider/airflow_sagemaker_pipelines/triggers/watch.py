"""Looks at everything of one kind that waits in this process, by as few calls as possible."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Coroutine, Hashable
from contextlib import ExitStack
from functools import partial
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, forget_shared_clients
from airflow_sagemaker_pipelines.triggers import looks, pace
from airflow_sagemaker_pipelines.triggers.events import EventQueue
from airflow_sagemaker_pipelines.triggers.threads import in_thread
from airflow_sagemaker_pipelines.triggers.wait import REFUSED, TIMED_OUT, Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_sagemaker_pipelines.definition import StepType
    from airflow_sagemaker_pipelines.steps.runner import Handle, Listing

log = logging.getLogger(__name__)

#: Describe calls of one watch at the same time.
_AT_ONCE = 8
#: Seconds between two turns, in each of which every wait costs a step.
_TURN_SECONDS = 0.1
#: So many failed List calls in a row are told to the tasks that wait.
_FAILURES_TO_TELL = 3
#: Seconds until a List call that AWS has refused is tried again: somebody may have permitted it.
_REFUSED_LIST_SECONDS = 3600.0


class Watch:
    """The one loop that looks for all waits on things of one step type, by one connection.

    One List call tells of a hundred jobs that they are still in progress; only what is missing in it is described.
    A few waits are cheaper to describe each, and so are those on what cannot be listed.

    :param step_type: the step type of what is waited for.
    :param connection: how to reach AWS.
    :param event_queue_url: the queue that tells what may have ended; looks are few then.
    """

    #: Those that triggers share, by what they have in common.
    _shared: dict[Hashable, Watch] = {}  # noqa: RUF012

    def __init__(self, step_type: StepType, connection: AwsConnection, *, event_queue_url: str | None = None) -> None:
        self._step_type = step_type
        self._connection = connection
        self._event_queue_url = event_queue_url
        self._events: EventQueue | None = None
        self._waits: dict[Wait, None] = {}
        self._changed = asyncio.Event()
        self._is_listing = False
        self._lists_from = 0.0
        self._pages = 1
        self._not_before = 0.0
        self._failures = 0
        self._looks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    def shared(cls, key: Hashable, make: Callable[[], Watch]) -> Watch:
        """Return the watch of all triggers of this process's loop that have a key in common.

        :param make: makes the first of them.
        """
        whole = (asyncio.get_running_loop(), key)
        if whole not in cls._shared:
            cls._shared[whole] = make()
        return cls._shared[whole]

    def join(self, wait: Wait) -> None:
        """Begin to look for a task."""
        self._waits[wait] = None
        self._note_key(wait)
        # The event may have come before.
        wait.is_new = wait.event_key is not None
        # A list is for all: it does not begin anew with every one that joins.
        if self._lists and not wait.is_new:
            self._look_later(wait)
        else:
            wait.next_look = _now()
        self._changed.set()

    def leave(self, wait: Wait) -> None:
        """Look no more for a task."""
        self._waits.pop(wait, None)

    def hear(self, key: str) -> bool:
        """Look at once at what an event is about; return whether anybody here waits for it."""
        waits = [wait for wait in self._waits if wait.event_key == key]
        for wait in waits:
            wait.wake(_now())
            self._changed.set()
        return bool(waits)

    def notice(self) -> None:
        """Poll as usual if there are no events any more."""
        self._changed.set()

    async def look_for_all(self) -> None:
        """Look for ever; each wait is told of its end."""
        with ExitStack() as listening:
            if self._event_queue_url is not None:
                heard = EventQueue.heard(self._event_queue_url, self._connection, self)
                self._events = listening.enter_context(heard)
            listening.callback(self._give_up_looks)
            while True:
                await self._until_due()
                self._look()
                await asyncio.sleep(_TURN_SECONDS)

    def _give_up_looks(self) -> None:
        for look in self._looks:
            look.cancel()

    @property
    def _active(self) -> list[Wait]:
        return [wait for wait in self._waits if wait.outcome is None]

    @property
    def _lists(self) -> bool:
        """Whether a list takes fewer calls than the waits have resources."""
        return self._lists_from <= _now() and len(self._waits) > self._pages

    def _note_key(self, wait: Wait) -> None:
        if self._event_queue_url is not None:
            from airflow_sagemaker_pipelines.steps.events import event_key  # noqa: PLC0415

            wait.event_key = event_key(self._step_type, wait.handle)

    async def _until_due(self) -> None:
        """Wait until somebody is due, or something has changed."""
        now = _now()
        soonest = min((self._due_at(wait) for wait in self._active), default=math.inf)
        if soonest <= now:
            return
        self._changed.clear()
        try:
            async with asyncio.timeout(None if soonest == math.inf else soonest - now):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _due_at(self, wait: Wait) -> float:
        """Return when a wait is looked at next."""
        if wait.is_looked_at:
            return math.inf
        look = wait.quiet_until if self._is_told_of(wait) else wait.next_look
        look = max(look, wait.not_before, self._not_before)
        if self._is_listing and not wait.is_awake:
            look = math.inf
        # The look after the deadline is the last one, however it goes.
        return min(look, _now() + wait.seconds_left)

    def _look(self) -> None:
        now = _now()
        due = [wait for wait in self._active if self._due_at(wait) <= now]
        lists, listed = self._lists, list[Wait]()
        for wait in due:
            # What an event tells of has ended, so no list has it.
            if lists and not (wait.is_awake or wait.is_over_time or wait.is_new):
                listed.append(wait)
            else:
                self._describe(wait)
        if listed:
            self._is_listing = True
            self._begin(self._list())

    def _begin(self, look: Coroutine[Any, Any, None]) -> None:
        """Make a call without waiting for it: one that hangs must not hold up the others."""
        task = asyncio.get_running_loop().create_task(look)
        self._looks.add(task)
        task.add_done_callback(self._looked)

    def _looked(self, look: asyncio.Task[None]) -> None:
        self._looks.discard(look)
        self._changed.set()

    async def _list(self) -> None:
        """List, and describe what the list does not have."""
        # Characters, not the parts of a path.
        prefix = commonprefix([str(wait.handle.get("name", "")) for wait in self._active])  # noqa: RUF071
        call = partial(looks.list_in_progress, self._step_type, self._connection, prefix)
        try:
            listing = await in_thread(call, looks.THREADS)
        except Exception as error:  # noqa: BLE001 - it may not end all that wait; what is wrong with one, Describe tells
            self._listing_failed(error)
        else:
            self._failures = 0
            for wait in self._missing(listing):
                self._describe(wait)
        finally:
            self._is_listing = False

    def _missing(self, listing: Listing | None) -> list[Wait]:
        if listing is None:
            self._lists_from = math.inf
            return []
        self._pages = listing.pages
        now, missing = _now(), []
        for wait in self._active:
            if wait.handle.get("name") in listing.names:
                # Once it is in the list no more, that is news.
                wait.not_before = 0.0
                self._look_later(wait)
            elif wait.not_before <= now:
                missing.append(wait)
        return missing

    def _listing_failed(self, error: Exception) -> None:
        """Do without the list for a while."""
        from airflow_sagemaker_pipelines.steps.aws import is_transient  # noqa: PLC0415

        if not is_transient(error):
            log.warning("%s jobs cannot be listed, so each is described: %s", self._step_type, error)
            self._lists_from = _now() + _REFUSED_LIST_SECONDS
            return
        self._failures += 1
        seconds = pace.back_off(self._failures)
        self._not_before = _now() + pace.jitter(seconds, random.random())  # noqa: S311
        if self._failures == _FAILURES_TO_TELL:
            for wait in self._active:
                wait.say("AWS does not tell the state of jobs, asking again every %g s or sooner: %s", seconds, error)

    def _look_later(self, wait: Wait) -> None:
        # Without a limit, many young waits would ask for more calls than AWS likes.
        shortest = self._pages * pace.SHORTEST_PER_PAGE if self._lists else len(self._waits) * pace.SHORTEST
        seconds = wait.interval(shortest=shortest)
        wait.next_look = _now() + pace.jitter(seconds, random.random())  # noqa: S311
        wait.quiet_until = _now() + pace.jitter(pace.QUIET_INTERVAL, random.random())  # noqa: S311

    def _is_told_of(self, wait: Wait) -> bool:
        """Whether an event will tell of it, so that looking now and then is enough."""
        return wait.event_key is not None and self._hears and not wait.is_awake

    @property
    def _hears(self) -> bool:
        return self._events is not None and not self._events.is_deaf

    def _describe(self, wait: Wait) -> None:
        if not wait.is_looked_at:
            wait.is_looked_at = True
            self._begin(self._look_at(wait))

    async def _look_at(self, wait: Wait) -> None:
        try:
            async with self._slots:
                outcome = await self._outcome(wait) if wait in self._waits else None
        finally:
            wait.is_looked_at = False
        if outcome is None and wait.is_over_time:
            outcome = {"verdict": TIMED_OUT}
        if outcome is not None:
            wait.end(outcome)

    def ask(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Ask AWS for the outcome of one wait; it blocks.

        :returns: ``None`` while there is none, and what names the resource from now on.
        """
        return looks.describe(self._step_type, self._connection, handle)

    async def _outcome(self, wait: Wait) -> Outcome | None:
        try:
            event, wait.handle = await in_thread(partial(self.ask, wait.handle), looks.THREADS)
        except Exception as error:  # noqa: BLE001 - it fails the task that waits, not all that do
            return self._describing_failed(wait, error)
        wait.failures = wait.denials = 0
        wait.is_new = False
        if event is None:
            self._note_key(wait)
            self._look_later(wait)
            wait.not_before = wait.next_look
        return event

    def _describing_failed(self, wait: Wait, error: Exception) -> Outcome | None:
        """Look again later; or return how the wait ends if that is of no use."""
        from airflow_sagemaker_pipelines.steps import aws  # noqa: PLC0415

        if not isinstance(error, aws.AWS_ERRORS):
            return error
        if aws.is_denied(error):
            wait.denials += 1
            forget_shared_clients()
        may_pass = aws.is_transient(error) or 0 < wait.denials < pace.MOST_DENIALS
        if not may_pass:
            return {"verdict": REFUSED, "reason": aws.error_message(error)}
        wait.failures += 1
        seconds = pace.jitter(pace.back_off(wait.failures), random.random())  # noqa: S311
        wait.next_look = wait.not_before = _now() + seconds
        if aws.is_throttled(error):
            self._not_before = max(self._not_before, wait.next_look)
        wait.say("AWS did not tell the state of %s, asking again in %.0f s: %s", wait.handle, seconds, error)
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()
