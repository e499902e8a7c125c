"""The process above every job: the job's private ``/opt/ml``, its signals, and its certain end.

Started as a script of its own (``python -I -S _supervisor.py spec.json``), so it may import only the standard
library. The specification is a JSON object: ``command``, ``env``, ``cwd``, ``workdir`` (temporary directory of the
job) and ``bind`` (null, or the directory that the job shall see as ``/opt/ml``).

Standard input is a lifeline: its other end is held by the endpoint. When it closes, because the endpoint says so or
because the endpoint died by whatever cause, the job and all its descendants are killed. SIGTERM is passed on to the
job's process group. When the job ends, what it left running is killed too, as with a container; the exit status is
the job's, or 128 + n after signal n, or :data:`CANNOT_BIND`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from typing import Any

CANNOT_BIND = 125
"""Exit status when the private ``/opt/ml`` cannot be made on this machine."""

_OPT_ML = "/opt/ml"
# Linux ABI: sched.h, sys/mount.h, sys/prctl.h
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
SWEEP_SECONDS = 5.0
"""Longest time that killing what is left takes."""

_LINUX = sys.platform.startswith("linux")


def _call(function: str, *arguments: Any) -> None:
    """Call a libc function; raises OSError with its errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())


def _unshare() -> None:
    if os.geteuid() == 0:
        # A real root keeps its own identity: in a user namespace of one id it could not read other users' files.
        with contextlib.suppress(OSError):
            _call("unshare", _CLONE_NEWNS)
            return
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{file}", "w") as out:  # noqa: PTH123 - pathlib would double the start-up time
            out.write(text)


def _cover(parent: str, saved: str) -> None:
    """Lay a writable, empty file system over ``parent`` that still shows what was there.

    What was there may hold the interpreter itself (``/opt/conda``, ``/opt/python``).
    """
    os.makedirs(saved, exist_ok=True)  # noqa: PTH103 - as above
    _mount(parent, saved, "", _MS_BIND | _MS_REC)
    _mount("tmpfs", parent, "tmpfs", 0, "mode=755")
    for entry in os.scandir(saved):
        copy = f"{parent}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), copy)  # noqa: PTH115, PTH211 - as above
            continue
        if entry.is_dir():
            os.mkdir(copy)  # noqa: PTH102 - as above
        else:
            os.close(os.open(copy, os.O_CREAT))
        _mount(entry.path, copy, "", _MS_BIND | _MS_REC)
    with contextlib.suppress(OSError):
        _call("umount2", os.fsencode(saved), _MNT_DETACH)


def bind_opt_ml(source: str, workdir: str) -> None:
    """Show ``source`` as ``/opt/ml`` to this process and its children, and to nobody else."""
    _unshare()
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    if not os.path.isdir(_OPT_ML):  # noqa: PTH112 - as above
        _cover(os.path.dirname(_OPT_ML), f"{workdir}/opt")  # noqa: PTH120 - as above
        os.mkdir(_OPT_ML)  # noqa: PTH102 - as above
    _mount(source, _OPT_ML, "", _MS_BIND | _MS_REC)


def _become_job(spec: dict[str, Any]) -> None:
    """The child's side of the fork: never returns."""
    command: list[str] = spec["command"]
    try:
        os.setpgid(0, 0)
        if _LINUX:
            _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(spec["cwd"])
        os.execvpe(command[0], command, spec["env"])  # noqa: S606 - running it is what this program is for
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        # the shell's convention: 127 not found, 126 found but not to be executed
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _children() -> list[int]:
    mine = os.getpid()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - as above
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as stat:  # noqa: PTH123 - as above
                if int(stat.read().rpartition(")")[2].split()[1]) == mine:
                    found.append(int(name))
    return found


def sweep(job: int) -> None:
    """Kill the job's group and, as far as the system can tell, every other descendant.

    On Linux orphans are handed to this process (it is their sub-reaper), so killing children until there are
    none left reaches all of them, also those that moved to a session of their own.
    """
    deadline = time.monotonic() + SWEEP_SECONDS
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(job, signal.SIGKILL)
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for child in _children() if _LINUX else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.005)


def _reap(job: int) -> int | None:
    """Collect what ended; the job's exit status once it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == job:
                status = os.waitstatus_to_exitcode(code)
    return status


def supervise(spec: dict[str, Any]) -> int:
    """Run the job to its end, or to the lifeline's; returns the exit status."""
    endpoint = os.getppid()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    wanted: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: wanted.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    job = os.fork()
    if job == 0:
        _become_job(spec)
    with contextlib.suppress(OSError):
        os.setpgid(job, job)  # also here: whichever of the two comes first
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        with contextlib.suppress(BlockingIOError):
            os.read(wake_read, 4096)
        while wanted:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(job, wanted.pop())
        status = _reap(job)
        if status is not None:
            sweep(job)
            return status if status >= 0 else 128 - status
        if 0 in ready and not os.read(0, 1):
            sweep(job)
            if os.getppid() != endpoint:
                shutil.rmtree(spec["workdir"], ignore_errors=True)  # nobody is left who would
            return 128 + signal.SIGKILL


def main() -> int:
    """Read the specification named by the only argument, and carry it out."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - as above
        spec: dict[str, Any] = json.load(file)
    try:
        if _LINUX:
            _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if spec["bind"]:
            bind_opt_ml(spec["bind"], spec["workdir"])
    except OSError as error:
        print(f"cannot bind {_OPT_ML}: {error}", file=sys.stderr)  # noqa: T201 - a log line of the job
        return CANNOT_BIND
    return supervise(spec)


if __name__ == "__main__":
    sys.exit(main())
