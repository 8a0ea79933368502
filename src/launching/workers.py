"""What every launcher does: it starts workers, says which have ended, and stops the others.

A worker is the submitter's own command with WORKER in its environment. It pulls trials from the
study until the study is complete, so a launcher needs no queue, and it never waits for one trial.
"""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Protocol

from src.results.place import JOB, WORKER

PARENT = "FAIRSTEP_PARENT"  # the process without which this one ends, after the trial it runs
PARENT_SECONDS = 1.0  # how often it looks
ENDING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Process(Protocol):
    """A process that was started here, as `subprocess.Popen` shows it."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True)
class Ended:
    """A worker that has ended.

    Args:
        number: of the worker, >= 0.
        status: 0 if it found nothing more to do; > 0 if it gave up; < 0 if it was killed.
        words: why it ended; None if its log says so.
    """

    number: int
    status: int
    words: str | None = None


class Workers(ABC):
    """The workers of a study; their output goes to `worker-N.log` in its folder."""

    here = True  # all of them are processes of this machine, started by this process

    def left_over(self) -> int:
        """How many workers of an earlier command are still under way; they are watched, too."""
        return 0

    @abstractmethod
    def start(self, numbers: Sequence[int]) -> None:
        """Start workers of these numbers; return at once."""

    @abstractmethod
    def ended(self) -> list[Ended]:
        """The workers that have ended since the last call."""

    @abstractmethod
    def running(self) -> int:
        """How many workers are under way, or wait to begin."""

    def wait(self, seconds: float) -> None:
        """Let some time pass, > 0 seconds."""
        time.sleep(seconds)

    @abstractmethod
    def stop(self) -> None:
        """Ask all workers to put their trials back and to end; return when they have."""


def log_of(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}.log"


def environment_of(base: Mapping[str, str], parent: int, **added: str) -> dict[str, str]:
    """A worker's environment.

    Args:
        base: of the process that starts it.
        parent: the process without which the worker ends.
        added: further variables.
    """
    environment = {**base, WORKER: "1", PARENT: str(parent), **added}
    environment.pop("HYDRA_FULL_ERROR", None)  # the entry point sets it for itself
    return environment


def is_orphan() -> bool:
    """Whether this is a worker whose controller is gone: it ends with the trial that it runs."""
    return PARENT in os.environ and os.getppid() != int(os.environ[PARENT])


def obey_job() -> None:
    """Let a worker in a launcher's job end with that job, as at SIGTERM: it puts its trial back.

    Slurm sends a signal of the user to all processes of a job before its time is over or another
    takes its place; Ray kills a job's process, and may leave those that it started.
    """
    if JOB not in os.environ:
        return
    for number in ENDING[1:]:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGTERM))
    Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a worker that was asked to end say so to its study: whoever asks may ask twice."""
    if WORKER not in os.environ:
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    while not is_orphan():
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
