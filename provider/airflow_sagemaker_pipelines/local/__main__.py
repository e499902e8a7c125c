"""``python -m airflow_sagemaker_pipelines.local``: the endpoint as a process of its own."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from .state import DEFAULT_DURATION, DEFAULT_REGION, Settings

DEFAULT_PORT = 5005
NO_MOTO = "The local AWS endpoint needs moto: pip install 'airflow-provider-sagemaker-pipelines[local]' ({error})\n"


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0 after a clean stop, 1 if it could not start."""
    options = _parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # moto's services log each request they refuse.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        from .server import LocalServer  # noqa: PLC0415 - so that --help works and a missing moto is explained
    except ModuleNotFoundError as error:
        sys.stderr.write(NO_MOTO.format(error=error))
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings(
        duration=options.duration,
        run_code=options.run_code,
        region=options.region,
        account=options.account,
        seed=options.seed,
    )
    server = LocalServer(settings, port=options.port)
    try:
        server.start()
    except OSError as error:
        sys.stderr.write(f"The local AWS endpoint could not start: {error}\n")
        return 1
    if options.port_file is not None:
        _write_port(options.port_file, server.port)
    sys.stdout.write(f"Local AWS endpoint at {server.url}\n")
    sys.stdout.flush()
    try:
        stop.wait()
    finally:
        server.stop()
        if options.port_file is not None:
            options.port_file.unlink(missing_ok=True)
    return 0


def _write_port(path: Path, port: int) -> None:
    """Write the port so that a reader finds the whole number or no file."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(f"{port}\n")
    draft.replace(path)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_sagemaker_pipelines.local",
        description="A local AWS endpoint (SageMaker, S3, IAM, STS, Logs, Lambda, SQS, EventBridge) on loopback.",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 for a free port (default: %(default)s)")
    parser.add_argument("--port-file", type=Path, help="write the port into this file once it listens")
    parser.add_argument(
        "--run-code",
        action="store_true",
        help="run the code of jobs on this machine, without a sandbox; without it jobs only take their time",
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=DEFAULT_DURATION,
        metavar="SECONDS",
        help="how long a job takes whose code is not run (default: %(default)s)",
    )
    parser.add_argument("--region", default=DEFAULT_REGION, help="region of jobs' code (default: %(default)s)")
    parser.add_argument("--account", help="account of all requests (default: as moto decides, 123456789012)")
    parser.add_argument("--seed", type=int, default=0, help="of faults that strike by chance (default: %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
