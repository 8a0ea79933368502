"""submitit's jobs: which there are, which live, and what they left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.launching import queues
from src.launching.queues import Processes, Slurm
from tests.cluster.clusters import wait_for


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """squeue and scancel that print and note their arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scancel"):
        script = f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.calls\ncat {tmp_path}/{name}.out\n'
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def test_slurm_tells_which_jobs_live(programs: Path) -> None:
    queue = Slurm(f"{programs}/.submitit/%j")
    (programs / "squeue.out").write_text("5_0\n5_1\n77\n")
    assert queue.alive({"5_1", "5_2"}) == {"5_1"}
    asked = (programs / "squeue.calls").read_text().split()
    assert "--array" in asked and asked[-1] == str(os.getuid())
    (programs / "squeue.out").unlink()  # it fails: the controller is away
    assert queue.alive({"5_1", "5_2"}) == {"5_1", "5_2"}, "nobody knows"


def test_slurm_cancels(programs: Path) -> None:
    (programs / "scancel.out").write_text("")
    Slurm("x").cancel({"5_1", "5_0"})
    assert (programs / "scancel.calls").read_text() == "5_0 5_1\n"


def test_jobs_are_found_by_what_submitit_left(tmp_path: Path) -> None:
    for job in ("5_0", "5_1"):
        (tmp_path / job).mkdir()
        (tmp_path / job / f"{job}_submitted.pkl").write_text("")
    (tmp_path / "%j").mkdir()
    assert Slurm(f"{tmp_path}/%j").submitted() == {"5_0", "5_1"}
    assert Slurm(f"{tmp_path}/none/%j").submitted() == set()


def test_a_process_lives_while_it_is_submitits() -> None:
    code = "import sys, time; print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, "submitit"]
    mine = subprocess.Popen(command, stdout=subprocess.PIPE)
    other = subprocess.Popen(["sleep", "60"])
    assert mine.stdout and mine.stdout.readline()
    queue = Processes("x")
    jobs = {str(mine.pid), str(other.pid), "999999999"}
    assert queue.alive(jobs) == {str(mine.pid)}
    for process in (mine, other):
        process.kill()
    wait_for(lambda: queue.alive(jobs) == set(), 20, "dead, though nobody has waited for it")
    for process in (mine, other):
        process.wait()


def test_a_program_that_is_not_there_tells_nothing() -> None:
    assert queues._run("no-such-program") is None
