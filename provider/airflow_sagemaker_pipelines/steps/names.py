"""Names and tokens of what a step makes on AWS (section 9 of the AWS semantics), the same at every try.

A name is a function of the DAG run, the task and a generation number, so that a second submission meets the first
one's job instead of starting another.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_EXECUTION_ID_LENGTH = 12
_TOKEN_LENGTH = 10
#: SageMaker shows this many characters of a step's name in the name of its job …
_STEP_PREFIX = 20
#: … or this many where a name has at most 32 characters.
_SHORT_STEP_PREFIX = 7
LONG_NAME = 63
#: How many jobs of one task life are looked at before giving up.
MAX_GENERATIONS = 100
SHORT_NAME = 32


def digest(*parts: object, length: int) -> str:
    """Return lower-case alphanumerics that depend on all parts.

    :param parts: told apart by their ``repr``, so ``("a", "b")`` and ``("ab",)`` differ.
    :param length: how many characters, at most 40.
    """
    number = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest())
    characters = []
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "".join(characters)


def execution_id(dag_id: str, run_id: str, pipeline: str) -> str:
    """Return the id of a pipeline's execution in a DAG run: 12 lower-case alphanumerics, as SageMaker's are."""
    return digest("execution", dag_id, run_id, pipeline, length=_EXECUTION_ID_LENGTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskIdentity:
    """What tells one life of a task from every other.

    A life ends when somebody clears the task: what it made is then made anew. Retries by Airflow stay in the same
    life, and find what earlier tries made.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    life: int = 0
    execution_id: str
    step_name: str

    def name(
        self, generation: int, *, prefix: str | None = None, limit: int = LONG_NAME, token: str | None = None
    ) -> str:
        """Return the name of the job of one generation, unique and stable.

        ``pipelines-<execution id>-<step>-<token>[-<generation>]``, or ``<prefix>-<execution id>-<token>…`` when the
        definition gives a name, which SageMaker takes as a prefix.

        :param generation: how many earlier jobs of this life failed or were stopped.
        :param prefix: the name member in the step's arguments.
        :param limit: the most characters the name may have.
        :param token: instead of the one of this life, for names that tell what was made; always whole in the name.
        """
        if token and self.life:
            end = f"{token}-{self.life}x{generation}"
        else:
            end = f"{token or self.token('name')}{f'-{generation}' if generation else ''}"
        if prefix:
            return _fit(prefix, f"{self.execution_id}-{end}", limit)
        if limit < LONG_NAME:
            # "pipelines-" and the execution id do not both fit.
            return _fit(self.step_name[:_SHORT_STEP_PREFIX], end, limit, before=f"{self.execution_id}-")
        return _fit(self.step_name[:_STEP_PREFIX], end, limit, before=f"pipelines-{self.execution_id}-")

    def token(self, purpose: str, *, length: int = _TOKEN_LENGTH) -> str:
        """Return a token for one purpose, such as a ClientToken."""
        key = (self.dag_id, self.run_id, self.task_id, self.map_index, self.life)
        return digest(purpose, *key, length=length)


def _fit(readable: str, end: str, limit: int, *, before: str = "") -> str:
    """Put a name together, cutting its readable part where the whole would be too long."""
    # Names match [a-zA-Z0-9](-*[a-zA-Z0-9])*; step names may also hold underscores.
    clean = re.sub(r"[^a-zA-Z0-9-]", "-", readable)
    room = limit - len(before) - len(end) - 1
    clean = clean[:room].strip("-") if not before else clean[:room].rstrip("-")
    return f"{before}{clean}-{end}" if clean else f"{before}{end}"
