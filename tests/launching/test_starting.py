"""What a process that was started has, and what it hasn't, of the one that started it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from hydra.core.plugins import Plugins

from src.config import CONF
from src.launching import job as jobs
from src.launching import local, spare
from src.launching.batch import wait_until
from src.launching.job import WorkerJob
from src.launching.local import LocalLauncher, LocalWorkers
from src.launching.queues import Slurm
from tests.launching.test_local import copied


def test_no_two_copies_draw_the_same(tmp_path: Path) -> None:
    """By numpy's generator or by Python's: they would propose the same points."""
    import random

    import numpy

    def work() -> None:
        print(random.random(), numpy.random.random())

    drawn = []
    for number in (0, 1):
        assert copied(tmp_path, work, number).wait(20) == 0
        drawn += (tmp_path / f"worker-{number}.log").read_text().split()
    assert len({*drawn}) == 4


def test_a_copy_ends_at_sigterm_whatever_its_parent_does(tmp_path: Path) -> None:
    def work() -> None:
        print("begun", flush=True)
        time.sleep(20)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        copy = copied(tmp_path, work)
        wait_until(lambda: "begun" in (tmp_path / "worker-0.log").read_text())
        copy.terminate()
        assert copy.wait(10) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_process_has_its_environment_and_a_group_of_its_own(tmp_path: Path) -> None:
    """Out of reach of Ctrl-C; nothing to read; all that it prints is in its log."""
    code = ("import os, sys; print(os.environ.get('GIVEN'), os.getpgid(0) == os.getpid(), "
            "sys.stdin.read() == ''); print('mistake', file=sys.stderr)")  # fmt: skip
    log = tmp_path / "log"
    log.write_text("before\n")
    assert local.start(["-c", code], log, {**os.environ, "GIVEN": "x"}).wait(20) == 0
    assert sorted(log.read_text().splitlines()) == ["before", "mistake", "x True True"]


def test_the_folder_of_the_workers_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With those above it, by whoever comes first."""
    monkeypatch.setattr(local, "start_process", lambda number, folder, gpu: (folder, gpu))
    workers: Any = LocalWorkers(tmp_path / "a" / "b")
    workers.start([0])
    workers.start([1])
    assert (tmp_path / "a" / "b").is_dir()
    assert workers.processes == dict.fromkeys((0, 1), (tmp_path / "a" / "b", None))
    place = tmp_path / "c" / "d"
    code = "import sys; print('said'); print('mistake', file=sys.stderr)"
    job = WorkerJob((0,), ("-c", code), str(tmp_path), str(place), {})
    for _ in range(2):
        assert job._start(0).wait(20) == 0
    lines = (place / "worker-0.log").read_text().splitlines()
    assert sorted(lines) == ["mistake", "mistake", "said", "said"], "whatever it prints"


def test_a_job_looks_often_enough() -> None:
    """At how its worker is: Slurm kills it 30 seconds after it has asked."""
    assert 0 < jobs.POLL_SECONDS <= 5


def test_hydra_finds_the_launcher_of_this_machine() -> None:
    name = "src.launching.local.LocalLauncher"
    assert Plugins.instance().class_name_to_class[name] is LocalLauncher


def test_submitit_asks_slurm_nothing_about_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sacct` knows nothing without accounting, and each of submitit's questions warns."""
    submitit = pytest.importorskip("submitit")
    asked = list[Any]()
    Slurm("x")
    watcher = submitit.SlurmJob.watcher
    monkeypatch.setattr(
        "submitit.core.core.subprocess.check_output", lambda *told, **_: asked.append(told) or b""
    )
    watcher.register_job("1")
    try:
        watcher.update()
    finally:
        watcher.clear()
    assert asked == []


def test_a_spare_ends_with_the_process_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    left = list[Any]()
    monkeypatch.setattr(spare.atexit, "register", left.append)
    made = spare.Spare()
    assert psutil.pid_exists(made.pid) and left == [made.close]
    made.close()
    assert not psutil.pid_exists(made.pid)
    made.close()  # a second time there is nobody to wait for


def test_a_command_of_a_spare_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what Hydra was told here; its end is told once; Ctrl-C reaches the spare no more."""
    from hydra import initialize_config_dir

    (tmp_path / "a_look.py").write_text(
        "from hydra.core.global_hydra import GlobalHydra\n"
        "print(GlobalHydra.instance().is_initialized())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with initialize_config_dir(str(CONF)):
        made = spare.Spare()
    try:
        wait_until(lambda: os.getpgid(made.pid) == made.pid, 10)
        assert os.getpgid(made.pid) == made.pid
        process = made.start(["-m", "a_look"], tmp_path / "log", {**os.environ})
        assert process is not None and process.wait(20) == 0
        assert (tmp_path / "log").read_text() == "False\n"
        other = made.start(["-m", "a_look"], tmp_path / "log", {**os.environ})
        assert other is not None and other.wait(20) == 0
        assert not made.ours.poll(0.1)
    finally:
        made.close()
