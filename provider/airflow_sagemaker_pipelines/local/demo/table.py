"""The run as a live table, or as a line for each change where nobody can see a table live."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from airflow_sagemaker_pipelines.local.demo.rows import Row

STYLES = {
    "success": "green",
    "failed": "bold red",
    "upstream_failed": "red",
    "skipped": "magenta",
    "running in AWS": "bold cyan",
    "running": "cyan",
    "up_for_retry": "yellow",
}
REFRESHES_PER_SECOND = 4


class RunView(Protocol):
    """Something that shows the rows of a run, again and again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, rows: Sequence[Row]) -> None:
        """Show the present rows."""


def run_view(console: Console) -> RunView:
    """A live table on a terminal; lines in a pipe or a log."""
    return LiveTable(console) if console.is_terminal else ChangeLines(console)


def run_table(rows: Sequence[Row]) -> Table:
    """The rows as a table."""
    table = Table(header_style="bold", pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=len("running in AWS"))
    table.add_column("duration", justify="right", no_wrap=True, min_width=8)
    table.add_column("SageMaker resource", overflow="fold")
    for row in rows:
        style = STYLES.get(row.state, "dim")
        table.add_row(Text(row.task_id), Text(row.state, style=style), row.duration, Text(row.resource))
    return table


class LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(run_table([]), console=console, refresh_per_second=REFRESHES_PER_SECOND, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Redraw."""
        self._live.update(run_table(rows))


class ChangeLines:
    """A line for each change of a step's state, and the table once at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, str] = {}
        self._rows: Sequence[Row] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._console.print(run_table(self._rows))

    def show(self, rows: Sequence[Row]) -> None:
        """Print what is new."""
        self._rows = rows
        for row in rows:
            if self._states.get(row.task_id, "waiting") != row.state:
                parts = (time.strftime("%H:%M:%S"), row.task_id, row.state, row.duration, row.resource)
                self._console.print("  ".join(filter(None, parts)), markup=False, highlight=False, soft_wrap=True)
                self._states[row.task_id] = row.state
