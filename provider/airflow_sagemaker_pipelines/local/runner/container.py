"""What stands in for a job's container: its own ``/opt/ml``, a clean environment, and this interpreter.

There are two ways to give a job its ``/opt/ml``. BIND shows a private directory under that very path, in a mount
namespace (Linux, also without privileges where user namespaces are allowed). REWRITE replaces the literal
``/opt/ml`` by the private directory in arguments, environment and text files, and back in logs and results; it works
everywhere, but does not see a path that code puts together (``"/opt" + "/ml"``).
"""

from __future__ import annotations

import enum
import functools
import logging
import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType

from airflow_sagemaker_pipelines.local.runner.process import LOADER_VARIABLES, Command, Ending, Process
from airflow_sagemaker_pipelines.local.runner.results import REASON_LIMIT, CannotRunError, JobError
from airflow_sagemaker_pipelines.local.runner.s3_transfer import extract, pack

logger = logging.getLogger(__name__)

OPT_ML = "/opt/ml"
MODE_VARIABLE = "LOCAL_SAGEMAKER_OPT_ML"
"""Environment variable of the endpoint: ``bind``, ``rewrite``, or empty for what the machine can do."""

_LITERAL = re.compile(r"(?<![\w.-])/opt/ml(?![\w-])")
_TEXT_SUFFIXES = frozenset({".py", ".sh", ".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".ipynb", ".r"})
_TEXT_BYTES = 5_000_000
_SOURCE_ARCHIVE = "sourcedir.tar.gz"
_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class OptMl(enum.Enum):
    """How a job gets its ``/opt/ml``."""

    BIND = "bind"
    REWRITE = "rewrite"


def choose_mode(wanted: OptMl | None = None) -> OptMl:
    """The caller's choice, else that of the environment variable, else the best that works here."""
    if wanted is not None:
        return wanted
    if name := os.environ.get(MODE_VARIABLE):
        return OptMl(name.lower())
    return OptMl.BIND if _can_bind() else OptMl.REWRITE


@functools.cache
def _can_bind() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    said: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sm-") as name:
        workdir = Path(name)
        source = workdir / "ml"
        source.mkdir()
        (source / "probe").touch()
        command = Command(arguments=["/bin/sh", "-c", f"test -f {OPT_ML}/probe"], environment={}, directory="/")
        process = Process(command, workdir=workdir, bind=source, sink=said.append)
        ending = process.wait(threading.Event(), timeout=10, grace=1)
    if ending.exit_code != 0:
        logger.info("Jobs get %s by rewriting, as it cannot be bound here: %s", OPT_ML, " ".join(said))
    return ending.exit_code == 0


class Container:
    """Directory, environment and process of one job; a context manager that leaves nothing behind."""

    def __init__(self, mode: OptMl, *, endpoint_url: str, region: str) -> None:
        self.mode = mode
        self._endpoint_url = endpoint_url
        self._region = region
        # Short, since sockets are made below it; resolved, since jobs compare real paths (macOS: /var -> /private/var).
        self.workdir = Path(tempfile.mkdtemp(prefix="sm-")).resolve()
        self.opt_ml = self.workdir / "ml"
        # also at the interpreter's end, which the thread of the job may not live to see
        self._remove = weakref.finalize(self, shutil.rmtree, self.workdir, ignore_errors=True)
        for name in ("ml", "home", "tmp", "bin", "pip"):
            (self.workdir / name).mkdir()
        self._write_stand_ins()

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def path(self, inner: str) -> Path:
        """Where the job's path ``inner`` is on this machine; JobError unless it is below ``/opt/ml``."""
        pure = PurePosixPath(inner)
        if ".." in pure.parts or not pure.is_relative_to(OPT_ML):
            raise JobError(f"ClientError: The local path {inner} is not below {OPT_ML}.")
        return self.opt_ml / pure.relative_to(OPT_ML)

    def directory(self, inner: str) -> Path:
        """As :meth:`path`, and the directory exists."""
        made = self.path(inner)
        made.mkdir(parents=True, exist_ok=True)
        return made

    def seen(self, text: str) -> str:
        """``text`` from outside (an argument, a file) as the job must see it."""
        return text if self.mode is OptMl.BIND else _LITERAL.sub(str(self.opt_ml), text)

    def told(self, text: str) -> str:
        """``text`` of the job (a log line, a message) as it would read on AWS."""
        return text if self.mode is OptMl.BIND else text.replace(str(self.opt_ml), OPT_ML)

    def take_in(self, files: Iterable[Path]) -> None:
        """Make downloaded files fit for the job; in BIND mode they are already."""
        if self.mode is OptMl.BIND:
            return
        for file in files:
            if file.name == _SOURCE_ARCHIVE and tarfile.is_tarfile(file):
                self._take_in_archive(file)
            else:
                _edit(file, self.seen)

    def hand_out(self, directory: Path) -> Path:
        """Make results fit for the world outside before they are uploaded."""
        if self.mode is OptMl.REWRITE and directory.is_dir():
            for file in directory.rglob("*"):
                _edit(file, self.told)
        return directory

    def message(self, inner: str) -> str | None:
        """A text file that the job may have left (its failure or exit message), cut to what AWS stores."""
        file = self.path(inner)
        if not file.is_file():
            return None
        return self.told(file.read_text(errors="replace")).strip()[:REASON_LIMIT] or None

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of the job: nothing of the endpoint's own, and no way to a real AWS account."""
        clean = {
            "PATH": f"{self.workdir / 'bin'}:{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "HOME": str(self.workdir / "home"),
            "TMPDIR": str(self.workdir / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # whatever the job installs, it installs for itself
            "PIP_TARGET": str(self.workdir / "pip"),
            "PYTHONPATH": str(self.workdir / "pip"),
            "SAGEMAKER_BASE_DIR": self.seen(OPT_ML),
            **{name: os.environ[name] for name in LOADER_VARIABLES if name in os.environ},
            **aws_environment(self._endpoint_url, self._region),
        }
        given = {name: self.seen(str(value)) for name, value in extra.items()}
        if "PYTHONPATH" in given:
            given["PYTHONPATH"] += os.pathsep + clean["PYTHONPATH"]
        if "PATH" in given:
            given["PATH"] = f"{self.workdir / 'bin'}:{given['PATH']}:{_SYSTEM_PATH}"
        return clean | given

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The arguments as they can be run here; CannotRunError if the program lives in the image only."""
        program, *rest = [self.seen(str(argument)) for argument in arguments]
        pure = PurePosixPath(program)
        if _PYTHON.fullmatch(pure.name) and not str(arguments[0]).startswith(OPT_ML):
            program = str(self.workdir / "bin" / "python3")  # also for /usr/bin/python3: it means the image's
        elif not str(arguments[0]).startswith(OPT_ML):
            search = f"{self.workdir / 'bin'}:{Path(sys.executable).parent}:{_SYSTEM_PATH}"
            if shutil.which(program, path=search) is None:
                raise CannotRunError(f"'{program}' is not on this machine; it would come with the image")
        return [program, *rest]

    def run(self, command: Command, sink: Callable[[str], None], stop: threading.Event, **limits: float) -> Ending:
        """Run a command to its end; see :meth:`Process.wait` for ``limits`` (``timeout``, ``grace``)."""
        process = Process(
            command,
            workdir=self.workdir,
            bind=self.opt_ml if self.mode is OptMl.BIND else None,
            sink=lambda line: sink(self.told(line)),
        )
        return process.wait(stop, timeout=limits.get("timeout"), grace=limits["grace"])

    def _take_in_archive(self, archive: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self.workdir) as name:
            extract(archive, Path(name))
            for file in Path(name).rglob("*"):
                _edit(file, self.seen)
            pack(Path(name), archive)

    def _write_stand_ins(self) -> None:
        """Programs that jobs expect on their PATH.

        Python is a script and not a link, which would lose the virtual environment that it belongs to. Pip does
        nothing: what an image installs at its start must neither change the user's environment nor need a network.
        """
        python = shlex.quote(sys.executable)
        skip = "echo \"local endpoint: 'pip $*' skipped, the job uses the packages of this interpreter\"; exit 0"
        scripts = {
            "python3": f'#!/bin/sh\nif [ "$1 $2 $3" = "-m pip install" ]; then shift 2; {skip}; fi\n'
            f'exec {python} "$@"\n',
            "pip": f'#!/bin/sh\nif [ "$1" = install ]; then {skip}; fi\nexec {python} -m pip "$@"\n',
        }
        scripts |= {"python": scripts["python3"], "pip3": scripts["pip"]}
        for name, text in scripts.items():
            file = self.workdir / "bin" / name
            file.write_text(text)
            file.chmod(0o755)


def aws_environment(endpoint_url: str, region: str) -> dict[str, str]:
    """Variables that lead boto3 and the AWS CLI to the endpoint and nowhere else."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",  # pragma: allowlist secret
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _edit(file: Path, change: Callable[[str], str]) -> None:
    """Apply ``change`` to a text file in place; leaves everything else alone."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _TEXT_BYTES:
        return
    if file.suffix.lower() not in _TEXT_SUFFIXES:
        with file.open("rb") as head:
            if file.suffix or head.read(2) != b"#!":
                return
    try:
        before = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return
    after = change(before)
    if after != before:
        file.write_bytes(after.encode("utf-8"))
