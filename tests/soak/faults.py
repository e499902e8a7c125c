"""The faults that strike a share of all answers, each kind as often as any other."""

from __future__ import annotations

from typing import Any

#: Longer than the clients wait, see ``airflow.CLIENT``.
_NO_ANSWER_SECONDS = 4.0

#: A file that is cut off together with its length is another file, and nobody can tell; on the way from S3 to a client
#: TLS rules that out. Answers of APIs are told by what they lack.
_NO_FILE = "(?!GetObject$).*"

KINDS: tuple[dict[str, Any], ...] = (
    {"fault": "throttle"},
    {"fault": "internal"},
    {"fault": "unavailable"},
    {"fault": "timeout", "seconds": _NO_ANSWER_SECONDS},
    {"fault": "reset"},
    {"fault": "truncate", "content_length": "full"},
    {"fault": "truncate", "content_length": "cut", "operation": _NO_FILE},
    {"fault": "truncate", "content_length": "cut", "keep": 0.0, "operation": _NO_FILE},
    {"fault": "latency", "seconds": 1.0},
    # Done, and the answer is lost.
    {"fault": "timeout", "seconds": _NO_ANSWER_SECONDS, "after": True},
    {"fault": "reset", "after": True},
    {"fault": "internal", "after": True},
)


def faults(rate: float, seed: int) -> list[dict[str, Any]]:
    """Return the faults for the endpoint.

    :param rate: the share of all answers that any of them strikes.
    """
    each = 1 - (1 - rate) ** (1 / len(KINDS))
    return [kind | {"rate": each, "seed": seed} for kind in KINDS]


def name(fault: dict[str, Any]) -> str:
    """Return what the report calls a kind."""
    words = [fault["fault"]]
    if fault["fault"] == "truncate":
        words.append(f"{fault['content_length']} length, {fault.get('keep', 0.5):g} kept")
    return " ".join([*words, "after it was done"] if fault.get("after") else words)
