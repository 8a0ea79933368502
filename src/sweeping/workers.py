"""Several workers on this machine; each runs the same command and takes trials of the study."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from optuna.trial import TrialState

from src.errors import InputError
from src.files import no_room
from src.sweeping.progress import SweepProgress
from src.sweeping.storage import ROOM
from src.sweeping.study import MAX_DEATHS, SharedStudy

WORKER = "FAIRSTEP_WORKER"  # set in a worker's environment: it prints no results
PARENT = "FAIRSTEP_PARENT"  # the process without which this one ends, after the trial it runs
# Restarts of killed workers, per worker, until a further trial counts. It must exceed the deaths
# after which a trial counts.
MAX_RESTARTS = MAX_DEATHS + 2
POLL_SECONDS = 0.5


def run_workers(count: int, study: SharedStudy, progress: SweepProgress, folder: Path) -> None:
    """Keep `count` workers running until the study is complete.

    Each is a separate process, so none waits for another; its output goes to `worker-N.log` in
    the study's folder.

    Raises:
        InputError: a worker gave up; the message holds its last line.
        KeyboardInterrupt: every worker has reported to the study before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workers: dict[int, subprocess.Popen[bytes]] = {}
    restarts = counted = 0
    try:
        for number in range(count):
            workers[number] = _start(number, folder)
        with progress:
            while workers:
                time.sleep(POLL_SECONDS)
                progress.update()
                if progress.counted > counted:
                    restarts, counted = 0, progress.counted
                for number, worker in list(workers.items()):
                    status = worker.poll()
                    if status is None:
                        continue
                    del workers[number]
                    if status > 0:
                        log = folder / f"worker-{number}.log"
                        raise InputError(f"a worker gave up: {last_words(log)}")
                    if status < 0 and restarts < MAX_RESTARTS * count:
                        restarts += 1
                        workers[number] = _start(number, folder)
            progress.update()
    finally:
        _stop(list(workers.values()))
    _check_complete(study)


def _start(number: int, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, WORKER: "1", PARENT: str(os.getpid())}
    environment.pop("HYDRA_FULL_ERROR", None)  # the entry point sets it for itself
    with open(folder / f"worker-{number}.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],  # whatever script this is
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,  # Ctrl-C on a terminal reaches the controller, which asks them to end
        )


def is_orphan() -> bool:
    """Whether this is a worker whose controller is gone: it ends with the trial that it runs."""
    return PARENT in os.environ and os.getppid() != int(os.environ[PARENT])


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


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to report to the study and to end."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        end(worker)


def end(process: subprocess.Popen[bytes]) -> int:
    """Ask a process of ours to end as at Ctrl-C; kill it if it doesn't.

    It uses SIGTERM, because a script's background processes ignore SIGINT.
    """
    process.terminate()
    try:
        return process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


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
