"""Workers on this machine."""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.launching import local
from src.launching.batch import wait_until
from src.launching.copying import Copy
from src.launching.local import LocalWorkers
from src.launching.workers import environment_of, is_orphan, log_of


def test_workers_share_out_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One each, or several on one; without a GPU nothing is said."""
    code = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", code])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    told = {}
    for name, gpus in (("two", ["4", "6"]), ("one", ["0"]), ("none", [])):
        workers = LocalWorkers(tmp_path / name, gpus)
        workers.start([0, 1, 2])
        assert workers.running() == 3 and workers.here
        for process in workers.processes.values():
            process.wait(20)
        assert [(end.number, end.status) for end in workers.ended()] == [(0, 0), (1, 0), (2, 0)]
        assert workers.running() == 0 and workers.left_over() == 0
        logs = [tmp_path / name / f"worker-{number}.log" for number in (0, 1, 2)]
        told[name] = [log.read_text().strip() for log in logs]
    assert told == {"two": ["4", "6", "4"], "one": ["0"] * 3, "none": ["None"] * 3}


def test_all_are_asked_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = LocalWorkers(tmp_path)
    monkeypatch.setattr(
        local, "start_process", lambda number, folder, gpu: subprocess.Popen(["sleep", "60"])
    )
    workers.start([0, 1])
    processes = [*workers.processes.values()]
    workers.stop()
    assert [process.returncode for process in processes] == [-15, -15]


def copied(folder: Path, work: Callable[[], object], number: int = 0) -> Copy:
    """A worker that is a copy of this process; pytest's threads don't matter to this work."""
    return Copy(work, log_of(folder, number), environment_of(os.environ, os.getpid()))


def test_a_copy_begins_as_a_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told whose worker it is; out of reach of Ctrl-C; nothing to read; its log is added to."""
    names = ("FAIRSTEP_WORKER", "FAIRSTEP_PARENT", "HYDRA_FULL_ERROR", "KEPT")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("KEPT", "yes")
    before = dict(os.environ)
    (tmp_path / "worker-7.log").write_text("before\n")

    def work() -> None:
        print([os.environ.get(name) for name in names])
        print(os.getpgid(0) == os.getpid() != parent, sys.stdin.read() == "", is_orphan())
        os.system("echo from a child")
        print("mistake", file=sys.stderr)

    parent = os.getpid()
    copy = copied(tmp_path, work, 7)
    assert copy.wait(20) == 0 and copy.pid != parent
    assert os.environ == before
    facts = ["1", str(parent), None, "yes"]
    assert sorted((tmp_path / "worker-7.log").read_text().splitlines()) == sorted([
        "before", f"{facts}", "True True False", "from a child", "mistake",
    ])  # fmt: skip


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "status", "words"),
    [
        (lambda: None, 0, ""),
        (raising(SystemExit(143)), 143, ""),
        (raising(ValueError("so")), 1, "ValueError: so"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9, ""),
    ],
)
def test_how_a_copy_ends(
    tmp_path: Path, work: Callable[[], object], status: int, words: str
) -> None:
    """Of what is left for the end only its own is done: this process does that of its own."""
    twice = tmp_path / "twice"
    leave = atexit.register(twice.write_text, "by a copy")
    try:
        copy = copied(tmp_path, lambda: (atexit.register(print, "at the end"), work()))
        assert copy.wait(20) == status == copy.poll()
    finally:
        atexit.unregister(leave)
    assert not twice.exists()
    log = (tmp_path / "worker-0.log").read_text()
    assert words in log and ("at the end" in log) == (status >= 0)


def test_copies_are_asked_to_end_and_killed_if_they_do_not(tmp_path: Path) -> None:
    def polite() -> None:
        print("polite", flush=True)
        time.sleep(60)

    def deaf() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        time.sleep(60)

    copy = copied(tmp_path, polite)
    wait_until(lambda: "polite" in (tmp_path / "worker-0.log").read_text())
    assert copy.poll() is None and local.end(copy) == -15
    copy = copied(tmp_path, deaf, 1)
    wait_until(lambda: "deaf" in (tmp_path / "worker-1.log").read_text())
    copy.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        copy.wait(0.1)
    copy.kill()
    assert copy.wait() == -9


@pytest.mark.parametrize("possible", [True, False])
def test_the_first_workers_are_copies_if_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, possible: bool
) -> None:
    """One that was killed starts anew."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "print('anew')"])
    monkeypatch.setattr(local, "can_be_copied", lambda: possible)
    workers = LocalWorkers(tmp_path, work=lambda: print("a copy"))
    workers.start([0, 1])
    workers.start([2])
    assert workers.running() == 3
    for process in workers.processes.values():
        assert process.wait(20) == 0
    logs = [(tmp_path / f"worker-{number}.log").read_text().strip() for number in range(3)]
    assert logs == [*(["a copy"] * 2 if possible else ["anew"] * 2), "anew"]


def test_workers_start_in_a_copy_that_was_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is one, and unless it can't."""
    given = []

    class Aside:
        def start(self, *arguments: Any) -> Any:
            given.append(arguments)
            return "process" if len(given) == 1 else None

    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "raise SystemExit(3)"])
    monkeypatch.setattr(local, "spare", Aside)
    assert local.start_process(0, tmp_path, "5") == "process"
    assert local.start_process(1, tmp_path, None).wait(20) == 3
    command, log, environment = given[0]
    assert (command, log) == (sys.orig_argv[1:], tmp_path / "worker-0.log")
    assert environment["CUDA_VISIBLE_DEVICES"] == "5" and environment["FAIRSTEP_WORKER"] == "1"


def test_a_process_with_threads_is_not_copied() -> None:
    code = (
        "import threading; from src.launching.copying import can_be_copied; import numpy, scipy\n"
        "print(can_be_copied()); event = threading.Event()\n"
        "threading.Thread(target=event.wait).start(); print(can_be_copied()); event.set()"
    )
    environment = {name: text for name, text in os.environ.items() if "_NUM_THREADS" not in name}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == [str(sys.platform == "linux"), "False"]


def test_a_wait_ends_with_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "pass"])
    workers = LocalWorkers(tmp_path)
    began = time.monotonic()
    workers.wait(0.1)
    assert time.monotonic() - began >= 0.1
    workers.start([0])
    workers.wait(60)
    assert time.monotonic() - began < 30 and len(workers.ended()) == 1
