"""A copy of this process, set aside while it has one thread, that makes further copies of itself.

A process with threads can't be copied (`copying.can_be_copied`), and one that starts anew imports
everything again. So whoever will have threads, and processes to start, sets a copy aside before.
"""

import atexit
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

from hydra.core.global_hydra import GlobalHydra

from src.launching.copying import LOOK_SECONDS, Copy, can_be_copied
from src.launching.workers import PARENT

GONE = -signal.SIGKILL  # the status of a process about which nobody can be asked any more
Told = tuple[int, int | None]  # a process that was started, or that has ended with this status


_ASIDE: dict[int, "Spare"] = {}  # by the process that it is a copy of: a fork has none of its own


def set_aside() -> None:
    """Set a copy of this process aside, if it has but one thread.

    It should have imported what is needed by then, and have opened no database and no device.
    """
    if os.getpid() not in _ASIDE and can_be_copied():
        _ASIDE[os.getpid()] = Spare()


def spare() -> "Spare | None":
    """The copy of this process that was set aside."""
    return _ASIDE.get(os.getpid())


class Spare:
    """Starts commands of Python in copies of this process as it is now.

    It ends with this process, and those that it started take note of that as workers do. Any thread
    may ask it.
    """

    def __init__(self) -> None:
        self.ours, theirs = Pipe()
        self.lock = Lock()
        self.statuses: dict[int, int | None] = {}
        self.gone = False
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.ours.close()
                _serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        os.register_at_fork(after_in_child=self.ours.close)  # another fork would keep it waiting
        atexit.register(self.close)

    def close(self) -> None:
        """Let it end, and wait for that."""
        self.ours.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def start(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> "Started | None":
        """Do what `python ARGUMENTS` would do.

        Args:
            arguments: `-m`, a module, and what it is given.
            log: what it prints is added to it.
            environment: its own, but for PARENT.

        Returns:
            The process; None if the spare was killed, or can't do this.
        """
        if arguments[0] != "-m":
            return None
        with self.lock:
            try:
                self.ours.send((arguments, log, {**environment, PARENT: str(self.pid)}))
                while True:
                    pid, status = self._read()
                    if status is None:
                        return Started(self, pid)
            except (EOFError, OSError):
                self.gone = True
                return None

    def status(self, pid: int) -> int | None:
        """How a process has ended; None if it hasn't."""
        with self.lock:
            try:
                while not self.gone and self.ours.poll():
                    self._read()
            except (EOFError, OSError):
                self.gone = True
            status = self.statuses[pid]
            return GONE if self.gone and status is None else status

    def _read(self) -> Told:
        pid, status = self.ours.recv()
        self.statuses[pid] = status
        return pid, status


class Started:
    """A process that a spare has started; behaves as a `Popen` does."""

    def __init__(self, spare: Spare, pid: int) -> None:
        self.spare, self.pid = spare, pid

    def poll(self) -> int | None:
        return self.spare.status(self.pid)

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a copy", timeout or 0.0)
            time.sleep(LOOK_SECONDS)
        return status

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _serve(connection: Connection) -> None:
    """Start what is asked for and tell what has ended, until nobody is there to ask."""
    os.setpgid(0, 0)  # Ctrl-C on a terminal reaches the process that asks
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    copies: dict[int, Copy] = {}
    while True:
        for pid, copy in [*copies.items()]:
            if (status := copy.poll()) is not None:
                del copies[pid]
                connection.send((pid, status))
        if not connection.poll(LOOK_SECONDS if copies else None):
            continue
        try:
            arguments, log, environment = connection.recv()
        except EOFError:
            return
        copy = Copy(partial(_run, connection, arguments), log, environment)
        copies[copy.pid] = copy
        connection.send((copy.pid, None))


def _run(connection: Connection, arguments: Sequence[str]) -> None:
    """Be that command."""
    connection.close()
    GlobalHydra.instance().clear()
    sys.orig_argv[1:] = arguments
    sys.argv[1:] = arguments[2:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
