"""What the demo starts, it ends, with everything below it; nothing else."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from airflow_sagemaker_pipelines.local.demo import processes
from airflow_sagemaker_pipelines.local.demo.errors import DemoError, Interrupted
from airflow_sagemaker_pipelines.local.demo.interrupts import Interrupts
from airflow_sagemaker_pipelines.local.demo.processes import Components, python, tail

# A component with a child in its own process group, a child in its own session, and one that outlives its parent.
FAMILY = """
    import os, subprocess, sys, time
    from pathlib import Path
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    own_group = subprocess.Popen(sleeper, process_group=0)
    own_session = subprocess.Popen(sleeper, start_new_session=True)
    middle = subprocess.run(
        [sys.executable, "-c", "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=2).pid)", *sleeper],
        stdout=subprocess.PIPE, text=True,
    )
    Path(sys.argv[1]).write_text(f"{own_group.pid} {own_session.pid} {middle.stdout}")
    time.sleep(600)
"""


def wait_for(path: Path) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} has not been written")


def test_stop_ends_the_whole_family_and_nobody_else(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        with Components(tmp_path / "logs") as components:
            report = tmp_path / "pids"
            leader = components.start("parent", python("-c", textwrap.dedent(FAMILY), str(report)), env=os.environ)
            pids = [int(pid) for pid in wait_for(report).split()]
            assert len(pids) == 3
            assert all(psutil.pid_exists(pid) for pid in pids)
            components.check()
        assert leader.process.returncode == -signal.SIGTERM
        assert not [pid for pid in pids if psutil.pid_exists(pid)]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_stop_kills_what_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "TERM_SECONDS", (0.2, 0.2))
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    with Components(tmp_path) as components:
        component = components.start("deaf one", python("-c", deaf), env=os.environ)
        wait_for(component.log)
    assert component.log.name == "deaf-one.log"
    assert component.process.returncode == -signal.SIGKILL


def test_an_ended_component_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    script = "import sys; [print(f'line {n}') for n in range(100)]; sys.exit(3)"
    with Components(tmp_path) as components:
        component = components.start("scheduler", python("-c", script), env=os.environ)
        component.process.wait()
        with pytest.raises(DemoError, match=r"The scheduler has ended \(exit code 3\)") as failure:
            components.check()
    assert str(failure.value).endswith("line 98\nline 99")
    assert "line 10\n" not in str(failure.value)


def test_finished_tells_a_good_end_from_a_bad_one(tmp_path: Path) -> None:
    with Components(tmp_path) as components:
        good = components.start("good", python("-c", ""), env=os.environ)
        bad = components.start("bad", python("-c", "raise SystemExit(2)"), env=os.environ)
        good.process.wait()
        bad.process.wait()
        assert components.finished(good)
        with pytest.raises(DemoError, match="The bad has ended"):
            components.finished(bad)


def test_tail_of_no_log_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == ""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_next_wait(signum: signal.Signals) -> None:
    previous = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
        interrupts = Interrupts()
        interrupts.install()
        interrupts.check()
        os.kill(os.getpid(), signum)
        start = time.monotonic()
        with pytest.raises(Interrupted, match=signum.name):
            interrupts.sleep(30)
        assert time.monotonic() - start < 5
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def test_waiting_in_vain_names_what_was_waited_for() -> None:
    with pytest.raises(DemoError, match="The moon: nothing after"):
        Interrupts().wait_until("The moon", lambda: False, timeout=0.05, poll=0.01)
