"""Runs in forked processes, which start at once and can be killed for real."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coverage import Coverage

import src.train
import src.training.run
from tests.helpers import result, timeless

PATIENCE = 60.0


def fork(action: Callable[[], object], log: Path) -> int:
    """Do something in a child process, what it prints kept in `log`; return its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 99
    measured = Coverage.current()  # the child's own, under `make coverage`
    try:
        if measured:
            measured.switch_context(os.environ["PYTEST_CURRENT_TEST"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        action()
        status = 0
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        try:
            if measured:
                measured.save()
        finally:
            os._exit(status)


def train(*overrides: str) -> Callable[[], None]:
    """The entry point, for `fork`."""

    def action() -> None:
        sys.argv = ["train.py", *overrides]
        src.train.main()

    return action


def ended(child: int) -> int:
    """Wait for a child; its exit status, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_until(holds: Callable[[], bool], child: int | None = None) -> None:
    """Wait until something holds; or until the child has ended, which is left to be waited for."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        if child is not None and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)


def kill_after(child: int, folder: Path, seconds: float) -> int:
    """SIGKILL so long after the run in `folder` has begun; how the child ended."""
    wait_until(lambda: (folder / "provenance.json").exists(), child)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)  # one that has ended is still there to be waited for
    return ended(child)


def outcome(folder: Path) -> dict[str, Any]:
    """All that two runs of one config must have in common, to the bit."""
    end = result(folder)
    for row in filter(None, (end["best"], end["final"])):
        del row["train_seconds"], row["wall_seconds"]
    del end["train_seconds"], end["eval_seconds"]
    return {**end, "rows": timeless(folder)}
