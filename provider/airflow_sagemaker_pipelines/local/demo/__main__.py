"""Run the demo: `python -m airflow_sagemaker_pipelines.local.demo [--once]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from airflow_sagemaker_pipelines.local.demo.airflow import airflow_environment, free_port, start_airflow
from airflow_sagemaker_pipelines.local.demo.assets import upload_assets
from airflow_sagemaker_pipelines.local.demo.endpoint import clean_environment, start_endpoint
from airflow_sagemaker_pipelines.local.demo.errors import DemoError, Interrupted
from airflow_sagemaker_pipelines.local.demo.home import fresh_home
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components
from airflow_sagemaker_pipelines.local.demo.results import print_results
from airflow_sagemaker_pipelines.local.demo.run import Runner
from airflow_sagemaker_pipelines.local.demo.table import run_view

SUCCEEDED, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class Options:
    """What the user has asked for."""

    dags: Path
    home: Path
    dag_id: str
    conf: dict[str, Any]
    once: bool
    timeout: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0 only if the run succeeded."""
    options = parse(arguments)
    # A log has no width: do not wrap to 80 columns what is not shown on a terminal.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    interrupts = Interrupts()
    interrupts.install()
    try:
        with fresh_home(options.home) as home, Components(home / "logs") as components:
            try:
                code = demo(options, home, components, interrupts, console)
            finally:
                console.print("Stopping everything that the demo has started …", highlight=False)
    except Interrupted:
        return INTERRUPTED
    except (DemoError, httpx.HTTPError, BotoCoreError, ClientError) as error:
        console.print("[bold red]The demo has failed.[/bold red]")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return FAILED
    return code


def demo(options: Options, home: Path, components: Components, interrupts: Interrupts, console: Console) -> int:
    """Start everything, run the DAG once, show what it has made; stay until interrupted unless `once`."""
    dags = options.dags.resolve()
    if not dags.is_dir():
        raise DemoError(f"There is no directory {options.dags}. Name the one with the example DAGs with --dags.")
    console.print("Starting the local AWS endpoint …", highlight=False)
    endpoint = start_endpoint(components, interrupts, home, clean_environment())
    uploaded = upload_assets(endpoint.s3(), dags)
    console.print(f"  {endpoint.url}, {len(uploaded)} objects uploaded (data and scripts)", highlight=False)

    console.print("Starting Airflow: api server, scheduler, dag processor, triggerer …", highlight=False)
    port = free_port()
    env = airflow_environment(home, dags, port, endpoint.url)
    api = start_airflow(components, interrupts, home, env, port)
    console.print(f"  {api.url} (everybody is an admin there; logs in {components.logs})", highlight=False)

    runner = Runner(api, components, interrupts)
    run = runner.start(options.dag_id, options.conf)
    console.print(f"\nDAG {run.dag_id}, run {run.run_id}", highlight=False)
    with run_view(console) as view:
        runner.follow(run, view, timeout=options.timeout)
    print_results(console, endpoint, run)
    for task_id, reason in runner.reasons(run).items():
        console.print(f"[bold red]{task_id} failed[/bold red]", highlight=False)
        console.print(reason, markup=False, highlight=False, soft_wrap=True)
    console.print(f"\nThe run has ended: [bold]{run.state}[/bold]", highlight=False)
    if not options.once:
        console.print(f"The UI shows it: {api.run_page(run.dag_id, run.run_id)}")
        console.print("Trigger it again there, with other parameters. Ctrl-C ends the demo.")
        stay(components, interrupts)
    return SUCCEEDED if run.succeeded else FAILED


def stay(components: Components, interrupts: Interrupts) -> None:
    """Return when the user asks to end; DemoError when a component ends by itself."""
    while interrupts.requested is None:
        components.check()
        try:
            interrupts.sleep(1.0)
        except Interrupted:
            return


def parse(arguments: Sequence[str] | None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_sagemaker_pipelines.local.demo",
        description="Run an example pipeline on a real Airflow and a local AWS endpoint.",
    )
    parser.add_argument("--once", action="store_true", help="end after the run; exit code 0 only if it succeeded")
    parser.add_argument("--dags", type=Path, default=Path("dags"), help="directory with the DAGs (default: dags)")
    parser.add_argument("--home", type=Path, default=Path(".demo"), help="directory of the demo (default: .demo)")
    parser.add_argument("--dag-id", default="breast_cancer", help="the DAG to run (default: breast_cancer)")
    parser.add_argument("--conf", type=_json_object, default={}, help="parameters of the run, a JSON object")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds that the run may take (default: 900)")
    return Options(**vars(parser.parse_args(arguments)))


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


if __name__ == "__main__":
    sys.exit(main())
