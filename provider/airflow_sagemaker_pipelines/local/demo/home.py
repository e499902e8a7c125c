"""The demo's own directory: made afresh for every demo, never anybody else's."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from airflow_sagemaker_pipelines.local.demo.errors import DemoError

LOCK = "demo.lock"


@contextlib.contextmanager
def fresh_home(path: Path) -> Iterator[Path]:
    """An empty directory at `path`, held until the context ends.

    What an earlier demo left there is removed. DemoError when another demo runs there, or when the directory holds
    something that no demo has put there.
    """
    home = path.resolve()
    if home.exists() and not (home / LOCK).exists() and any(home.iterdir()):
        raise DemoError(f"{path} holds files that are not the demo's. Choose another directory with --home.")
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"Another demo is running in {path}. End it, or choose --home.") from None
        for entry in home.iterdir():
            if entry.name != LOCK:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        yield home
