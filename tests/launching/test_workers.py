"""What every worker does: it ends with its job, and says so to its study undisturbed."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from src.launching import workers as module
from src.launching.workers import (
    ENDING,
    Ended,
    Workers,
    environment_of,
    is_orphan,
    log_of,
    obey_job,
    undisturbed,
)


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test's own process is no worker, and keeps its handlers."""
    for name in ("FAIRSTEP_WORKER", "FAIRSTEP_JOB", "FAIRSTEP_PARENT"):
        monkeypatch.delenv(name, raising=False)
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Idle(Workers):
    def start(self, numbers: Sequence[int]) -> None: ...

    def ended(self) -> list[Ended]:
        return []

    def running(self) -> int:
        return 0

    def stop(self) -> None: ...


def test_what_workers_do_unless_they_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = list[float]()
    monkeypatch.setattr(module.time, "sleep", slept.append)
    idle = Idle()
    idle.wait(0.25)
    assert slept == [0.25] and idle.left_over() == 0 and idle.here
    assert Ended(1, 0).words is None


def test_what_a_worker_is_told() -> None:
    base = {"KEPT": "yes", "HYDRA_FULL_ERROR": "1", "FAIRSTEP_PARENT": "1"}
    given = environment_of(base, 12, CUDA_VISIBLE_DEVICES="3")
    assert given == {
        "KEPT": "yes", "FAIRSTEP_WORKER": "1", "FAIRSTEP_PARENT": "12", "CUDA_VISIBLE_DEVICES": "3",
    }  # fmt: skip
    assert len(base) == 3
    assert environment_of({}, 12) == {"FAIRSTEP_WORKER": "1", "FAIRSTEP_PARENT": "12"}
    assert log_of(Path("study"), 3) == Path("study/worker-3.log")


def test_who_is_an_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose parent isn't the process that started it; nobody else."""
    assert not is_orphan()
    monkeypatch.setenv("FAIRSTEP_PARENT", str(os.getppid()))
    assert not is_orphan()
    monkeypatch.setenv("FAIRSTEP_PARENT", "1" if os.getppid() != 1 else "2")
    assert is_orphan()


def test_a_launchers_signals_are_as_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of a user; the thread that watches the job keeps no process alive."""
    before, seen = {*threading.enumerate()}, list[int]()
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    obey_job()
    assert {*threading.enumerate()} == before
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL, "no job, nothing to obey"
    monkeypatch.setenv("FAIRSTEP_JOB", "slurm 1")
    monkeypatch.setenv("FAIRSTEP_PARENT", str(os.getppid()))
    monkeypatch.setattr(module, "PARENT_SECONDS", 0.005)
    obey_job()
    (watching,) = {*threading.enumerate()} - before
    assert watching.daemon
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
        time.sleep(0.02)
    assert seen == [signal.SIGTERM] * 2
    monkeypatch.setenv("FAIRSTEP_PARENT", "1" if os.getppid() != 1 else "2")
    watching.join(10)
    time.sleep(0.02)
    assert seen == [signal.SIGTERM] * 3, "the process that started it is gone"


def test_who_asks_twice_disturbs_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its handlers again afterwards, whatever happens; no other process ignores anything."""
    seen = list[int]()
    for number in ENDING:
        signal.signal(number, lambda number, frame: seen.append(number))
    with undisturbed():
        for number in ENDING:
            os.kill(os.getpid(), number)
        time.sleep(0.01)
    assert sorted(seen) == sorted([signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
    monkeypatch.setenv("FAIRSTEP_WORKER", "1")
    with pytest.raises(ValueError, match="broke"), undisturbed():
        for number in ENDING:
            os.kill(os.getpid(), number)
        time.sleep(0.01)
        raise ValueError("broke")
    assert len(seen) == 3
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    assert seen[3:] == [signal.SIGTERM]
