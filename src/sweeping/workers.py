"""Several workers on this machine: each is the same command, pulling trials from the study."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from optuna.trial import TrialState

from src.errors import InputError
from src.sweeping.progress import SweepProgress
from src.sweeping.study import SharedStudy

WORKER = "FAIRSTEP_WORKER"  # set in a worker's environment, to its controller's process id
MAX_RESTARTS = 10  # of workers that were killed
POLL_SECONDS = 0.5


def run_workers(count: int, study: SharedStudy, progress: SweepProgress, folder: Path) -> None:
    """Keep `count` workers going until the study is complete.

    Each is a process of its own, so none waits for another; what they print goes to
    `worker-N.log` in the study's folder.

    Raises:
        InputError: a worker gave up, with its last words.
        KeyboardInterrupt: after every worker has told the study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workers = {number: _start(number, folder) for number in range(count)}
    restarts = 0
    try:
        with progress:
            while workers:
                time.sleep(POLL_SECONDS)
                progress.update()
                for number, worker in list(workers.items()):
                    status = worker.poll()
                    if status is None:
                        continue
                    del workers[number]
                    if status > 0:
                        raise InputError(_last_words(folder / f"worker-{number}.log"))
                    if status < 0 and restarts < MAX_RESTARTS:
                        restarts += 1
                        workers[number] = _start(number, folder)
            progress.update()
    finally:
        _stop(list(workers.values()))
    _check_complete(study)


def _start(number: int, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, WORKER: str(os.getpid())}
    environment.pop("HYDRA_FULL_ERROR", None)  # set by the entry point for its own use
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
    return WORKER in os.environ and os.getppid() != int(os.environ[WORKER])


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to tell the study and end."""
    for worker in workers:
        worker.send_signal(signal.SIGINT)
    for worker in workers:
        try:
            worker.wait(timeout=20)
        except subprocess.TimeoutExpired:
            worker.kill()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
    return f"a worker gave up: {lines[-1].removeprefix('error: ')} (see {log})"


def _check_complete(study: SharedStudy) -> None:
    running = [one.number for one in study.trials() if one.state is TrialState.RUNNING]
    if study.counted() < study.n_trials:
        raise InputError(
            f"every worker was killed before study {study.name} was complete "
            f"({study.counted()} of {study.n_trials} trials, running: {running}); "
            "the same command goes on"
        )
