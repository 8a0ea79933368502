"""Workers as processes of this machine: the default."""

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins

from src.launching.workers import Ended, Process, Workers, environment_of, log_of

LOOK_SECONDS = 0.02  # how often a wait for the end of a worker looks


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


def can_be_copied() -> bool:
    """Whether a fork of this process can go on with everything that this process can do.

    In a fork only the thread that forked goes on; what another held or was doing is stuck for
    ever. Nor do other systems' libraries bear it.
    """
    return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


class Copy:
    """A copy of this process that does something else; to its parent it is as a `Popen`.

    Args:
        work: what it does; it ends when this returns, or as Python ends when this raises.
        log: a file, to which what it prints is added.
        environment: all of its environment.
    """

    def __init__(
        self, work: Callable[[], object], log: Path, environment: Mapping[str, str]
    ) -> None:
        with open(log, "ab") as output:
            arguments = (work, environment, output.fileno())
            self.process = get_context("fork").Process(target=_begin, args=arguments)
            self.process.start()
        assert self.process.pid is not None
        self.pid: int = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired("a worker", timeout or 0.0)
        return status

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()


def _begin(work: Callable[[], object], environment: Mapping[str, str], log: int) -> None:
    """Be a process of one's own, as `start_process` makes them, and work."""
    atexit._clear()  # what this process is a copy of does that itself
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(log, number)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    try:
        work()
    finally:
        atexit._run_exitfuncs()


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
