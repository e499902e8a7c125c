"""What a job writes to CloudWatch Logs: its last lines when it has failed, its new ones while it runs.

A log is worth having, but never a wait: nothing here raises what AWS answers. What cannot be read is said in a note.

Two ways to read, for two purposes:

* The last lines are few, and the streams are many in a distributed job. One DescribeLogStreams finds them, then one
  GetLogEvents from the end of each of at most four.
* New lines are asked for again and again. One FilterLogEvents answers for all streams of a job, by the prefix that
  they share, those included that appear later; GetLogEvents would take one call for each, and DescribeLogStreams to
  find them. AWS grants an account 5 FilterLogEvents per second in a region (10 GetLogEvents), and raises neither for
  the asking: :class:`Turns` keeps a process well below that, however many jobs it watches.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_sagemaker_pipelines.steps.aws import AWS_ERRORS, Clients, error_code, is_denied, is_transient, required
from airflow_sagemaker_pipelines.steps.log_lines import LogLine, clean, lines_of
from airflow_sagemaker_pipelines.steps.runner import Handle, StepRunner

#: What the message of a failed step shows of its log.
TAIL_LINES = 20
#: Of how many streams the last lines are read.
_TAIL_STREAMS = 4
#: AWS may answer with an empty page although there are lines before it.
_TAIL_PAGES = 3

#: One look at new lines makes at most so many calls, each for at most so many events.
_LOOK_PAGES = 5
_PAGE_EVENTS = 2000
#: A line may appear this much later than lines with a later time: instances send theirs in batches, each on its own.
_LATE_MILLISECONDS = 60_000
#: Of how many events the ids are kept, to tell late lines from known ones: no more than a look can read again. Fewer
#: are handed on to another process.
_REMEMBERED = 5000
_HANDED_ON = 1000

_MISSING = "ResourceNotFoundException"
_STALE_TOKEN = "InvalidParameterException"  # noqa: S105 - an error code
_TAIL_PERMISSIONS = ("logs:DescribeLogStreams", "logs:GetLogEvents")
_TUNING_PERMISSIONS = ("sagemaker:ListTrainingJobsForHyperParameterTuningJob", *_TAIL_PERMISSIONS)
_LOOK_PERMISSIONS = ("logs:FilterLogEvents",)

#: The time at which an instance began, at the end of its name.
_EPOCH = re.compile(r"-\d{9,}(?=/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """Where a job writes.

    :param group: the log group.
    :param prefix: what the names of the job's streams begin with.
    :param tuning_job: the tuning job whose training jobs write there.
    """

    group: str
    prefix: str
    tuning_job: str | None = None

    def owns(self, stream: str) -> bool:
        """Whether a stream is the job's. A tuning job's prefix may also begin the name of a stranger."""
        if not stream.startswith(self.prefix):
            return False
        # <tuning job>-<number>-<hexadecimal>/algo-…
        return self.tuning_job is None or re.match(r"\d+-[0-9a-f]+/", stream[len(self.prefix) :]) is not None

    def host(self, stream: str) -> str:
        """Return what tells the job's streams apart: ``algo-1`` of ``<job>/algo-1-1700000000``."""
        return clean(_EPOCH.sub("", stream.removeprefix(self.prefix)))


def log_source(runner: StepRunner, handle: Handle) -> LogSource | None:
    """Return where the job of a step writes, ``None`` for what has no log in CloudWatch.

    These have: training, processing (also of checks), transform and tuning jobs, by the developer guide's "Log groups
    and streams". EMR writes to S3, an AutoML job into the logs of jobs whose names AWS does not promise, and the
    streams of a Lambda function do not tell its invocations apart.
    """
    group, name = getattr(runner, "log_group", None), handle.get("name")
    if not group or not name:
        return None
    if getattr(runner, "logs_of_children", False):
        return LogSource(group=group, prefix=f"{name}-", tuning_job=name)
    return LogSource(group=group, prefix=f"{name}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRead:
    """What was read.

    :param lines: oldest first.
    :param note: why there is not more, for people.
    """

    lines: tuple[LogLine, ...] = ()
    note: str | None = None

    def write(self, log: logging.Logger | Any) -> None:
        """Write it to a task's log, the note as a warning."""
        for line in self.lines:
            log.info("%s", line)
        if self.note:
            log.warning("%s", self.note)


def tail(clients: Clients, source: LogSource, *, lines: int = TAIL_LINES, reason: str | None = None) -> LogRead:
    """Return the last lines that a job has written, in the order of time over all its instances.

    Of a tuning job these are the lines of its latest failed training job. Mostly it takes two
    calls, and six at most as long as AWS has no empty pages.

    :param lines: how many.
    :param reason: why the job failed: the log of an instance that it names comes first.
    """
    try:
        return _tail(clients, source, lines, reason)
    except AWS_ERRORS as error:
        permissions = _TUNING_PERMISSIONS if source.tuning_job else _TAIL_PERMISSIONS
        return LogRead(note=_note(source, error, permissions))


class LogStream:
    """Reads a job's new lines, look by look.

    No line comes twice, and none is lost: what one look leaves, because there is too much of it, comes at the next.
    Only a line that arrives more than a minute, or 5,000 lines, later than what was written after it is not found.

    :param source: where the job writes.
    :param since: Unix time before which lines are not wanted, such as the job's creation. It keeps AWS from searching
        the whole group.
    :param position: the :attr:`position` of an earlier one, which this one continues.
    """

    def __init__(self, source: LogSource, *, since: float, position: Mapping[str, Any] | None = None) -> None:
        self.source = source
        position = position or {}
        self._start: int = position.get("start", int(since * 1000))
        self._seen: dict[str, int] = dict(position.get("seen", {}))
        self._pending: dict[str, Any] | None = position.get("pending")
        self._refused: bool = position.get("refused", False)

    @property
    def position(self) -> dict[str, Any]:
        """What is needed to go on elsewhere, as JSON; with the ids of a thousand lines it has some 80 kB."""
        start, seen = _recent(self._start, self._seen, most=_HANDED_ON)
        return {"start": start, "seen": seen, "pending": self._pending, "refused": self._refused}

    @property
    def is_behind(self) -> bool:
        """Whether the last look left lines for the next."""
        return self._pending is not None

    def read(self, clients: Clients) -> LogRead:
        """Return the lines that are new, at most 10,000 events, by at most 5 calls; mostly one.

        When AWS is busy there are none, and no note: they come at the next look. When it refuses, the note says so
        once, and nothing is asked any more.
        """
        events: list[Mapping[str, Any]] = []
        note = None
        if not self._refused:
            try:
                self._look(clients, events)
            except AWS_ERRORS as error:
                note = self._refusal(error)
        self._start, self._seen = _recent(self._start, self._seen, most=_REMEMBERED)
        events.sort(key=lambda event: int(event["timestamp"]))
        return LogRead(
            lines=tuple(line for event in events for line in lines_of(self.source.host(event["logStreamName"]), event)),
            note=note,
        )

    def _look(self, clients: Clients, events: list[Mapping[str, Any]]) -> None:
        """Collect new events; what was collected before an error stays."""
        logs = clients("logs")
        request: dict[str, Any] = self._pending or {"startTime": self._start}
        for _ in range(_LOOK_PAGES):
            page = logs.filter_log_events(
                logGroupName=self.source.group,
                logStreamNamePrefix=self.source.prefix,
                limit=_PAGE_EVENTS,
                **request,
            )
            for event in required(page, "events", "FilterLogEvents"):
                if event["eventId"] not in self._seen and self.source.owns(event["logStreamName"]):
                    self._seen[event["eventId"]] = event["timestamp"]
                    events.append(event)
            # An empty page is not the last one as long as it has a token.
            token = page.get("nextToken")
            if not token:
                self._pending = None
                return
            self._pending = request = {"startTime": request["startTime"], "nextToken": token}

    def _refusal(self, error: Exception) -> str | None:
        """Return what to say of an error; most are over at the next look."""
        code = error_code(error)
        if code == _STALE_TOKEN and self._pending is not None:
            # Tokens are good for 24 hours.
            self._pending = None
            return None
        # The group and the streams appear with the first line of the first job.
        if code == _MISSING or is_transient(error):
            return None
        self._refused = True
        return _note(self.source, error, _LOOK_PERMISSIONS)


class Turns:
    """Spreads looks over time, so that many jobs together stay below AWS's limit. Threads may share it.

    :param per_second: how many turns a second has. The default leaves room in AWS's 5 for another process, and for
        people.
    :param clock: tells the time in seconds.
    """

    def __init__(self, per_second: float = 2.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / per_second
        self._clock = clock
        self._next = clock()
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take the next turn that is free; return how many seconds it is away."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._interval
            return turn - now


def _recent(start: int, seen: Mapping[str, int], *, most: int) -> tuple[int, dict[str, int]]:
    """Return the time from which lines may still come late, and the ids of known events since then."""
    if not seen:
        return start, {}
    events = sorted(seen.items(), key=lambda event: event[1])
    latest = events[-1][1]
    start = max(start, latest - _LATE_MILLISECONDS)
    if len(events) > most:
        # Not beyond the latest millisecond: the next page may begin within it.
        start = max(start, min(events[-most - 1][1] + 1, latest))
    return start, {event_id: timestamp for event_id, timestamp in events if timestamp >= start}


def _tail(clients: Clients, source: LogSource, count: int, reason: str | None) -> LogRead:
    prefix = source.prefix
    if source.tuning_job:
        child = _failed_child(clients, source.tuning_job)
        if child is None:
            return LogRead(note="No training job of the tuning job has failed")
        prefix = f"{child}/"
    logs = clients("logs")
    streams = _most_telling(source, _streams(logs, source.group, prefix), reason)
    if not streams:
        return LogRead(note=f"The job has written nothing to {source.group}")
    events = [
        (source.host(stream), event) for stream in streams for event in _last_events(logs, source.group, stream, count)
    ]
    events.sort(key=lambda pair: int(pair[1]["timestamp"]))
    lines = [line for host, event in events for line in lines_of(host, event)]
    return LogRead(lines=tuple(lines[-count:]))


def _failed_child(clients: Clients, tuning_job: str) -> str | None:
    answer = clients("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning_job,
        StatusEquals="Failed",
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=1,
    )
    jobs = required(answer, "TrainingJobSummaries", "ListTrainingJobsForHyperParameterTuningJob")
    return next((str(job["TrainingJobName"]) for job in jobs), None)


def _streams(logs: Any, group: str, prefix: str) -> Sequence[Mapping[str, Any]]:
    try:
        answer = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)
    except AWS_ERRORS as error:
        if error_code(error) == _MISSING:
            return ()
        raise
    streams: Sequence[Mapping[str, Any]] = required(answer, "logStreams", "DescribeLogStreams")
    return streams


def _most_telling(source: LogSource, streams: Iterable[Mapping[str, Any]], reason: str | None) -> list[str]:
    """Return the streams to read: of instances that the reason names, then those that wrote last.

    AWS may tell that time an hour late, so it decides only where there are too many streams.
    """

    def rank(stream: Mapping[str, Any]) -> tuple[bool, int]:
        host = re.escape(source.host(stream["logStreamName"]).rpartition("/")[2])
        return re.search(rf"(?<!\w){host}(?!\w)", reason or "") is not None, stream.get("lastEventTimestamp", 0)

    return [stream["logStreamName"] for stream in sorted(streams, key=rank, reverse=True)[:_TAIL_STREAMS]]


def _last_events(logs: Any, group: str, stream: str, count: int) -> Sequence[Mapping[str, Any]]:
    request: dict[str, Any] = {}
    for _ in range(_TAIL_PAGES):
        page = logs.get_log_events(
            logGroupName=group, logStreamName=stream, limit=count, startFromHead=False, **request
        )
        events: Sequence[Mapping[str, Any]] = required(page, "events", "GetLogEvents")
        token = page.get("nextBackwardToken")
        if events or token in {None, request.get("nextToken")}:
            return events
        request = {"nextToken": token}
    return ()


def _note(source: LogSource, error: Exception, permissions: Sequence[str]) -> str:
    note = f"The job's log in {source.group} cannot be read: {clean(str(error))}"
    if is_denied(error):
        note += f" (the connection's role needs {', '.join(permissions)})"
    return note
