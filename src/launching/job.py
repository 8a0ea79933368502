"""What a launcher runs as its job, on whatever machine: a worker, watched until it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from src.launching.local import end
from src.launching.workers import environment_of, log_of
from src.results.place import JOB, NODE

RESTARTS = 5  # of a worker that was killed, within one job
INTERRUPTED = (130, 143)  # its exit status after Ctrl-C, SIGTERM
POLL_SECONDS = 0.5


class Signals:
    """Those that a handler of this process's took once it listens, whatever that did with them."""

    def __init__(self) -> None:
        self.inbox: socket.socket | None = None
        self.outbox: socket.socket | None = None
        self.heard: set[int] = set()

    def listen(self) -> None:
        self.inbox, self.outbox = socket.socketpair()
        self.inbox.setblocking(False)
        self.outbox.setblocking(False)
        signal.set_wakeup_fd(self.outbox.fileno(), warn_on_full_buffer=False)

    def have(self, number: int) -> bool:
        with suppress(BlockingIOError):
            self.heard |= {*(self.inbox.recv(4096) if self.inbox else b"")}
        return number in self.heard


SIGNALS = Signals()


def _arrived(*values: Any) -> "WorkerJob":
    """A job that its process has unpickled.

    Slurm asks each process of a job to end, once. From now on submitit lets that pass, and a
    worker that isn't there yet can't hear it: it would take a trial, and be killed in it.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if "SUBMITIT_EXECUTOR" in os.environ and in_main:
        SIGNALS.listen()
    return WorkerJob(*values)


@dataclass(frozen=True)
class WorkerJob:
    """Starts a worker and watches it; Hydra's launchers call it in a job of theirs.

    The worker is a process of its own, so a launcher's process leaves nothing in it, and a trial
    that takes its process down doesn't take the job down.

    Args:
        numbers: of the workers, by the number of the job.
        arguments: of Python: the submitter's command.
        directory: where that was typed.
        folder: of the study.
        environment: what the command needs of the submitter's environment; no secrets.
    """

    numbers: Sequence[int]
    arguments: Sequence[str]
    directory: str
    folder: str
    environment: dict[str, str]

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, tuple(getattr(self, field.name) for field in fields(self))

    def __call__(self, cfg: Any) -> tuple[int, str | None]:
        """Returns the worker's exit status, and why it gave up if no log says so."""
        number = self.numbers[HydraConfig.get().job.num]
        if not Path(self.directory).is_dir():
            return 1, f"{os.uname().nodename} doesn't see {self.directory}, where the command ran"
        status = -signal.SIGKILL
        for _ in range(1 + RESTARTS):
            status = INTERRUPTED[-1] if SIGNALS.have(signal.SIGTERM) else self._watch(number)
            if status >= 0:
                break
        return (-signal.SIGTERM if status in INTERRUPTED else status), None

    def _watch(self, number: int) -> int:
        """Run the worker until it ends, or until this job has to."""
        parent, worker = os.getppid(), self._start(number)
        try:
            while (status := worker.poll()) is None:
                if os.getppid() != parent or SIGNALS.have(signal.SIGTERM):
                    end(worker)
                    return INTERRUPTED[-1]
                time.sleep(POLL_SECONDS)
            return status
        except BaseException:  # the launcher's own way to end a job
            end(worker)
            raise

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        given = {**os.environ, **self.environment}
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)  # the worker says if it isn't the study's own
        with open(log_of(folder, number), "ab") as log:
            return subprocess.Popen(
                [sys.executable, *self.arguments],
                cwd=self.directory,
                env=environment_of(given, os.getpid(), **whereabouts()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def whereabouts() -> dict[str, str]:
    """This job and its host, by the names that its launcher's own tools know."""
    slurm = {
        name: os.environ.get(f"SLURM_{name}_ID") for name in ("JOB", "ARRAY_JOB", "ARRAY_TASK")
    }
    if slurm["JOB"]:
        parts = [slurm["ARRAY_JOB"], slurm["ARRAY_TASK"]] if slurm["ARRAY_JOB"] else [slurm["JOB"]]
        host = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
        return {JOB: f"slurm {'_'.join(map(str, parts))}", NODE: host}
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        task = ray.get_runtime_context().get_task_id()
        return {JOB: f"ray {task}", NODE: ray.util.get_node_ip_address()}
    return {JOB: f"process {os.getpid()}"}
