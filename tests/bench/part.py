"""What a part of the benchmarks has measured, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Value = float | int | str | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures, a column for each way of doing it."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Value]]

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [f"| {self.title} | {' | '.join(self.columns)} |", "|---" + "|--:" * len(self.columns) + "|"]
        lines += [f"| {name} | {' | '.join(shown(value) for value in values)} |" for name, values in self.rows.items()]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure must not exceed.

    :param counted: whether it is a count, the same in every run; one that is missed fails the benchmark. A time
        depends on the machine and only says so.
    """

    name: str
    value: float
    most: float
    counted: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it is."""
        return self.value <= self.most

    def markdown(self) -> str:
        """Return it as an item of a list."""
        verdict = "met" if self.is_met else "**MISSED**"
        return f"* {self.name}: {shown(self.value)}, at most {shown(self.most)}: {verdict}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The result of one part.

    :param how: what was done, in a sentence or two.
    """

    title: str
    how: str
    tables: Sequence[Table]
    targets: Sequence[Target] = field(default_factory=tuple)

    def markdown(self) -> str:
        """Return it as a section of a page."""
        targets = "\n".join(target.markdown() for target in self.targets)
        return "\n\n".join(filter(None, [self.how, *(table.markdown() for table in self.tables), targets]))


def shown(value: Value) -> str:
    """Return a figure as text, to three digits or so."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) < 10 else 1}f}" if abs(value) >= 0.1 or not value else f"{value:.4f}"


def ratio(ours: float, theirs: float) -> float | None:
    """Return ours in terms of theirs."""
    return ours / theirs if theirs else None
