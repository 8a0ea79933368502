"""Several workers on this machine; each runs the same command and takes trials of the study."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from optuna.trial import TrialState

from src.errors import InputError
from src.files import no_room
from src.launching.local import end as end
from src.launching.workers import PARENT as PARENT
from src.launching.workers import Ended, Workers, log_of
from src.results.place import WORKER
from src.sweeping.progress import SweepProgress
from src.sweeping.storage import ROOM
from src.sweeping.study import MAX_DEATHS, SharedStudy

# Restarts of killed workers, per worker, until a further trial counts. It must exceed the deaths
# after which a trial counts.
MAX_RESTARTS = MAX_DEATHS + 2
POLL_SECONDS = 0.5


def run_workers(
    count: int, workers: Workers, study: SharedStudy, progress: SweepProgress, folder: Path
) -> None:
    """Keep `count` workers running until the study is complete.

    None waits for another; their output goes to `worker-N.log` in the study's folder. Workers
    that an earlier command left behind count among them.

    Raises:
        InputError: a worker gave up; the message holds its last line.
        KeyboardInterrupt: every worker has reported to the study before.
    """
    restarts = counted = 0
    try:
        workers.start(range(workers.left_over(), count))
        with progress:
            while workers.running():
                workers.wait(POLL_SECONDS)
                progress.update()
                if progress.counted > counted:
                    restarts, counted = 0, progress.counted
                killed = []
                for worker in workers.ended():
                    if worker.status > 0 and study.counted() < study.n_trials:
                        raise InputError(f"a worker gave up: {_words(worker, folder)}")
                    if worker.status < 0 and restarts < MAX_RESTARTS * count:
                        restarts += 1
                        killed.append(worker.number)
                if killed and study.counted() < study.n_trials:
                    workers.start(killed)
            progress.update()
    finally:
        workers.stop()
    _check_complete(study)


def _words(worker: Ended, folder: Path) -> str:
    return worker.words or last_words(log_of(folder, worker.number))


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Let a comparison's search wait for one that a killed command left at the same study."""
    if PARENT not in os.environ or WORKER in os.environ:
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def last_words(log: Path) -> str:
    """The last line of a process's output, and the path of the log.

    On a full disk the process couldn't print it, so the disk's error stands for it.
    """
    if full := no_room(log.parent):
        return f"{log.parent}: {full.strerror}; {ROOM}"
    lines = log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
    return f"{lines[-1].removeprefix('error: ')} (see {log})"


def _check_complete(study: SharedStudy) -> None:
    running = [trial.number for trial in study.trials() if trial.state is TrialState.RUNNING]
    if study.counted() < study.n_trials:
        raise InputError(
            f"every worker was killed before study {study.name} was complete "
            f"({study.counted()} of {study.n_trials} trials, running: {running}); "
            "the same command goes on"
        )
