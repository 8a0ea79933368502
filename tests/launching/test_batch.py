"""Batches of workers: what is started, and how their ends are told apart."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from src.errors import InputError
from src.launching import batch
from src.launching.batch import BatchWorkers, QueuedWorkers, in_order
from src.launching.job import WorkerJob
from src.launching.queues import Queue
from src.launching.workers import Ended

JOB = WorkerJob((), ("-m", "x"), "/", "/", {})


def returned(value: object, status: JobStatus = JobStatus.COMPLETED) -> JobReturn:
    job = JobReturn()
    job.status, job.return_value = status, value
    return job


class NodeDiedError(Exception):
    """Ray's, by its name."""


def ends(workers: BatchWorkers) -> list[Ended]:
    batch.wait_until(lambda: all(future.done() for future in workers.batches.values()), 10)
    return workers.ended()


def test_a_batch_tells_how_each_worker_ended() -> None:
    release, jobs = Event(), list[WorkerJob]()

    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        jobs.append(job)
        release.wait(10)
        failed = returned(FileNotFoundError("no\n  shared folder"), JobStatus.FAILED)
        return [returned((0, None)), returned((-9, None)), returned((1, "words")), failed]

    workers = BatchWorkers("ray", launch, JOB)
    workers.start([])
    assert not workers.batches
    workers.start([0, 3, 5, 7])
    assert workers.running() == 4 and workers.ended() == [] and not workers.here
    release.set()
    assert ends(workers) == [
        Ended(0, 0), Ended(3, -9), Ended(5, 1, "words"),
        Ended(7, 1, "hydra/launcher=ray: FileNotFoundError: no shared folder"),
    ]  # fmt: skip
    assert workers.running() == 0 and jobs[0].numbers == (0, 3, 5, 7)
    assert workers.left_over() == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NodeDiedError("gone"), Ended(2, -9)),
        (ImportError("No module named 'ray'"), Ended(2, 1, "hydra/launcher=ray: No module named "
                                                           "'ray'; pip install 'fairstep[ray]'")),
        (ValueError("a\nb"), Ended(2, 1, "hydra/launcher=ray: ValueError: a b")),
    ],
)  # fmt: skip
def test_a_launcher_that_raises(
    error: Exception, expected: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that died is another's fault; what can't work would fail again."""
    ended = list[str]()
    monkeypatch.setattr(batch, "end_jobs", ended.append)

    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        raise error

    workers = BatchWorkers("ray", launch, JOB)
    workers.start([2])
    assert ends(workers) == [expected] and ended == ["ray"], "the others of the batch are ended"


class Fake(Queue):
    """A queue in memory."""

    def __init__(self) -> None:
        super().__init__("")
        self.known, self.living = set[str](), set[str]()
        self.cancelled, self.results = set[str](), dict[str, Any]()

    def submitted(self) -> set[str]:
        return {*self.known}

    def result(self, job: str) -> Any:
        return self.results[job]

    def alive(self, jobs: set[str]) -> set[str]:
        return jobs & self.living

    def cancel(self, jobs: set[str]) -> None:
        self.cancelled |= jobs
        self.living -= jobs


def queued(queue: Fake, jobs: Sequence[str]) -> QueuedWorkers:
    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        queue.known |= {*jobs}
        queue.living |= {*jobs}
        Event().wait(30)  # Slurm's waits for ever for a job that left nothing
        return []

    return QueuedWorkers("submitit_slurm", launch, JOB, queue)


def test_jobs_of_a_queue_end_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "POLL_SECONDS", 0.01)
    queue = Fake()
    workers = queued(queue, ["7_10", "7_2"])
    workers.start([0, 1])
    assert workers.jobs == {"7_2": 0, "7_10": 1} and workers.ended() == []
    queue.living = {"7_10"}
    queue.results["7_2"] = returned((0, None))
    assert workers.ended() == [Ended(0, 0)] and workers.running() == 1
    workers.stop()
    assert queue.cancelled == {"7_10"} and workers.running() == 0
    assert in_order("7_10") > in_order("7_2")


def test_a_job_that_left_nothing_was_lost() -> None:
    from builtins import type as make

    queue = Fake()
    workers = QueuedWorkers("submitit_slurm", lambda job: [], JOB, queue)
    lost = make("UncompletedJobError", (Exception,), {})

    def result(job: str) -> Any:
        raise lost(job)

    queue.result = result  # type: ignore[method-assign]
    workers.jobs = {"3": 4}
    assert workers.ended() == [Ended(4, -9)]


def test_jobs_of_an_earlier_command_count() -> None:
    queue = Fake()
    queue.known, queue.living = {"1", "2", "3"}, {"2", "3", "99"}
    workers = queued(queue, [])
    assert workers.left_over() == 2 and workers.running() == 2
    assert sorted(workers.jobs.values()) == [0, 1] and {*workers.jobs} == {"2", "3"}


def test_a_submission_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        raise RuntimeError("sbatch: error: invalid partition\nspecified: x")

    workers = QueuedWorkers("submitit_slurm", launch, JOB, Fake())
    monkeypatch.setattr(batch, "POLL_SECONDS", 0.01)
    with pytest.raises(InputError, match="hydra/launcher=submitit_slurm: RuntimeError: sbatch: "
                                         "error: invalid partition specified: x"):  # fmt: skip
        workers.start([0])
