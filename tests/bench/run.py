"""The benchmarks: this package beside the Amazon provider's operators, on the same endpoint, in the same run.

    python -m tests.bench.run [part ...] [--quick]

Prints the figures and writes them, as JSON to ``build/bench/`` and as Markdown into ``docs/benchmarks.md``. With
``--quick`` everything is small, nothing is written into the documentation, and no target counts.

The exit code is 1 if a target is missed that is about a count. Times depend on the machine, so they only say so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.bench.part import Part

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "build" / "bench"
TERMINATED = 128 + signal.SIGTERM
PARTS = ("build", "waiting", "triggerer", "executions", "chain", "parallel")


def main() -> int:
    """Measure the parts that were asked for."""
    options = _options()
    # Whoever is told to end ends what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    missed = False
    for name in options.parts or PARTS:
        began = datetime.now(UTC)
        load = os.getloadavg()[0]
        part: Part = import_module(f"tests.bench.{name}").measure(quick=options.quick)
        loads = f"load average {load:.1f} before and {os.getloadavg()[0]:.1f} after"
        where = f"{_machine()} Measured on {began:%Y-%m-%d}, {loads}."
        text = f"{part.markdown()}\n\n{where}"
        sys.stdout.write(f"\n## {part.title}\n\n{text}\n")
        sys.stdout.flush()
        _keep(name, part, where, quick=options.quick)
        if not options.quick:
            write_section(PAGE, name, text)
            missed |= any(target.counted and not target.is_met for target in part.targets)
    return int(missed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


def _machine() -> str:
    packages = ("apache-airflow", "apache-airflow-providers-amazon", "boto3", "aiobotocore")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}, {versions}."


def _keep(name: str, part: Part, where: str, *, quick: bool) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = asdict(part) | {"where": where, "quick": quick}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def write_section(page: Path, name: str, text: str) -> None:
    """Put a part's figures between its marks in a page.

    :raises ValueError: if the page has no such marks.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    new, number = pattern.subn(lambda _: f"{begin}\n{text}\n{end}", page.read_text())
    if number != 1:
        raise ValueError(f"{page} must have one section between {begin} and {end}")
    page.write_text(new)


if __name__ == "__main__":
    sys.exit(main())
