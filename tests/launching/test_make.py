"""From a config to workers: what a launcher of Hydra's is given, and whose jobs outlive us."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from src.launching import make
from src.launching.batch import BatchWorkers, QueuedWorkers
from src.launching.choices import TARGETS
from src.launching.job import WorkerJob
from src.launching.local import LocalWorkers
from src.launching.queues import Processes, Slurm

TARGET = {kind: target for target, kind in TARGETS.items()}
WORDS = ["python", "-m", "src.train", "-m", "sweeps=sgd"]


class Launcher:
    """Keeps what it is told to launch."""

    def __init__(self) -> None:
        self.joblib = {"n_jobs": -1}
        self.launched: list[tuple[list[list[str]], int]] = []
        self.given: dict[str, Any] = {}
        self.remembered = 0

    def remember(self) -> None:
        self.remembered += 1

    def launch(self, overrides: list[list[str]], first: int) -> list[str]:
        self.launched.append((overrides, first))
        return ["ended"] * len(overrides)


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Launcher:
    made = Launcher()

    def instantiate(**given: Any) -> Launcher:
        made.given = given
        return made

    plugins = SimpleNamespace(instance=lambda: SimpleNamespace(instantiate_launcher=instantiate))
    monkeypatch.setattr(make, "Plugins", plugins)
    monkeypatch.setattr(make, "remember_tasks", made.remember)
    monkeypatch.setattr(sys, "orig_argv", WORDS)
    return made


def config(kind: str, **settings: object) -> DictConfig:
    return OmegaConf.create({"hydra": {"launcher": {"_target_": TARGET[kind], **settings}}})


def launched(kind: str, numbers: Sequence[int], folder: Path, **settings: object) -> Any:
    """The workers of a launcher, with one batch of its jobs launched; what that gave."""
    workers: Any = make.make_workers(config(kind, **settings), "loader", ["a=1"], folder)  # type: ignore[arg-type]
    job = WorkerJob(numbers, *[getattr(workers.job, name) for name in WorkerJob.__match_args__[1:]])
    return workers, workers.launch(job)


def test_local_workers_get_their_gpus_and_their_work(tmp_path: Path) -> None:
    work = print
    workers = make.make_workers(config("local"), None, (), tmp_path, ["3"], work)  # type: ignore[arg-type]
    assert isinstance(workers, LocalWorkers)
    assert (workers.folder, workers.gpus, workers.work) == (tmp_path, ["3"], work)


def test_a_job_is_the_submitters_command(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words, its directory and what it must know of its environment, but no password."""
    monkeypatch.setenv("PYTHONPATH", "/p")
    monkeypatch.setenv("FAIRSTEP_OUTPUTS", "/o")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.chdir(tmp_path)
    workers, ended = launched("ray", (0, 4), tmp_path / "study")
    assert isinstance(workers, BatchWorkers) and workers.kind == "ray"
    job = workers.job
    assert (job.arguments, job.directory, job.folder) == (
        WORDS[1:], str(tmp_path), str(tmp_path / "study"),
    )  # fmt: skip
    assert job.environment.items() >= {"PYTHONPATH": "/p", "FAIRSTEP_OUTPUTS": "/o"}.items()
    assert "PGPASSWORD" not in job.environment and job.environment.items() <= os.environ.items()
    assert ended == ["ended"] * 2
    ((overrides, first),) = launcher.launched
    assert first == 0 and len(overrides) == 2 and overrides[0] == overrides[1]
    assert overrides[0][0] == "a=1" and "hydra.output_subdir=null" in overrides[0]
    assert launcher.given["task_function"].numbers == (0, 4)
    assert launcher.given["hydra_context"].config_loader == "loader"
    assert launcher.given["config"] == config("ray")
    assert launcher.remembered == 1, "tasks that can be asked to end"


@pytest.mark.parametrize(
    ("kind", "given", "used"), [("joblib", -1, 3), ("joblib", 2, -1), ("ray", -1, -1)]
)
def test_joblib_has_as_many_at_once_as_there_are_workers(
    launcher: Launcher, tmp_path: Path, kind: str, given: int, used: int
) -> None:
    """Where nobody said how many: a worker that waited for another's end would never begin."""
    launched(kind, (0, 1, 2), tmp_path, n_jobs=given)
    assert launcher.joblib == {"n_jobs": used} and launcher.remembered == (kind == "ray")


@pytest.mark.parametrize(
    ("kind", "queue"), [("submitit_slurm", Slurm), ("submitit_local", Processes)]
)
def test_submitits_jobs_wait_in_a_queue(
    launcher: Launcher, tmp_path: Path, kind: str, queue: type
) -> None:
    workers, _ = launched(kind, (0,), tmp_path, submitit_folder=f"{tmp_path}/%j")
    assert isinstance(workers, QueuedWorkers) and workers.kind == kind
    assert type(workers.queue) is queue and workers.queue.folder == f"{tmp_path}/%j"


def test_a_plain_multirun_cancels_its_jobs_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are left; jobs of a launcher without a queue end with this process anyway."""
    left, cancelled, at_exit = {"1", "2"}, list[set[str]](), list[tuple[Any, ...]]()
    monkeypatch.setattr(make.atexit, "register", lambda *told: at_exit.append(told))
    monkeypatch.setattr(Processes, "submitted", lambda self: {"1", "2", "3"})
    monkeypatch.setattr(Processes, "alive", lambda self, jobs: jobs & left)
    monkeypatch.setattr(Processes, "cancel", lambda self, jobs: cancelled.append(jobs))
    make.cancel_at_exit(config("joblib"))
    assert not at_exit
    make.cancel_at_exit(config("submitit_local", submitit_folder="x/%j"))
    ((action, *given),) = at_exit
    action(*given)
    assert cancelled == [{"1", "2"}]
    left.clear()
    action(*given)
    assert len(cancelled) == 1, "nobody asks for nothing"
