"""Workers in jobs of Hydra's launchers: joblib, Ray, submitit on this machine and on Slurm."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from io import StringIO
from threading import Thread
from typing import Any

import psutil
from hydra.core.utils import JobReturn

from src.errors import InputError
from src.launching.choices import EXTRAS, RAY
from src.launching.job import WorkerJob
from src.launching.queues import Queue
from src.launching.ray_tasks import end_tasks
from src.launching.workers import Ended, Workers

# Errors of launchers whose job was lost: its node or process is gone, its time is over.
LOST = {
    *("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError"),
    *("TaskCancelledError", "TerminatedWorkerError", "UncompletedJobError", "FailedJobError"),
}
KILLED = -9
STOP_SECONDS = 40.0  # Slurm kills 30 s after it has asked
SUBMIT_SECONDS = 120.0
POLL_SECONDS = 0.5

Launch = Callable[[WorkerJob], Sequence[JobReturn]]


class BatchWorkers(Workers):
    """Starts each batch of workers with one call of a launcher, which waits for all of them.

    Args:
        kind: the launcher.
        launch: runs a job once for each of its numbers, and returns when all have ended.
        job: what is run; `start` gives it the numbers.
    """

    here = False

    def __init__(self, kind: str, launch: Launch, job: WorkerJob) -> None:
        self.kind, self.launch, self.job = kind, launch, job
        self.batches: dict[tuple[int, ...], Future[Sequence[JobReturn]]] = {}

    def start(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        job = replace(self.job, numbers=tuple(numbers))
        self.batches[tuple(numbers)] = in_background(lambda: self.launch(job))

    def ended(self) -> list[Ended]:
        over = [numbers for numbers, batch in self.batches.items() if batch.done()]
        return [worker for numbers in over for worker in self._ends(numbers)]

    def _ends(self, numbers: tuple[int, ...]) -> list[Ended]:
        batch = self.batches.pop(numbers)
        if error := batch.exception():
            end_jobs(self.kind)  # others of the batch may be under way
            return [ended_by(number, error, self.kind) for number in numbers]
        ends = zip(numbers, batch.result(), strict=True)
        return [end_of(number, job, self.kind) for number, job in ends]

    def running(self) -> int:
        return sum(map(len, self.batches))

    def stop(self) -> None:
        if not self.batches:
            return
        end_jobs(self.kind)
        wait_until(lambda: all(batch.done() for batch in self.batches.values()))
        self.batches.clear()


class QueuedWorkers(Workers):
    """Workers that outlive this process: a queue says which are under way.

    Args:
        kind: the launcher.
        launch: submits a job for each number, and waits for all of them; nobody waits for it.
        job: what is run; `start` gives it the numbers.
        queue: of the jobs.
    """

    here = False

    def __init__(self, kind: str, launch: Launch, job: WorkerJob, queue: Queue) -> None:
        self.kind, self.launch, self.job, self.queue = kind, launch, job, queue
        self.jobs: dict[str, int] = {}  # the number of each job's worker

    def left_over(self) -> int:
        self.jobs |= dict.fromkeys(sorted(self.queue.alive(self.queue.submitted())), -1)
        self.jobs = {job: number for number, job in enumerate(self.jobs)}
        return len(self.jobs)

    def start(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        job, before = replace(self.job, numbers=tuple(numbers)), self.queue.submitted()
        batch = in_background(lambda: self.launch(job))
        wait_until(
            lambda: batch.done() or len(self.queue.submitted() - before) >= len(numbers),
            SUBMIT_SECONDS,
        )
        jobs = sorted(self.queue.submitted() - before, key=in_order)
        if not jobs and (error := batch.done() and batch.exception()):
            raise InputError(ended_by(0, error, self.kind).words) from error
        self.jobs |= dict(zip(jobs, numbers, strict=False))

    def ended(self) -> list[Ended]:
        over = self.jobs.keys() - self.queue.alive(set(self.jobs))
        return [self._end(job, self.jobs.pop(job)) for job in sorted(over, key=in_order)]

    def _end(self, job: str, number: int) -> Ended:
        try:
            return end_of(number, self.queue.result(job), self.kind)
        except Exception as error:  # the launcher's own, of many classes
            return ended_by(number, error, self.kind)

    def running(self) -> int:
        return len(self.jobs)

    def stop(self) -> None:
        if self.jobs:
            self.queue.cancel(set(self.jobs))
            wait_until(lambda: not self.queue.alive(set(self.jobs)))
            self.jobs.clear()


def in_order(job: str) -> list[int]:
    """Sorts the jobs of an array by their numbers."""
    return [int(part) for part in job.split("_")]


def in_background(action: Callable[[], Any]) -> Future[Any]:
    """Call an action in a thread that the end of this process doesn't wait for."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def end_of(number: int, job: JobReturn, kind: str) -> Ended:
    """How a worker ended whose job returned."""
    try:
        with redirect_stderr(StringIO()):  # where Hydra would say that a job raised
            status, words = job.return_value
    except Exception as error:  # whatever it raised
        return ended_by(number, error, kind)
    return Ended(number, status, words)


def ended_by(number: int, error: BaseException, kind: str) -> Ended:
    """How a worker ended whose launcher raised: its job was lost, or could not be had."""
    if any(cls.__name__ in LOST for cls in type(error).__mro__):
        return Ended(number, KILLED)
    if isinstance(error, ImportError):
        words = f"hydra/launcher={kind}: {error}; pip install 'fairstep[{EXTRAS[kind]}]'"
    else:
        words = f"hydra/launcher={kind}: {type(error).__name__}: {error}"
    return Ended(number, 1, " ".join(words.split())[:500])


def end_jobs(kind: str) -> None:
    """End a launcher's jobs that live no longer than this process; their workers follow."""
    if kind == RAY:
        end_tasks(STOP_SECONDS)
        return
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            process.kill()


def wait_until(holds: Callable[[], object], seconds: float = STOP_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
