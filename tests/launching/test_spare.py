"""A copy of a process that is set aside, and what it starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from src.launching import spare
from src.launching.batch import wait_until
from src.launching.local import end
from src.launching.spare import Spare, Started

MODULE = """
import os, signal, sys, time
from src.launching.workers import is_orphan
print(__name__, sys.argv[1:], sys.orig_argv[1:], sys.stdin.read() == "", os.environ["KEPT"])
print(os.getpgid(0) == os.getpid(), is_orphan(), sys.modules["__main__"].__dict__ is globals())
print(os.getpid(), flush=True)
what = sys.argv[1]
if what == "wait":
    while not is_orphan():
        time.sleep(0.02)
    print("an orphan")
elif what == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif what == "sleep":
    time.sleep(60)
sys.exit(int(what))
"""
ENVIRONMENT = {"KEPT": "yes"}


@pytest.fixture
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spare]:
    """A copy of this process; pytest's threads don't matter to what it does."""
    (tmp_path / "a_command.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Spare()
    yield made
    made.close()


def start(aside: Spare, log: Path, what: str) -> Started:
    process = aside.start(["-m", "a_command", what], log, ENVIRONMENT)
    assert process is not None
    return process


def test_a_command_is_what_python_would_make_of_it(aside: Spare, tmp_path: Path) -> None:
    """It has its own words and environment; its status is told; its log is added to."""
    log = tmp_path / "log"
    log.write_text("before\n")
    process = start(aside, log, "7")
    assert process.wait(20) == 7 == process.poll()
    before, facts, place, pid = log.read_text().splitlines()
    words = ["-m", "a_command", "7"]
    assert (before, facts) == ("before", f"__main__ ['7'] {words} True yes")
    assert aside.start(["script.py"], log, ENVIRONMENT) is None
    assert place == "True False True" and int(pid) == process.pid != os.getpid()


def test_threads_may_ask_at_once(aside: Spare, tmp_path: Path) -> None:
    statuses: dict[int, int] = {}

    def ask(number: int) -> None:
        statuses[number] = start(aside, tmp_path / f"log-{number}", str(number)).wait(20)

    threads = [Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == {number: number for number in range(4)}


def test_how_it_is_killed_and_asked_to_end(aside: Spare, tmp_path: Path) -> None:
    assert start(aside, tmp_path / "log", "kill").wait(20) == -signal.SIGKILL
    process = start(aside, tmp_path / "log", "sleep")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    assert process.poll() is None and end(process) == -signal.SIGTERM
    process = start(aside, tmp_path / "log", "sleep")
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    process.kill()  # nobody is there any more


def test_without_the_spare(aside: Spare, tmp_path: Path) -> None:
    """What it started is given up and ends as an orphan; whoever asks starts a new process."""
    process = start(aside, tmp_path / "log", "wait")
    os.kill(aside.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    wait_until(lambda: "an orphan" in (tmp_path / "log").read_text(), 20)
    assert "an orphan" in (tmp_path / "log").read_text()
    assert aside.start(["-m", "a_command", "0"], tmp_path / "log", ENVIRONMENT) is None


def test_it_ends_with_the_process_that_set_it_aside(tmp_path: Path) -> None:
    """And what it has started is an orphan then, though another fork lives on."""
    (tmp_path / "a_command.py").write_text(MODULE)
    code = (
        "import os, pathlib; from src.launching.spare import set_aside, spare; "
        "assert spare() is None; set_aside(); aside = spare(); set_aside(); "
        "assert aside is spare() is not None; "
        f"aside.start(['-m', 'a_command', 'wait'], pathlib.Path({str(tmp_path / 'log')!r}), "
        "{'KEPT': 'yes'}); fork = os.fork() or os._exit(input() and 0); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    told = subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE)
    assert told.wait(60) == -9
    wait_until(lambda: "an orphan" in (tmp_path / "log").read_text(), 20)
    assert "an orphan" in (tmp_path / "log").read_text()
    told.communicate(b"end")


def test_a_process_with_threads_sets_nothing_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "can_be_copied", lambda: False)
    spare.set_aside()
    assert spare.spare() is None
