"""What submitit's jobs left, as submitit itself writes it, and how their processes are ended."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from src.launching import queues
from src.launching.queues import Processes, Slurm


def left(folder: Path, job: str, outcome: str, result: Any) -> None:
    utils = pytest.importorskip("submitit.core.utils")
    path = utils.JobPaths(f"{folder}/%j", job_id=job).result_pickle
    path.parent.mkdir(parents=True)
    utils.cloudpickle_dump((outcome, result), path)


def test_what_a_job_returned(tmp_path: Path) -> None:
    left(tmp_path, "7_1", "success", {"a": 1})
    assert Slurm(f"{tmp_path}/%j").result("7_1") == {"a": 1}


@pytest.mark.parametrize(
    ("trace", "error"),
    [
        ("Traceback\nValueError: broke\n", "RuntimeError"),
        ("Traceback\nsubmitit.core.utils.UncompletedJobError: preempted", "UncompletedJobError"),
    ],
)
def test_what_a_job_raised(tmp_path: Path, trace: str, error: str) -> None:
    """The last line of its traceback; a job that was lost keeps its class, by which it is known."""
    left(tmp_path, "7", "error", trace)
    with pytest.raises(Exception) as caught:
        Processes(f"{tmp_path}/%j").result("7")
    assert type(caught.value).__name__ == error
    assert str(caught.value) == trace.strip().splitlines()[-1]


def test_a_job_that_left_nothing(tmp_path: Path) -> None:
    utils = pytest.importorskip("submitit.core.utils")
    with pytest.raises(utils.UncompletedJobError, match="7_1"):
        Slurm(f"{tmp_path}/%j").result("7_1")


def test_submitit_asks_slurm_nothing(tmp_path: Path) -> None:
    """Its own questions go to sacct, which knows nothing without accounting."""
    submitit = pytest.importorskip("submitit")
    Slurm(str(tmp_path))
    assert submitit.SlurmJob.watcher.update() is None


def test_the_processes_below_a_job_are_asked_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, of each job that lives; the job's own process would ignore it."""
    asked = list[str]()
    trees = {11: ["a worker", "its loader"], 12: ["another"]}

    def process(number: int) -> Any:
        if number not in trees:
            raise psutil.NoSuchProcess(number)

        def children(recursive: bool = False) -> list[Any]:
            below = trees[number] if recursive else trees[number][:1]
            return [SimpleNamespace(terminate=lambda name=name: asked.append(name))
                    for name in below]  # fmt: skip

        return SimpleNamespace(children=children)

    monkeypatch.setattr(queues.psutil, "Process", process)
    Processes("x").cancel({"11", "12", "13"})
    assert sorted(asked) == ["a worker", "another", "its loader"]


@pytest.mark.parametrize(("code", "told"), [("print('so')", "so\n"), ("exit(3)", None)])
def test_a_programs_output(code: str, told: str | None) -> None:
    assert queues._run(sys.executable, "-c", code) == told


def test_a_program_that_hangs_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a minute or so: whoever asks has workers to look after."""
    given: dict[str, Any] = {}

    def run(command: Any, **options: Any) -> Any:
        given.update(options)
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(queues.subprocess, "run", run)
    assert queues._run("squeue") is None
    assert 10 <= given["timeout"] <= 100


def test_slurm_is_asked_about_this_users_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of an array by itself, by its number alone."""
    asked = list[tuple[str, ...]]()
    monkeypatch.setattr(queues, "_run", lambda *command: asked.append(command) or "5_1\n")
    assert Slurm("x").alive({"5_1", "5_2"}) == {"5_1"}
    ((program, *words),) = asked
    assert program == "squeue" and {"--noheader", "--array", "--format=%i"} <= {*words}
    assert words[words.index("--user") + 1] == str(os.getuid())
