"""The demo's Airflow: api server, scheduler, dag processor and triggerer, each a process of its own."""

import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

import httpx

from airflow_sagemaker_pipelines.local.demo.api import AirflowApi
from airflow_sagemaker_pipelines.local.demo.endpoint import ACCESS_KEY, REGION, SECRET_KEY, clean_environment
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components, python

HOST = "127.0.0.1"
MIGRATE_SECONDS = 180.0
START_SECONDS = 180.0
# More parallel writers make SQLite answer "database is locked", which ends the scheduler.
PARALLELISM = 4


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def airflow_environment(home: Path, dags: Path, port: int, endpoint_url: str) -> dict[str, str]:
    """The environment of every Airflow process: SQLite, everybody an admin, AWS at the local endpoint."""
    connection = {
        "conn_type": "aws",
        "login": ACCESS_KEY,
        "password": SECRET_KEY,
        "extra": {"endpoint_url": endpoint_url, "region_name": REGION},
    }
    settings = {
        "API__BASE_URL": f"http://{HOST}:{port}",
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": str(PARALLELISM),
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # A task that is ready starts at once, not at the scheduler's next look.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    }
    return clean_environment() | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
    }


def start_airflow(
    components: Components, interrupts: Interrupts, home: Path, env: Mapping[str, str], port: int
) -> AirflowApi:
    """Make the database, start the four components, wait until all report themselves healthy."""
    migrate = components.start("airflow db migrate", python("-m", "airflow", "db", "migrate"), env=env, cwd=home)
    interrupts.wait_until("airflow db migrate", lambda: components.finished(migrate), timeout=MIGRATE_SECONDS)
    for name, arguments in {
        "api server": ["api-server", "--host", HOST, "--port", str(port), "--workers", "1"],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "dag processor": ["dag-processor"],
        # Task logs are read from disk: on one machine nobody needs the components' log servers.
        "triggerer": ["triggerer", "--skip-serve-logs"],
    }.items():
        components.start(name, python("-m", "airflow", *arguments), env=env, cwd=home)
    api = AirflowApi(f"http://{HOST}:{port}")

    def is_healthy() -> bool:
        components.check()
        try:
            return not api.unhealthy()
        except httpx.HTTPError:
            return False

    interrupts.wait_until("Airflow is not healthy", is_healthy, timeout=START_SECONDS)
    api.log_in()
    return api
