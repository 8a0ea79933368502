"""Workers as processes of this machine: the default."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins

from src.launching.copying import LOOK_SECONDS, Copy, can_be_copied
from src.launching.spare import spare
from src.launching.workers import Ended, Process, Workers, environment_of, log_of


class LocalLauncher(BasicLauncher):
    """Runs the jobs of a plain multirun one after another, in this process."""


class LocalWorkers(Workers):
    """A separate process for each, so that none waits for another.

    Args:
        folder: of the study.
        gpus: as CUDA_VISIBLE_DEVICES names them; worker N gets the next in turn.
        work: what a worker does in a copy of this process, which has imported and checked all
            that a new process would have to. None if only new processes can work.
    """

    def __init__(
        self, folder: Path, gpus: Sequence[str] = (), work: Callable[[], object] | None = None
    ) -> None:
        self.folder, self.gpus, self.work = folder, gpus, work
        self.processes: dict[int, Process] = {}

    def start(self, numbers: Sequence[int]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        work, self.work = self.work, None  # what starts later follows a kill: it starts anew
        for number in numbers:
            gpu = self.gpus[number % len(self.gpus)] if self.gpus else None
            if work is not None and can_be_copied():
                environment = environment_of(os.environ, os.getpid())
                self.processes[number] = Copy(work, log_of(self.folder, number), environment)
            else:
                self.processes[number] = start_process(number, self.folder, gpu)

    def ended(self) -> list[Ended]:
        statuses = {number: process.poll() for number, process in self.processes.items()}
        ended = [Ended(number, status) for number, status in statuses.items() if status is not None]
        for worker in ended:
            del self.processes[worker.number]
        return ended

    def running(self) -> int:
        return len(self.processes)

    def wait(self, seconds: float) -> None:
        """Return when a worker has ended, too."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self.processes.values()):
                return
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            end(process)


def start_process(number: int, folder: Path, gpu: str | None) -> Process:
    """Start this command again."""
    visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    environment = environment_of(os.environ, os.getpid(), **visible)
    return start(sys.orig_argv[1:], log_of(folder, number), environment)  # whatever script this is


def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Start Python with these words, in a copy that was set aside, else anew; it prints to log."""
    if (aside := spare()) and (process := aside.start(command, log, environment)):
        return process
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,  # Ctrl-C on a terminal reaches the controller, which asks them to end
        )


def end(process: Process) -> int:
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
