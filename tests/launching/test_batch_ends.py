"""Jobs that were lost, jobs that are ended, and how long anybody waits for them."""

from collections.abc import Sequence
from threading import Event, enumerate
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hydra.core.utils import JobReturn, JobStatus

from src.errors import InputError
from src.launching import batch
from src.launching.batch import (
    BatchWorkers,
    QueuedWorkers,
    end_jobs,
    ended_by,
    in_background,
    wait_until,
)
from src.launching.job import WorkerJob
from src.launching.workers import Ended
from tests.launching.test_batch import JOB, Fake, returned


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "POLL_SECONDS", 0.005)


@pytest.mark.parametrize(
    "name",
    ["WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError",
     "TaskCancelledError", "TerminatedWorkerError", "UncompletedJobError", "FailedJobError"],
)  # fmt: skip
def test_what_a_lost_job_raises(name: str) -> None:
    """By the names of the launchers' own classes, and of what derives from them."""
    lost = type(name, (Exception,), {})
    derived = type("OfAnotherVersion", (lost,), {})
    assert ended_by(3, lost("x"), "ray") == ended_by(3, derived("x"), "ray") == Ended(3, -9)
    assert ended_by(3, type("Another", (Exception,), {})("x"), "ray").status == 1


def test_nothing_in_the_background_keeps_a_process_alive() -> None:
    """Slurm's call waits for ever for a job that left nothing."""
    before, release = {*enumerate()}, Event()
    future = in_background(release.wait)
    (thread,) = {*enumerate()} - before
    assert thread.daemon
    release.set()
    assert future.result(10)


def test_a_long_error_is_cut() -> None:
    words = ended_by(0, ValueError("x" * 5000), "ray").words
    assert words is not None and len(words) == 500


def test_what_a_job_raised_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Hydra would print it a second time."""
    failed = returned(ValueError("broke"), JobStatus.FAILED)
    assert batch.end_of(2, failed, "joblib") == Ended(
        2, 1, "hydra/launcher=joblib: ValueError: broke"
    )
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


def waiting(release: Event) -> Any:
    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        release.wait(10)
        return [returned((0, None))] * len(job.numbers)

    return launch


def test_all_batches_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns when every one has, not when the first has; without any, nothing is ended."""
    releases, kinds = [Event(), Event()], list[str]()
    workers = BatchWorkers("joblib", None, JOB)  # type: ignore[arg-type]

    def end(kind: str) -> None:
        kinds.append(kind)
        releases[0].set()
        batch.Thread(target=lambda: (Event().wait(0.05), releases[1].set())).start()

    monkeypatch.setattr(batch, "end_jobs", end)
    workers.stop()
    assert kinds == []
    for number, release in zip((0, 1), releases, strict=True):
        workers.launch = waiting(release)
        workers.start([number])
    running = [*workers.batches.values()]
    assert workers.running() == 2
    workers.stop()
    assert kinds == ["joblib"] and all(future.done() for future in running)
    assert workers.running() == 0


def test_one_batch_ends_while_another_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error nobody's jobs are ended."""
    ended = list[str]()
    monkeypatch.setattr(batch, "end_jobs", ended.append)
    releases = [Event(), Event()]
    workers = BatchWorkers("ray", None, JOB)  # type: ignore[arg-type]
    for numbers, release in zip(([0, 1], [2]), releases, strict=True):
        workers.launch = waiting(release)
        workers.start(numbers)
    first = workers.batches[(0, 1)]
    releases[0].set()
    assert first.result(10)
    wait_until(first.done, 10)
    assert workers.ended() == [Ended(0, 0), Ended(1, 0)]
    assert workers.running() == 1 and not ended
    releases[1].set()


def test_a_queues_numbers_follow_those_of_an_earlier_command() -> None:
    queue = Fake()
    queue.known, queue.living = {"1", "2"}, {"1", "2"}
    workers = QueuedWorkers("submitit_slurm", lambda job: [], JOB, queue)
    assert workers.left_over() == 2 and workers.jobs == {"1": 0, "2": 1}
    workers.start([])
    assert workers.running() == 2

    release, told = Event(), list[object]()

    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        told.append(job.numbers)
        Event().wait(0.03)
        queue.known |= {"9"}
        queue.living |= {"9"}
        release.wait(2)  # Slurm's waits for the ends of the jobs
        told.append("ended")
        return []

    workers.launch = launch
    workers.start([5])
    assert told == [(5,)], "it waits for the submission, and no longer"
    release.set()
    assert not workers.here
    assert workers.jobs == {"1": 0, "2": 1, "9": 5}, "those that were there aren't its own"
    queue.living = {"9"}
    queue.results = {"1": returned((0, None)), "2": returned((1, "words"))}
    assert workers.ended() == [Ended(0, 0), Ended(1, 1, "words")]


def test_a_batch_that_fails_in_part_goes_on() -> None:
    """What was submitted is under way, though the call of the launcher raised."""
    queue = Fake()

    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        queue.known, queue.living = {"4_0"}, {"4_0"}
        raise RuntimeError("the second could not be submitted")

    workers = QueuedWorkers("submitit_slurm", launch, JOB, queue)
    workers.start([0, 1])
    assert workers.jobs == {"4_0": 0}


def test_a_launcher_that_submits_nothing_and_says_nothing() -> None:
    workers = QueuedWorkers("submitit_slurm", lambda job: [], JOB, Fake())
    workers.start([0])
    assert workers.running() == 0
    with pytest.raises(InputError, match=r"pip install 'fairstep\[slurm\]'"):
        workers.launch = lambda job: (_ for _ in ()).throw(ImportError("No module"))
        workers.start([0])


def test_a_job_that_raised_gives_its_error() -> None:
    queue = Fake()
    workers = QueuedWorkers("submitit_local", lambda job: [], JOB, queue)
    workers.jobs, queue.living = {"5": 2, "11": 1}, set()
    queue.results = {"5": returned(ValueError("broke"), JobStatus.FAILED)}
    ends = workers.ended()  # the other's result can't be read
    assert [end.number for end in ends] == [2, 1], "by the numbers of the jobs"
    assert [end.words for end in ends] == [
        "hydra/launcher=submitit_local: ValueError: broke",
        "hydra/launcher=submitit_local: KeyError: '11'",
    ]
    assert workers.running() == 0


def test_stopping_waits_for_the_queue() -> None:
    """A job that was cancelled lives for a while, in which it puts its trial back."""
    queue, asked = Fake(), list[set[str]]()

    def alive(jobs: set[str]) -> set[str]:
        asked.append(jobs)
        return jobs if len(asked) < 3 else set()

    queue.alive = alive  # type: ignore[method-assign]
    workers = QueuedWorkers("submitit_slurm", lambda job: [], JOB, queue)
    workers.stop()
    assert not asked
    workers.jobs = {"1": 0}
    workers.stop()
    assert queue.cancelled == {"1"} and len(asked) == 3 and workers.running() == 0


def test_rays_jobs_are_rays_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of others are children of this process; one may have ended by itself meanwhile."""
    told = list[object]()

    def gone() -> None:
        raise psutil.NoSuchProcess(1)

    children = [SimpleNamespace(kill=gone), SimpleNamespace(kill=lambda: told.append("killed"))]
    monkeypatch.setattr(batch.psutil, "Process", lambda: SimpleNamespace(children=lambda: children))
    monkeypatch.setattr(batch, "end_tasks", told.append)
    end_jobs("ray")
    assert told == [batch.STOP_SECONDS]
    end_jobs("joblib")
    assert told == [batch.STOP_SECONDS, "killed"]


def test_a_wait_is_no_longer_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += 1.0

    monkeypatch.setattr(batch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(batch.time, "sleep", sleep)
    wait_until(lambda: False, 3.0)
    assert slept == [0.005] * 3
    wait_until(lambda: True, 3.0)
    assert len(slept) == 3
    wait_until(lambda: False)
    assert 30 < len(slept) - 3 < 60, "longer than Slurm takes to kill a job, but no minute"
