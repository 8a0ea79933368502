"""Workers as processes of this machine: the default."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins

from src.launching.workers import Ended, Workers, environment_of, log_of


class LocalLauncher(BasicLauncher):
    """Runs the jobs of a plain multirun one after another, in this process."""


class LocalWorkers(Workers):
    """A separate process for each, so that none waits for another.

    Args:
        folder: of the study.
        gpus: as CUDA_VISIBLE_DEVICES names them; worker N gets the next in turn.
    """

    def __init__(self, folder: Path, gpus: Sequence[str] = ()) -> None:
        self.folder, self.gpus = folder, gpus
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, numbers: Sequence[int]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            gpu = self.gpus[number % len(self.gpus)] if self.gpus else None
            self.processes[number] = start_process(number, self.folder, gpu)

    def ended(self) -> list[Ended]:
        statuses = {number: process.poll() for number, process in self.processes.items()}
        ended = [Ended(number, status) for number, status in statuses.items() if status is not None]
        for worker in ended:
            del self.processes[worker.number]
        return ended

    def running(self) -> int:
        return len(self.processes)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            end(process)


def start_process(number: int, folder: Path, gpu: str | None) -> subprocess.Popen[bytes]:
    visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    with open(log_of(folder, number), "ab") as log:
        return subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],  # whatever script this is
            env=environment_of(os.environ, os.getpid(), **visible),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,  # Ctrl-C on a terminal reaches the controller, which asks them to end
        )


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


Plugins.instance().register(LocalLauncher)
