"""The jobs of submitit, which outlive the process that submitted them."""

import os
import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil


class Queue(ABC):
    """Jobs that were submitted through submitit.

    Args:
        folder: `hydra.launcher.submitit_folder`, with `%j` for the job.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def submitted(self) -> set[str]:
        """The jobs of this folder, of this command and of earlier ones."""
        above = Path(self.folder.partition("%")[0])
        return {path.parent.name for path in above.glob("*/*_submitted.pkl")}

    def result(self, job: str) -> Any:
        """What a job returned.

        Raises:
            Exception: the job raised it, or left nothing.
        """
        from submitit.core.utils import JobPaths, UncompletedJobError, pickle_load

        path = JobPaths(self.folder, job_id=job).result_pickle
        if not path.exists():
            raise UncompletedJobError(job)
        outcome, result = pickle_load(path)
        if outcome == "error":  # its traceback
            lost = UncompletedJobError.__name__ in result
            raise (UncompletedJobError if lost else RuntimeError)(result.strip().splitlines()[-1])
        return result

    @abstractmethod
    def alive(self, jobs: set[str]) -> set[str]:
        """Those of the jobs that run or wait to begin; all of them if nobody knows."""

    @abstractmethod
    def cancel(self, jobs: set[str]) -> None:
        """Ask the jobs to end; one that doesn't is killed."""


class Slurm(Queue):
    """Asks `squeue`: without accounting, `sacct` knows nothing."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        with suppress(ImportError):  # who launches says what is missing
            from submitit import SlurmJob

            # Nobody waits for submitit's own answer, and each of its questions warns.
            cast(Any, SlurmJob.watcher).update = lambda: None

    def alive(self, jobs: set[str]) -> set[str]:
        mine = ["--user", str(os.getuid())]
        told = _run("squeue", "--noheader", "--array", "--format=%i", *mine)
        return jobs if told is None else jobs & {*told.split()}

    def cancel(self, jobs: set[str]) -> None:
        _run("scancel", *sorted(jobs))


class Processes(Queue):
    """Jobs of `submitit_local`: each is named by the process that watches it."""

    def alive(self, jobs: set[str]) -> set[str]:
        return {job for job in jobs if _process(job)}

    def cancel(self, jobs: set[str]) -> None:
        for job in jobs:
            with suppress(psutil.NoSuchProcess):
                for process in psutil.Process(int(job)).children(recursive=True):
                    process.terminate()  # submitit's own ignores it, the worker obeys


def _process(job: str) -> psutil.Process | None:
    """A job's process, if it lives and is no other with its number."""
    with suppress(psutil.Error):
        process = psutil.Process(int(job))
        if process.status() != psutil.STATUS_ZOMBIE and "submitit" in " ".join(process.cmdline()):
            return process
    return None


def _run(*command: str) -> str | None:
    """A command's output; None if it failed: the controller may be away for a while."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
