"""What is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

#: The way from the document's root to a value: member names and list indexes.
Location: TypeAlias = tuple[str | int, ...]

_SHOWN_PROBLEMS = 50


def json_path(location: Location) -> str:
    """Write a location as a JSON path, ``$.Steps[0].Arguments['odd key']``."""
    parts = ["$"]
    for key in location:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif key.replace("_", "").replace("-", "").isalnum():
            parts.append(f".{key}")
        else:
            parts.append(f"[{key!r}]")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    where: str
    """A JSON path, or the name of the parameter or source."""
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.fix}."


class ProblemsError(ValueError):
    """Everything that is wrong with one input, reported at once.

    :param problems: at least one problem.
    """

    title = "The input has problems"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{self.title} ({count} problem{'s' if count != 1 else ''}):"]
        lines += [f"  - {problem}" for problem in self.problems[:_SHOWN_PROBLEMS]]
        if count > _SHOWN_PROBLEMS:
            lines.append(f"  … and {count - _SHOWN_PROBLEMS} more")
        return "\n".join(lines)


class PipelineDefinitionError(ProblemsError):
    """A pipeline definition cannot be used; ``problems`` lists every reason with its JSON path."""

    title = "The pipeline definition cannot be used"


class PipelineParameterError(ProblemsError):
    """The values for an execution's parameters cannot be used; ``problems`` lists every reason."""

    title = "The pipeline parameters cannot be used"


class StepSelectionError(ProblemsError):
    """The steps selected for an execution do not fit together (section 10.8 of the AWS semantics)."""

    title = "The selected steps cannot run alone"


class ExpressionError(ValueError):
    """An expression has no value in this execution: a member is absent, a file unreadable, types do not match."""
