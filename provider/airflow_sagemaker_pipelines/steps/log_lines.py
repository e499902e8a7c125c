"""Lines of a job's log, made harmless: whoever writes a job's code decides what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: What the message of a failed step shows of its log.
EXCERPT_CHARACTERS = 4000
_EXCERPT_LINE_CHARACTERS = 500

#: Sequences that move a terminal's cursor, colour its text or set its title.
_ESCAPE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")
#: Other characters that are no text: controls but for the tab, marks that turn the direction of reading, and halves of
#: surrogate pairs, which no file can hold.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: Wherever they stand in a line, Airflow's UI folds what is between these.
_GROUP = re.compile("::(group|endgroup)::")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line, harmless to show. As text it is ``[algo-1 12:03:04Z] …``: who wrote it, and when.

    :param host: which instance wrote it, such as ``algo-1``.
    :param timestamp: when, in milliseconds of Unix time.
    :param text: the line, without line breaks and control characters.
    """

    host: str
    timestamp: int
    text: str

    def __str__(self) -> str:
        moment = datetime.fromtimestamp(self.timestamp / 1000, UTC)
        return f"[{self.host} {moment:%H:%M:%S}Z] {self.text}"


def lines_of(host: str, event: Mapping[str, Any]) -> list[LogLine]:
    """Return the lines of a CloudWatch event, which may have several; blank ones are left out.

    :param host: which instance wrote it.
    """
    texts = (clean(text) for text in str(event.get("message", "")).splitlines())
    return [LogLine(host=clean(host), timestamp=event["timestamp"], text=text) for text in texts if text.strip()]


def clean(text: str) -> str:
    """Return text that can neither forge lines nor steer the terminal or UI that shows it."""
    return _GROUP.sub(r": :\1: :", _CONTROL.sub("", _ESCAPE.sub("", text)))


def excerpt(lines: Iterable[LogLine], *, characters: int = EXCERPT_CHARACTERS) -> str:
    """Return the last lines as one text, for an error's message.

    :param characters: the most it may have; whole lines are left out from the beginning, long ones are cut.
    """
    shown: list[str] = []
    for line in reversed([*lines]):
        text = _cut(str(line), min(_EXCERPT_LINE_CHARACTERS, characters))
        characters -= len(text) + bool(shown)
        if characters < 0:
            break
        shown.append(text)
    return "\n".join(reversed(shown))


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
