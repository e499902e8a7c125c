"""Names of executions, and of what their steps make."""

from __future__ import annotations

import re
import secrets
import string

from airflow_sagemaker_pipelines.definition import StepType

_ALPHABET = string.ascii_lowercase + string.digits
EXECUTION_ID_LENGTH = 12
TOKEN_LENGTH = 10

# Tuning and AutoML jobs have short names; of the step's, or of the author's prefix, little is left in them. The form
# without a prefix is from public notebooks, not from AWS's documentation.
_SHORT = frozenset({StepType.TUNING, StepType.AUTO_ML})
_LIMIT, _SHORT_LIMIT = 63, 32
_STEP_PREFIX, _SHORT_STEP_PREFIX = 20, 7
_AUTHORS_PREFIX, _SHORT_AUTHORS_PREFIX = 38, 6


def new_id(length: int = TOKEN_LENGTH) -> str:
    """Return a random name of lower-case letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def job_name(step: StepType, name: str, *, execution_id: str, prefix: str | None, failures: int) -> str:
    """Return the name of what a step makes: ``pipelines-<execution>-<step>-<token>[-<failures>]``.

    :param name: the step's name, of which the first 20 characters count.
    :param prefix: the name in the step's arguments, which takes the place of ``pipelines`` and of the step's name.
    :param failures: how many attempts have failed.
    """
    short = step in _SHORT
    if prefix:
        begin = [_legal(prefix[: _SHORT_AUTHORS_PREFIX if short else _AUTHORS_PREFIX]), execution_id]
    elif short:
        begin = [execution_id, _legal(name[:_SHORT_STEP_PREFIX])]
    else:
        begin = ["pipelines", execution_id, _legal(name[:_STEP_PREFIX])]
    end = f"-{failures}" if failures else ""
    limit = (_SHORT_LIMIT if short else _LIMIT) - len(end)
    return "-".join(filter(None, [*begin, new_id()]))[:limit].rstrip("-") + end


def _legal(text: str) -> str:
    # Step names may hold underscores, job names may not; AWS does not say what becomes of them.
    return re.sub(r"[^A-Za-z0-9-]", "-", text).strip("-")
