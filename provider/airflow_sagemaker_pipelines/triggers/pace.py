"""When to look at a job again: often while news is likely, seldom while it is not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

#: Seconds between two looks at something that has just begun, for each call that a look takes: a Describe, or a page of
#: a list, which is more work for AWS and tells of a hundred.
SHORTEST = 2.0
SHORTEST_PER_PAGE = 3.0
#: The part of a job's age after which it is looked at again: news is late by a few percent of what the job took.
_PART_OF_AGE = 0.07
#: The same of the time to the end that the job's last run lets expect, and of the time after it.
_PART_OF_REST = 0.2
#: Airflow 3.3 can lose a deferred task that resumes within about five seconds of the deferral (its scheduler takes it
#: for one that never ran; apache/airflow#66374, #71580). No event that resumes a task leaves earlier than this.
EARLIEST_RESUMPTION_SECONDS = 6.0
#: Seconds between two looks at what an event will tell of: so late comes the news of a lost one.
QUIET_INTERVAL = 300.0
#: So often in a row a look may be denied. When Airflow cannot look up the connection for a moment, the Amazon provider
#: takes boto3's own credentials instead, which may be somebody else's.
MOST_DENIALS = 6
#: Seconds before a call that failed is repeated, doubled with each failure, and the most.
_FIRST_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 60.0
_JITTER = 0.1
_MOST_REMEMBERED = 10_000


def interval(age: float, *, expected: float | None, poll_interval: float, shortest: float = SHORTEST) -> float:
    """Return the seconds until the next look.

    :param age: seconds since the job began.
    :param expected: seconds that it is expected to take, if that is known.
    :param poll_interval: the most seconds between two looks.
    :param shortest: the least seconds, which the number of calls that a look takes determines.
    """
    seconds = _PART_OF_AGE * age
    if expected is not None:
        seconds = min(seconds, _PART_OF_REST * abs(expected - age))
    return min(poll_interval, max(SHORTEST, shortest, seconds))


def back_off(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2.0 ** min(failures - 1, 16))


def jitter(seconds: float, draw: float) -> float:
    """Keep those who begin together from asking together.

    :param draw: a random number from 0 to 1.
    """
    return seconds * (1 + _JITTER * (2 * draw - 1))


class Durations:
    """How long things took the last time.

    Kept in memory: a triggerer that starts anew is only a little late with its first news.
    """

    def __init__(self) -> None:
        self._seconds: OrderedDict[Hashable, float] = OrderedDict()

    def note(self, key: Hashable, seconds: float) -> None:
        """Remember a duration, and forget the oldest of too many."""
        self._seconds[key] = seconds
        self._seconds.move_to_end(key)
        if len(self._seconds) > _MOST_REMEMBERED:
            self._seconds.popitem(last=False)

    def expected(self, key: Hashable) -> float | None:
        """Return the last duration."""
        return self._seconds.get(key)
