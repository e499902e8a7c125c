"""A throw-away Postgres: SQLite does not stand several schedulers' writers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_sagemaker_pipelines.local.demo.airflow import HOST, free_port

NOT_FOUND = (
    "No PostgreSQL server on this machine. Install it (apt-get install postgresql, brew install postgresql); it need "
    "not run. If it is there: initdb, postgres and pg_isready are looked for in PATH and in {places}"
)
PLACES = Path("/usr/lib/postgresql")
USER = "airflow"
START_SECONDS = 30.0
#: Nothing here has to survive a crash.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


def binaries() -> Path:
    """Return the directory of Postgres' server binaries, the newest.

    :raises FileNotFoundError: if there are none.
    """
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    places = sorted(PLACES.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not places:
        raise FileNotFoundError(NOT_FOUND.format(places=PLACES / "*/bin"))
    return places[-1].parent


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server with an empty database on loopback; yield the database's URL."""
    # Postgres refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="throw-away-postgres-"))
    process = None
    try:
        if user is not None:
            shutil.chown(home, user)
        port = free_port()
        initdb = [binaries() / "initdb", "-D", home / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=home)
        settings = {**SETTINGS, "listen_addresses": HOST, "port": str(port), "unix_socket_directories": ""}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (home.parent / f"{home.name}.log").open("wb") as log:
            process = subprocess.Popen(
                [binaries() / "postgres", "-D", home / "data", *options],
                user=user,
                cwd=home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _wait(process, port)
        yield f"postgresql+psycopg2://{USER}@{HOST}:{port}/postgres"
    finally:
        if process is not None:
            # A fast shutdown: it does not wait for clients.
            process.send_signal(signal.SIGINT)
            process.wait(30)
        shutil.rmtree(home, ignore_errors=True)
        home.with_name(f"{home.name}.log").unlink(missing_ok=True)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    ready = [binaries() / "pg_isready", "-q", "-h", HOST, "-p", str(port)]
    while subprocess.run(ready, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("Postgres has not started")
        time.sleep(0.2)
