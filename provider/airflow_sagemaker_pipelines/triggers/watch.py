"""Looks at everything of one kind that waits in this process, by as few calls as possible."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_sagemaker_pipelines.hooks.aws import AwsConnection, shared_clients
from airflow_sagemaker_pipelines.triggers import pace
from airflow_sagemaker_pipelines.triggers.events import EventQueue
from airflow_sagemaker_pipelines.triggers.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_sagemaker_pipelines.definition import StepType
    from airflow_sagemaker_pipelines.steps.runner import Handle, Listing, State

log = logging.getLogger(__name__)

#: The value of ``verdict`` in an event when the deadline has passed, and when AWS refuses to tell the state.
TIMED_OUT = "timed out"
REFUSED = "refused"

#: Seconds between two looks at what an event will tell of: so late comes the news of a lost one.
QUIET_INTERVAL = 300.0
#: Describe calls of one watch at the same time.
_AT_ONCE = 5
#: Seconds that news may wait for more: each costs a step of every task that waits.
_GATHERING = 0.5
#: So many failed List calls in a row are told to the tasks that wait.
_FAILURES_TO_TELL = 3

#: Looks hold threads of their own: asyncio's few are for the other triggers of the process.
_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="sagemaker-looks")
_durations = pace.Durations()

#: What a task is told in the end: the event, or the error that kept it from being made.
Outcome: TypeAlias = dict[str, Any] | Exception


@dataclass(eq=False, kw_only=True)
class Wait:
    """One task that waits.

    :param handle: what names the resource.
    :param poll_interval: the most seconds between two looks.
    :param since: Unix time at which the resource was started.
    :param deadline: Unix time after which waiting ends; ``None`` waits on.
    :param recurrence: what tells the same task in other runs: how long it took then is a hint.
    :param log: the trigger's, whose lines reach the task's log.
    """

    handle: Handle
    poll_interval: float
    since: float
    deadline: float | None = None
    recurrence: Hashable = None
    log: Any = log
    outcome: Outcome | None = None
    failures: int = 0
    next_look: float = 0.0
    """By the loop's clock, as is the next one."""
    not_before: float = 0.0
    """No Describe before this, even if there may be news."""
    event_key: str | None = None
    """What events call it; ``None`` if there are none about it."""
    woken_at: float | None = None
    is_looked_at: bool = False
    _context: Context = field(default_factory=copy_context)

    def say(self, message: str, *args: object) -> None:
        """Write to the task's log, which Airflow finds by the context in which the trigger runs."""
        self._context.run(self.log.warning, message, *args)

    @property
    def is_over_time(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.time() >= self.deadline

    def interval(self, shortest: float) -> float:
        """Return the seconds until the next look, if nothing happens."""
        began = self.woken_at or self.since
        expected = None if self.woken_at else _durations.expected(self.recurrence)
        return pace.interval(
            time.time() - began, expected=expected, poll_interval=self.poll_interval, shortest=shortest
        )


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
        self._may_list = True
        self._pages = 1
        self._not_before = 0.0
        self._failures = 0
        self._looks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._news_since: float | None = None

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
        wait.next_look = _now()
        self._changed.set()

    def _note_key(self, wait: Wait) -> None:
        if self._event_queue_url is not None:
            from airflow_sagemaker_pipelines.steps.events import event_key  # noqa: PLC0415

            wait.event_key = event_key(self._step_type, wait.handle)

    def leave(self, wait: Wait) -> None:
        """Look no more for a task."""
        self._waits.pop(wait, None)

    def hear(self, key: str) -> bool:
        """Look at once at what an event is about; return whether anybody here waits for it."""
        waits = [wait for wait in self._waits if wait.event_key == key]
        for wait in waits:
            wait.woken_at = time.time()
            wait.next_look = wait.not_before = _now()
            self._changed.set()
        return bool(waits)

    async def ends(self) -> AsyncIterator[Mapping[Wait, Outcome]]:
        """Look for ever; whenever something has ended, tell all that has and has not been taken note of."""
        with ExitStack() as listening:
            if self._event_queue_url is not None:
                heard = EventQueue.heard(self._event_queue_url, self._connection, self)
                self._events = listening.enter_context(heard)
            listening.callback(self._give_up_looks)
            while True:
                await self._until_due()
                await self._look()
                if self._is_time_to_tell():
                    self._news_since = None
                    yield {wait: wait.outcome for wait in self._waits if wait.outcome is not None}

    def _give_up_looks(self) -> None:
        for look in self._looks:
            look.cancel()

    @property
    def _active(self) -> list[Wait]:
        return [wait for wait in self._waits if wait.outcome is None]

    def _is_time_to_tell(self) -> bool:
        if self._news_since is None:
            return False
        return not self._looks or _now() - self._news_since >= _GATHERING

    async def _until_due(self) -> None:
        """Wait until somebody is due, or something has changed."""
        if (seconds := self._seconds_left()) == 0:
            # Others get their turn even if there is always something to do.
            await asyncio.sleep(0)
            return
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _seconds_left(self) -> float | None:
        now = _now()
        times = [now + _GATHERING] if self._news_since is not None else []
        for wait in self._active:
            if wait.is_looked_at:
                continue
            look = max(wait.next_look, self._not_before)
            if wait.deadline is not None:
                look = min(look, wait.deadline - time.time() + now)
            times.append(look)
        return max(0.0, min(times) - now) if times else None

    def _due(self, wait: Wait) -> bool:
        if wait.is_looked_at:
            return False
        # The look after the deadline is the last one, however it goes.
        return wait.is_over_time or max(wait.next_look, self._not_before) <= _now()

    async def _look(self) -> None:
        due = [wait for wait in self._active if self._due(wait)]
        asked = [wait for wait in due if wait.woken_at is None]
        # What an event tells of has ended, so no list has it.
        self._describe_all(wait for wait in due if wait.woken_at is not None)
        if asked and self._may_list and len(self._waits) > self._pages:
            asked = await self._not_in_progress(asked)
        self._describe_all(asked)

    async def _not_in_progress(self, due: list[Wait]) -> list[Wait]:
        """List, and return what must be described because the list does not have it."""
        active = self._active
        # Characters, not the parts of a path.
        prefix = commonprefix([str(wait.handle.get("name", "")) for wait in active])  # noqa: RUF071
        try:
            listing = await in_thread(partial(self._list, prefix), _threads)
        except Exception as error:  # noqa: BLE001 - it may not end all that wait; what is wrong with one, Describe tells
            self._listing_failed(error)
            # Who has no time left gets the last look in any case.
            return [wait for wait in due if wait.is_over_time]
        self._failures = 0
        if listing is None:
            self._may_list = False
            return due
        self._pages = listing.pages
        now, missing = _now(), []
        for wait in active:
            if wait.outcome is not None:
                continue
            if wait.handle.get("name") not in listing.names:
                if wait.not_before <= now or wait.is_over_time:
                    missing.append(wait)
            elif wait.is_over_time:
                self._end(wait, {"verdict": TIMED_OUT})
            else:
                # Once it is in the list no more, that is news.
                wait.not_before = 0.0
                self._look_later(wait)
        return missing

    def _list(self, prefix: str) -> Listing | None:
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415

        return runner_of(self._step_type).in_progress(shared_clients(self._connection), name_contains=prefix)

    def _listing_failed(self, error: Exception) -> None:
        """Do without the list for a while, or for ever if AWS refuses it."""
        from airflow_sagemaker_pipelines.steps.aws import is_transient  # noqa: PLC0415

        if not is_transient(error):
            log.warning("%s jobs cannot be listed, so each is described: %s", self._step_type, error)
            self._may_list = False
            return
        self._failures += 1
        seconds = pace.back_off(self._failures)
        self._not_before = _now() + pace.jitter(seconds, random.random())  # noqa: S311
        if self._failures == _FAILURES_TO_TELL:
            for wait in self._active:
                wait.say("AWS does not tell the state of jobs, asking again every %g s or sooner: %s", seconds, error)

    def _look_later(self, wait: Wait) -> None:
        calls = min(self._pages, len(self._waits)) if self._may_list else len(self._waits)
        # Without a limit, many young waits would ask for more calls than AWS likes.
        seconds = wait.interval(shortest=calls * pace.SHORTEST)
        is_told = self._events is not None and not self._events.is_deaf and wait.event_key is not None
        if is_told and wait.woken_at is None:
            seconds = QUIET_INTERVAL
        wait.next_look = _now() + pace.jitter(seconds, random.random())  # noqa: S311

    def _describe_all(self, waits: Iterable[Wait]) -> None:
        for wait in waits:
            if wait.is_looked_at:
                continue
            wait.is_looked_at = True
            look = asyncio.get_running_loop().create_task(self._look_at(wait))
            self._looks.add(look)
            look.add_done_callback(partial(self._looked_at, wait))

    def _looked_at(self, wait: Wait, look: asyncio.Task[None]) -> None:
        wait.is_looked_at = False
        self._looks.discard(look)
        self._changed.set()

    async def _look_at(self, wait: Wait) -> None:
        async with self._slots:
            if wait not in self._waits:
                return
            outcome = await self._outcome(wait)
        if outcome is None and wait.is_over_time:
            outcome = {"verdict": TIMED_OUT}
        if outcome is not None:
            self._end(wait, outcome)

    async def _outcome(self, wait: Wait) -> Outcome | None:
        try:
            event, wait.handle = await in_thread(partial(self._ask, wait.handle), _threads)
        except Exception as error:  # noqa: BLE001 - it fails the task that waits, not all that do
            return self._describing_failed(wait, error)
        wait.failures = 0
        if event is None:
            self._note_key(wait)
            self._look_later(wait)
            wait.not_before = wait.next_look
        return event

    def _ask(self, handle: Handle) -> tuple[dict[str, Any] | None, Handle]:
        """Describe it; return the event if it has ended, and what names it from now on."""
        from airflow_sagemaker_pipelines.steps.registry import runner_of  # noqa: PLC0415
        from airflow_sagemaker_pipelines.steps.status import Verdict  # noqa: PLC0415

        runner, clients = runner_of(self._step_type), shared_clients(self._connection)
        state: State = runner.poll(clients, handle)
        if not state.verdict.is_final:
            return None, state.handle
        outputs = runner.outputs(clients, state) if state.verdict is Verdict.SUCCEEDED else None
        return {"verdict": str(state.verdict), "reason": state.reason, "outputs": outputs}, state.handle

    def _describing_failed(self, wait: Wait, error: Exception) -> Outcome | None:
        """Look again later; or return how the wait ends if that is of no use."""
        from airflow_sagemaker_pipelines.steps.aws import (  # noqa: PLC0415
            AWS_ERRORS,
            error_message,
            is_throttled,
            is_transient,
        )

        if not isinstance(error, AWS_ERRORS):
            return error
        if not is_transient(error):
            return {"verdict": REFUSED, "reason": error_message(error)}
        wait.failures += 1
        seconds = pace.jitter(pace.back_off(wait.failures), random.random())  # noqa: S311
        wait.next_look = wait.not_before = _now() + seconds
        if is_throttled(error):
            self._not_before = max(self._not_before, wait.next_look)
        wait.say("AWS did not tell the state of %s, asking again in %.0f s: %s", wait.handle, seconds, error)
        return None

    def _end(self, wait: Wait, outcome: Outcome) -> None:
        wait.outcome = outcome
        if isinstance(outcome, dict) and outcome.get("outputs") is not None:
            _durations.note(wait.recurrence, time.time() - wait.since)
        if self._news_since is None:
            self._news_since = _now()


def _now() -> float:
    return asyncio.get_running_loop().time()
