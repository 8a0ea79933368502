"""Real clusters on loopback, a database for all of them, and sweeps that are disturbed.

Where a program is missing these tests are skipped, except under CI, where that fails.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from src.config import PROJECT
from src.sweeping.tally import COUNTED
from tests.cluster.clusters import NODE, Cluster, Ray, Slurm, wait_for
from tests.sweeping.conftest import Server, postgres_programs, trials_of

SECONDS = 240  # the longest wait for anything: the machine may be busy
SECRET = "nobody-may-read-this"  # the server asks for no password


@pytest.fixture(autouse=True, scope="session")
def nothing_is_left() -> Iterator[None]:
    """Every process that a test started has ended; all of them inherit a mark."""
    mark = uuid4().hex
    os.environ["FAIRSTEP_CLUSTER_TEST"] = mark
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # pytest then ends what was started
    yield
    wait_for(lambda: not marked(mark), 30, str(marked(mark)))


def marked(mark: str) -> list[str]:
    """Command lines of processes that carry a mark, without this one."""
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            carries = process.environ().get("FAIRSTEP_CLUSTER_TEST") == mark
            if carries and process.pid != os.getpid():
                lines.append(" ".join(process.cmdline()))
    return lines


def need(*, programs: tuple[str, ...] = (), modules: tuple[str, ...] = ()) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    missing += [name for name in modules if find_spec(name) is None]
    missing += ["the right to make process namespaces"] * (not may_make_nodes())
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")


@cache
def may_make_nodes() -> bool:
    """Root may, but not in every container."""
    if os.geteuid() != 0 or shutil.which(NODE[0]) is None:
        return False
    return subprocess.run([*NODE, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    programs = postgres_programs()
    need(programs=() if programs else ("initdb",), modules=("psycopg",))
    assert programs is not None
    server = Server(programs)
    server.start()
    yield server
    server.stop("immediate")
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    need(programs=Slurm.PROGRAMS, modules=("hydra_plugins.hydra_submitit_launcher",))
    cluster = Slurm()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def ray() -> Iterator[Ray]:
    need(programs=("unshare",), modules=("ray", "hydra_plugins.hydra_ray_launcher"))
    cluster = Ray()
    yield cluster
    cluster.stop()


class Sweep:
    """A sweep of the digits on a cluster, that may be disturbed and started again.

    Args:
        cluster: where its workers run.
        url: of the study's database.
        folder: of its outputs, and where it is started.
        flags: of the command line.
    """

    name = "disturbed"

    def __init__(self, cluster: Cluster, url: str, folder: Path, *flags: str) -> None:
        self.url, self.folder, self.study = url, folder, folder / "sweeps" / self.name
        self.command = [
            sys.executable, "-m", "src.train", "-m", "sweeps=adam", f"study={self.name}",
            f"storage={url}", "model=logreg", "pruner=none", "hydra.sweeper.lease_seconds=6",
            *flags,
        ]  # fmt: skip
        self.environment = {
            **os.environ, **cluster.environment, "FAIRSTEP_OUTPUTS": str(folder),
            "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PGPASSWORD": SECRET,
        }  # fmt: skip

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait until the sweep ends by itself."""
        out, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, out + self.logs()
        return out

    def trials(self) -> list[FrozenTrial]:
        return trials_of(self.url, self.name)

    def running(self) -> list[FrozenTrial]:
        """Trials whose training has begun."""
        trials = [trial for trial in self.trials() if trial.state is TrialState.RUNNING]
        return [trial for trial in trials if "folder" in trial.user_attrs]

    def counted(self) -> int:
        return sum(trial.state in COUNTED for trial in self.trials())

    def until(self, holds: Callable[[], object], what: str) -> None:
        try:
            wait_for(holds, SECONDS, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error

    def logs(self) -> str:
        files = [*self.study.glob("worker-*.log"), *self.study.glob(".submitit/*/*log*")]
        return "\n".join(f"== {file}\n{file.read_text()[-1500:]}" for file in files)

    def check(self, count: int) -> None:
        """Totals are exact, nothing ran twice at once, and every trial is what it would have been.

        A trial that was disturbed ran again, so its weights tell whether that left a trace.
        """
        trials = self.trials()
        assert sum(trial.state in COUNTED for trial in trials) == count
        assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
        for trial in trials:
            if (first := trial.user_attrs.get("retries")) is not None:
                ended, began = trials[first].datetime_complete, trial.datetime_start
                assert ended and began and ended <= began, "a trial ran twice at the same time"
        for file in self.folder.rglob("*"):
            assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
        points = [tuple(trial.params.values()) for trial in trials if trial.state in COUNTED]
        assert len({*points}) == len(points)

    def replayed(self, trial: FrozenTrial) -> None:
        """The trial, run here and undisturbed, ends with the same bits."""
        done = subprocess.run(
            [sys.executable, "-m", "src.replay", trial.user_attrs["folder"]],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def shown(self) -> str:
        """What `python -m src.studies` tells of the study."""
        done = subprocess.run(
            [sys.executable, "-m", "src.studies", self.name, "--storage", self.url],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def workers(self) -> list[int]:
        """The processes that pull trials of this study."""
        pids = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = f"storage={self.url}" in process.cmdline()
                if mine and "FAIRSTEP_WORKER" in process.environ():
                    pids.append(process.pid)
        return pids

    def again(self) -> list[FrozenTrial]:
        """Trials that counted after another worker had lost them."""
        return [t for t in self.trials() if t.state in COUNTED and "retries" in t.user_attrs]


def worker_of(trial: FrozenTrial) -> psutil.Process:
    """The worker's process, by its trial's folder: a node has process numbers of its own."""
    pid = trial.user_attrs["owner"]["pid"]
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            inner = next(line for line in status.splitlines() if line.startswith("NSpid"))
            workers = process.environ().get("FAIRSTEP_WORKER")
            if inner.split()[-1] == str(pid) and workers and "src.train" in process.cmdline():
                return process
    raise AssertionError(f"no worker has the number {pid}")


def kill_worker(sweep: Sweep) -> None:
    """SIGKILL to a worker in the middle of a trial."""
    sweep.until(sweep.running, "a trial runs")
    with suppress(AssertionError, psutil.Error):  # it may have ended meanwhile
        worker_of(sweep.running()[0]).kill()


def interrupt(process: subprocess.Popen[str]) -> str:
    """Ctrl-C."""
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, out
    return out


@pytest.fixture
def database(server: Server) -> str:
    """A database of the test's own."""
    return server.new_database()
