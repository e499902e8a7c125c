"""``make soak``."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields

from tests.soak.soak import Settings, soak


def main() -> int:
    """Run a soak as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    for setting in fields(Settings):
        default = getattr(Settings(), setting.name)
        choices = ("airflow", "sagemaker", "both") if setting.name == "orchestrator" else None
        name = f"--{setting.name.replace('_', '-')}"
        parser.add_argument(name, type=type(default), default=default, choices=choices)
    report = soak(Settings(**vars(parser.parse_args())), say)
    say(report)
    for shortfall in report.shortfalls:
        say(f"too little for a soak: {shortfall}")
    return 0 if report.is_clean and not report.shortfalls else 1


def say(text: object) -> None:
    """Write something with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
