"""Watching a worker from a launcher's job, ending it, and the copy that was set aside: in words."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from src.launching import job as jobs
from src.launching import local, spare
from src.launching.choices import refusal
from src.launching.job import WorkerJob, whereabouts
from src.launching.local import LocalWorkers
from src.launching.spare import Started


class Process:
    """A process that ends when it is told to, or only when it is killed."""

    pid = 4

    def __init__(self, *polls: int | None, deaf: bool = False) -> None:
        self.polls, self.deaf, self.told = [*polls], deaf, list[Any]()

    def poll(self) -> int | None:
        return self.polls.pop(0) if self.polls else None

    def terminate(self) -> None:
        self.told.append("terminate")

    def kill(self) -> None:
        self.told.append("kill")
        self.deaf = False

    def wait(self, timeout: float | None = None) -> int:
        self.told.append(timeout)
        if self.deaf:
            raise subprocess.TimeoutExpired("x", timeout or 0.0)
        return -9 if "kill" in self.told else -15


def test_who_does_not_obey_is_killed() -> None:
    """Sooner than Slurm kills the job, 30 seconds after it has asked, and later than at once."""
    polite, deaf = Process(), Process(deaf=True)
    assert local.end(polite) == -15 and local.end(deaf) == -9
    asked, timeout = polite.told
    assert asked == "terminate" and 10 <= timeout < 30
    assert deaf.told == ["terminate", timeout, "kill", None]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Process]]:
    """A job's workers, in the order in which it starts them."""
    processes = list[Process]()
    monkeypatch.setattr(WorkerJob, "_start", lambda self, number: processes.pop(0))
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(
        jobs.HydraConfig, "get", lambda: SimpleNamespace(job=SimpleNamespace(num=0))
    )
    yield processes


@pytest.mark.parametrize(
    ("statuses", "told"),
    [([-9, 0], 0), ([-9, -9, -9, -9, -9, -9], -9), ([130], -15), ([143], -15), ([0], 0), ([1], 1)],
)
def test_how_a_job_tells_its_workers_end(
    watched: list[Process], statuses: list[int], told: int
) -> None:
    """Six starts at most; one that was asked to end by Ctrl-C or SIGTERM was killed by nobody."""
    watched += [Process(None, status) for status in [*statuses, 0]]
    assert WorkerJob([3], [], "/", "/", {})(None) == (told, None)
    assert len(watched) == 1


def test_a_worker_ends_when_who_started_its_job_is_gone(
    watched: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = [7, 7, 7, 1]
    monkeypatch.setattr(jobs.os, "getppid", lambda: parents.pop(0))
    worker = Process()
    watched.append(worker)
    assert WorkerJob([3], [], "/", "/", {})(None) == (-signal.SIGTERM, None)
    assert worker.told[0] == "terminate" and not parents


def test_a_job_of_ray_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    context = SimpleNamespace(get_task_id=lambda: "t1")
    ray = SimpleNamespace(
        is_initialized=lambda: True,
        get_runtime_context=lambda: context,
        util=SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7"),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert whereabouts() == {"FAIRSTEP_JOB": "ray t1", "FAIRSTEP_NODE": "10.0.0.7"}
    ray.is_initialized = lambda: False
    assert whereabouts() == {"FAIRSTEP_JOB": f"process {os.getpid()}"}


def test_a_job_of_slurm_on_a_host_without_a_name_of_slurms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURMD_NODENAME"):
        monkeypatch.delenv(name, raising=False)
    assert whereabouts() == {"FAIRSTEP_JOB": "slurm 12", "FAIRSTEP_NODE": os.uname().nodename}


def test_a_wait_for_workers_looks_at_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with any of them; without one, when the time is over."""
    now = [0.0]
    monkeypatch.setattr(local.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(local.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + 1.0))
    workers = LocalWorkers(tmp_path)
    workers.wait(5)
    assert now == [5.0]
    workers.processes = {0: Process(), 1: Process(None, None, 0)}
    workers.wait(60)
    assert now == [7.0]


def test_all_are_asked_before_anyone_is_waited_for(tmp_path: Path) -> None:
    workers, told = LocalWorkers(tmp_path), list[str]()
    for number in (0, 1):
        process = Process()
        process.told = told
        workers.processes[number] = process
    workers.stop()
    assert told[:2] == ["terminate"] * 2
    assert len(told) == 6, "each is then ended as one alone would be"


def test_one_copy_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[str]()
    monkeypatch.setattr(spare, "_ASIDE", {})
    monkeypatch.setattr(spare, "can_be_copied", lambda: True)
    monkeypatch.setattr(spare, "Spare", lambda: made.append("one") or "the copy")
    assert spare.spare() is None
    spare.set_aside()
    spare.set_aside()
    assert made == ["one"] and spare.spare() == "the copy"
    monkeypatch.setattr(spare.os, "getpid", lambda: -1)
    assert spare.spare() is None, "a fork has none of its own"


def test_a_wait_for_what_a_spare_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it takes, or as long as it may take and no shorter."""
    now, statuses = [0.0], [*[None] * 3, 5]
    monkeypatch.setattr(spare.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(spare.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + 1.0))
    asked: Any = SimpleNamespace(status=lambda pid: statuses.pop(0) if pid == 9 else 99)
    assert Started(asked, 9).wait() == 5 and now == [3.0]
    never: Any = SimpleNamespace(status=lambda pid: None)
    with pytest.raises(subprocess.TimeoutExpired) as late:
        Started(never, 9).wait(4.0)
    assert now == [8.0] and late.value.timeout == 4.0


def test_only_what_lives_is_sent_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another's by now."""
    sent = list[tuple[int, int]]()
    monkeypatch.setattr(spare.os, "kill", lambda pid, number: sent.append((pid, number)))
    ended: Any = SimpleNamespace(status=lambda pid: 0)
    living: Any = SimpleNamespace(status=lambda pid: None)
    for one in (Started(ended, 8), Started(living, 9)):
        one.terminate()
        one.kill()
    assert sent == [(9, signal.SIGTERM), (9, signal.SIGKILL)]


class Told:
    """A connection on which a process says what was started and what has ended."""

    def __init__(self, *told: tuple[int, int | None]) -> None:
        self.told, self.sent = [*told], list[Any]()

    def send(self, asked: Any) -> None:
        self.sent.append(asked)

    def recv(self) -> tuple[int, int | None]:
        if not self.told:
            raise EOFError
        return self.told.pop(0)

    def poll(self) -> bool:
        return bool(self.told)


def connected(*told: tuple[int, int | None]) -> spare.Spare:
    made = spare.Spare.__new__(spare.Spare)
    made.ours, made.lock, made.statuses, made.gone, made.pid = Told(*told), Lock(), {}, False, 3  # type: ignore[assignment]
    return made


def test_an_end_that_is_told_meanwhile_is_kept() -> None:
    """Another command ended while this one was being started."""
    aside = connected((8, 0), (9, None), (9, 4))
    aside.statuses[8] = None
    started = aside.start(["-m", "x"], Path("log"), {"A": "1", "FAIRSTEP_PARENT": "old"})
    assert started is not None and started.pid == 9
    assert aside.ours.sent == [  # type: ignore[attr-defined]
        (["-m", "x"], Path("log"), {"A": "1", "FAIRSTEP_PARENT": "3"})
    ]
    assert aside.status(8) == 0 and aside.status(9) == 4


def test_what_ended_before_the_spare_did_keeps_its_status() -> None:
    """Of the others nobody can say more than that they are gone."""
    aside = connected()
    aside.statuses |= {8: 0, 9: None}
    assert aside.start(["-m", "x"], Path("log"), {}) is None and aside.gone
    assert aside.status(8) == 0 and aside.status(9) == -9
    aside = connected()
    aside.ours.poll = lambda: True  # type: ignore[method-assign, assignment, misc]
    aside.statuses[9] = None
    assert aside.status(9) == -9 and aside.gone


def test_how_each_launcher_is_installed() -> None:
    extras = {
        "joblib": "joblib",
        "ray": "ray",
        "submitit_local": "slurm",
        "submitit_slurm": "slurm",
    }
    for choice, extra in extras.items():
        assert refusal(choice) == f"not installed; pip install 'fairstep[{extra}]'"


def test_a_copy_that_goes_on_is_told_by_its_wait() -> None:
    """In the words of `subprocess`: how long it was waited for."""
    from src.launching.copying import Copy

    copy = Copy.__new__(Copy)
    copy.process = SimpleNamespace(exitcode=None, join=lambda timeout: None)  # type: ignore[assignment]
    with pytest.raises(subprocess.TimeoutExpired) as late:
        copy.wait(0.25)
    assert late.value.timeout == 0.25
