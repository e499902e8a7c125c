"""Metric definitions: numbers that a training job prints."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_sagemaker_pipelines.local.runner.results import Metric


class MetricReader:
    """Searches every log line with the request's ``MetricDefinitions`` and keeps the last value of each.

    The first group of the regular expression is the number, as on AWS. A definition whose expression Python does
    not accept, or that has no group, finds nothing; :attr:`refused` names it.
    """

    def __init__(self, definitions: Iterable[Mapping[str, Any]]) -> None:
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        self._last: dict[str, Metric] = {}
        self.refused: list[str] = []
        for definition in definitions:
            name = str(definition.get("Name", ""))
            try:
                pattern = re.compile(str(definition.get("Regex", "")))
            except re.error:
                self.refused.append(name)
                continue
            if pattern.groups:
                self._patterns.append((name, pattern))
            else:
                self.refused.append(name)

    def read(self, line: str) -> None:
        """Look for every metric in one line."""
        for name, pattern in self._patterns:
            for match in pattern.finditer(line):
                try:
                    value = float(match.group(1))
                except (TypeError, ValueError):
                    continue  # an optional group that did not take part, or no number
                self._last[name] = Metric(name=name, value=value, timestamp=dt.datetime.now(dt.UTC))

    def last(self) -> tuple[Metric, ...]:
        """The last value of every metric that was seen, in the order of their first appearance."""
        return tuple(self._last.values())
