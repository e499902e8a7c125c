"""A step's retry policies and cache configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from airflow_sagemaker_pipelines.definition.reader import ObjectReader, nearest


class ExceptionType(StrEnum):
    """What a retry policy can match."""

    SERVICE_FAULT = "Step.SERVICE_FAULT"
    THROTTLING = "Step.THROTTLING"
    JOB_INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"
    CAPACITY_ERROR = "SageMaker.CAPACITY_ERROR"
    RESOURCE_LIMIT = "SageMaker.RESOURCE_LIMIT"
    EMR_RESOURCE_LIMIT = "Emr.RESOURCE_LIMIT"


#: An old documentation text has this spelling for the capacity error.
_NAMES = frozenset(map(str, ExceptionType))
_ALIASES = {"SageMaker.JOB_CAPACITY_ERROR": ExceptionType.CAPACITY_ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When and how often a failed step is tried again."""

    exception_types: tuple[ExceptionType, ...]
    interval_seconds: int = 1
    """Delay before the first retry, in seconds."""
    backoff_rate: float = 2.0
    """Each further delay is this many times the one before."""
    max_attempts: int | None = 5
    """Number of retries; ``None`` when ``expire_after_minutes`` bounds them instead."""
    expire_after_minutes: int | None = None
    """No retry later than this many minutes after the step started."""


def read_retry_policies(step: ObjectReader) -> tuple[RetryPolicy, ...]:
    """Read ``RetryPolicies`` of a step, noting problems."""
    return tuple(
        _read_retry_policy(ObjectReader.of(node, at, step.problems)) for node, at in step.items("RetryPolicies")
    )


def _read_retry_policy(reader: ObjectReader) -> RetryPolicy:
    interval = reader.number("IntervalSeconds", low=0, high=43_200)
    backoff = reader.number("BackoffRate", low=0, whole=False)
    attempts = reader.number("MaxAttempts", low=0, high=20)
    minutes = reader.number("ExpireAfterMin", low=0, high=14_400)
    if reader.has("MaxAttempts") and reader.has("ExpireAfterMin"):
        reader.problem("ExpireAfterMin", "stands beside MaxAttempts", "Keep one of the two")
    return RetryPolicy(
        exception_types=_read_exception_types(reader),
        interval_seconds=1 if interval is None else int(interval),
        backoff_rate=2.0 if backoff is None else float(backoff),
        max_attempts=int(attempts) if attempts is not None else None if minutes is not None else 5,
        expire_after_minutes=None if minutes is None else int(minutes),
    )


def _read_exception_types(reader: ObjectReader) -> tuple[ExceptionType, ...]:
    value = reader.require("ExceptionType")
    # The SDKs write a list; the public schema has a bare string.
    names = value if isinstance(value, list) else [] if value is None else [value]
    types: list[ExceptionType] = []
    for name in names:
        if isinstance(name, str) and name in _ALIASES:
            types.append(_ALIASES[name])
        elif isinstance(name, str) and name in _NAMES:
            types.append(ExceptionType(name))
        else:
            reader.problem(
                "ExceptionType",
                f"'{str(name)[:80]}' is unknown",
                nearest(str(name)[:80], (*ExceptionType, *_ALIASES)),
            )
    return tuple(types)


#: Case does not matter and ``P`` may be missing: ``30d``, ``p30d``, ``T12H`` and ``P4DT12H`` are all documented.
_DURATION = re.compile(
    r"P?(?:(?P<years>\d{1,9})Y)?(?:(?P<months>\d{1,9})M)?(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Duration:
    """An ISO 8601 duration in calendar units."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: int = 0

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Parse a duration as ``ExpireAfter`` has it.

        :raises ValueError: if the text is no duration.
        """
        match = _DURATION.fullmatch(text)
        parts = {unit: int(number) for unit, number in match.groupdict().items() if number} if match else {}
        if not parts:
            raise ValueError(f"'{text[:80]}' is not a duration")
        return cls(**parts)

    def before(self, moment: datetime) -> datetime:
        """Return the time this long before a moment; years and months by the calendar.

        :returns: the earliest representable time when the duration reaches beyond it.
        """
        months = moment.year * 12 + (moment.month - 1) - (self.years * 12 + self.months)
        span = timedelta.max
        try:
            span = timedelta(
                weeks=self.weeks, days=self.days, hours=self.hours, minutes=self.minutes, seconds=self.seconds
            )
            first = moment.replace(day=1, year=months // 12, month=months % 12 + 1)
            return first + timedelta(days=min(moment.day, _days_in_month(first)) - 1) - span
        except (ValueError, OverflowError):
            return datetime.min.replace(tzinfo=moment.tzinfo)


def _days_in_month(first: datetime) -> int:
    return ((first + timedelta(days=31)).replace(day=1) - first).days


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """Whether and for how long a step's earlier result stands in for a new run."""

    enabled: bool = False
    expire_after: Duration | None = None
    """``None`` never expires: the SDK can emit ``{"Enabled": true}`` alone, and AWS does not say what that means."""


def read_cache_config(step: ObjectReader) -> CacheConfig:
    """Read ``CacheConfig`` of a step, noting problems."""
    reader = step.object("CacheConfig")
    enabled = reader.boolean("Enabled")
    text = reader.text("ExpireAfter")
    # Without caching the service ignores ExpireAfter, whatever it says.
    if text is None or not enabled:
        return CacheConfig(enabled=enabled)
    try:
        return CacheConfig(enabled=True, expire_after=Duration.parse(text))
    except ValueError as error:
        reader.problem("ExpireAfter", str(error), "Write one such as P30D, PT1H or 30d")
        return CacheConfig(enabled=True)
