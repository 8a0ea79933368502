"""Runs tests in a copy of the project, in forked processes that begin with everything imported."""

import atexit
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.mutants import ROOT

# Imported once, before the forks: to import these takes longer than most tests. Nothing of the
# project is among them, and nothing is computed with them, since torch's threads outlast no fork.
HEAVY = (
    "torch", "torchvision", "hydra", "omegaconf", "optuna", "pydantic", "rich.progress", "pandas",
    "scipy.stats", "statsmodels.stats.multitest", "sklearn.datasets", "altair",
    "jinja2", "pyarrow.parquet", "hypothesis", "sqlalchemy", "filelock", "cmaes",
    "psycopg", "psutil", "alembic.script", "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper",
)  # fmt: skip


Key = TypeVar("Key")


def prepare() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in tests/conftest.py, before torch
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage twice; all of torch needn't be walked then


class FirstFailure:
    """A plugin of pytest that keeps the first failure's test."""

    test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid or "collection"


@dataclass(frozen=True)
class Job:
    """Tests, pytest's arguments, to run until one fails, with another content of one file."""

    path: str
    content: bytes
    tests: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Ended:
    """How a run of tests ended: the test that failed first, if one did; or too late."""

    failed: str = ""
    timed_out: bool = False


class Copy:
    """A clone of the repository with the working tree's files, in which one run is made at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.answer = folder.with_suffix(".answer")
        subprocess.run(["git", "clone", "-q", "--shared", ROOT, folder], check=True)
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy2(ROOT / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        if (shared := ROOT.parent / "shared").is_dir():  # where the tests look for MNIST
            (folder.parent / "shared").unlink(missing_ok=True)
            (folder.parent / "shared").symlink_to(shared)
        self.stamp = time.time() - 10_000_000
        self.child = 0

    def write(self, path: str, content: bytes) -> None:
        """Change a file, with a time that no compiled version of it has."""
        self.stamp += 2
        (self.folder / path).write_bytes(content)
        os.utime(self.folder / path, (self.stamp, self.stamp))

    def begin(self, job: Job) -> None:
        self.job = job
        self.write(job.path, job.content)
        self.start(job.tests, job.seconds)

    def restore(self) -> None:
        self.write(self.job.path, (ROOT / self.job.path).read_bytes())

    def start(self, tests: Iterable[str], seconds: float) -> None:
        """Run the tests until one fails; it is given up after so many seconds."""
        self.answer.unlink(missing_ok=True)
        self.deadline = time.monotonic() + seconds
        self.child = os.fork()
        if not self.child:
            self._run([*tests])

    def ended(self) -> Ended | None:
        """How it ended, if it has."""
        late = time.monotonic() > self.deadline
        if late:
            self.stop()
        elif os.waitpid(self.child, os.WNOHANG)[0]:
            self._kill()  # what the tests started and didn't end
            self.child = 0
        else:
            return None
        if late:
            return Ended(timed_out=True)
        # A mutant that ends the process itself leaves no answer.
        failed = self.answer.read_text() if self.answer.is_file() else "the whole process"
        return Ended(failed)

    def wait(self) -> Ended:
        while not (ended := self.ended()):
            time.sleep(0.01)
        return ended

    def stop(self) -> None:
        if self.child:
            self._kill()
            os.waitpid(self.child, 0)
            self.child = 0

    def _kill(self) -> None:
        try:
            os.killpg(self.child, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _run(self, tests: list[str]) -> None:
        os.setsid()
        atexit._clear()  # a mutant may do in a fork what is left for the end, such as clearing up
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(self.folder)
        os.environ["PYTHONPATH"] = str(self.folder)
        for name in [name for name in sys.modules if name.split(".")[0] in ("src", "tests")]:
            del sys.modules[name]
        sys.path[:] = [str(self.folder), *(path for path in sys.path if path)]
        seen = FirstFailure()
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider"]
        options += ["-p", "_hypothesis_pytestplugin"]
        status = pytest.main([*options, *tests], plugins=[seen])
        failed = seen.test or ("" if status == pytest.ExitCode.OK else f"pytest: {status!r}")
        self.answer.write_text(failed)
        sys.stdout.flush()
        os._exit(0)


def outcomes(copies: list[Copy], jobs: Iterable[tuple[Key, Job]]) -> Iterator[tuple[Key, Ended]]:
    """How each job ended, as soon as it has; as many run at once as there are copies.

    Raises:
        SystemExit: tests that can't be run, with or without a mutant, as those that are gone can't.
    """
    waiting, busy = iter(jobs), dict[Copy, Key]()
    while True:
        for copy in copies:
            if copy not in busy and (following := next(waiting, None)):
                busy[copy], job = following
                copy.begin(job)
        if not busy:
            return
        for copy in list(busy):
            if ended := copy.ended():
                copy.restore()
                if ended.failed and "::" not in ended.failed:  # no test failed, but pytest
                    _check(copy)
                yield busy.pop(copy), ended
        time.sleep(0.01)


def _check(copy: Copy) -> None:
    """That the tests of the copy's job can at least be collected without its mutant."""
    copy.start([*copy.job.tests, "--collect-only"], copy.job.seconds)
    if failed := copy.wait().failed:
        tests = " ".join(copy.job.tests)
        raise SystemExit(f"{failed}, without a mutant too; for: {tests}")


def failing_anyway(tests: set[str], copy: Copy) -> set[str]:
    """Those of the tests that fail without any mutant, too: what they caught wasn't caught."""
    left, failing = sorted(tests), set()
    while left:
        copy.start(left, 3600)
        ended = copy.wait()
        if ended.failed not in left:
            break
        failing.add(ended.failed)
        left = left[left.index(ended.failed) + 1 :]
    return failing
