"""Copies of this process, which have everything that it has imported."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path

LOOK_SECONDS = 0.02  # how often a wait for the end of a process looks


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
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # two copies must not draw the same; Python's own generator sees to it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
