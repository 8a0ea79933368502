"""Real clusters on loopback, a database for all of them, and sweeps that are disturbed.

Where a program is missing these tests are skipped, except under CI, where that fails.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from src.config import PROJECT
from src.results.place import JOB
from src.sweeping.tally import COUNTED
from tests.cluster.clusters import NODE, Cluster, Ray, Slurm, wait_for
from tests.cluster.slow import hold
from tests.sweeping.conftest import Server, postgres_programs, trials_of

C = TypeVar("C", bound=Cluster)
SECONDS = 240  # the longest wait for anything: the machine may be busy
SECRET = uuid4().hex  # in no file, a patch of these tests included; the server asks for none


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


def started(cluster: C) -> Iterator[C]:
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    need(programs=Slurm.PROGRAMS, modules=("hydra_plugins.hydra_submitit_launcher",))
    yield from started(Slurm())


@pytest.fixture(scope="session")
def ray() -> Iterator[Ray]:
    need(programs=("unshare",), modules=("ray", "hydra_plugins.hydra_ray_launcher"))
    yield from started(Ray())


class Disturbed:
    """A command whose workers run on a cluster; it may be disturbed and started again.

    What it trains waits where `hold` says, so a test needs no luck to find something under way.

    Args:
        cluster: where its workers run; None for this machine.
        folder: of its outputs, and where it is started.
        command: its words.
    """

    counts = ""  # the files that `hold` counts
    work = ""  # the folder of what workers print

    def __init__(self, cluster: Cluster | None, folder: Path, *command: str) -> None:
        self.cluster, self.folder = cluster, folder
        self.command = [sys.executable, "-m", *command, "loss._target_=tests.cluster.slow.Held"]
        self.environment = {
            **os.environ, **(cluster.environment if cluster else {}),
            "FAIRSTEP_OUTPUTS": str(folder), "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1",
            "FAIRSTEP_ALLOW": "tests.cluster.slow.*", "PGPASSWORD": SECRET,
        }  # fmt: skip
        self.folder.mkdir(exist_ok=True)

    def hold(self, count: int | None) -> None:
        """Let training wait once so many runs have ended; None lets it go on."""
        hold(self.folder, count, self.counts)

    def start(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *more], env=self.environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> str:
        """What it printed, when it has ended by itself."""
        out, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, out + self.logs()
        return out

    def run(self, *command: str) -> str:
        """What another command of the same outputs prints."""
        done = subprocess.run(
            [sys.executable, "-m", *command], env=self.environment, cwd=self.folder,
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def until(self, holds: Callable[[], object], what: str, process: Any = None) -> None:
        """Wait, as long as the process lives."""

        def over() -> object:
            if process is not None and process.poll() is not None:
                pytest.fail(process.communicate(timeout=SECONDS)[0])
            return holds()

        try:
            wait_for(over, SECONDS, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error

    def logs(self) -> str:
        work = self.folder / self.work
        files = [*work.glob("worker-*.log"), *work.glob(".submitit/*/*log*")]
        return "\n".join(f"== {file}\n{file.read_text()[-1500:]}" for file in files)

    def has_no_secret(self) -> None:
        for file in self.folder.rglob("*"):
            assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file

    def processes(self) -> list[psutil.Process]:
        """All that belong to it, on every node: submitters, jobs and workers."""
        mine = []
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                if process.environ().get("FAIRSTEP_OUTPUTS") == str(self.folder):
                    mine.append(process)
        return mine

    def workers(self) -> list[int]:
        pids = []
        for process in self.processes():
            with suppress(psutil.Error):
                if "FAIRSTEP_WORKER" in process.environ():
                    pids.append(process.pid)
        return pids

    def close(self) -> None:
        """Nothing is left; what a test that failed has left is ended."""
        with suppress(AssertionError):
            wait_for(lambda: not self.processes(), 60)
        left = self.processes()
        if left:
            self._end(left)
        assert not left, [process.info["cmdline"] for process in left]

    def _end(self, left: list[psutil.Process]) -> None:
        """Kill what is left, submitters before they can send another job."""
        workers = self.workers()
        for process in left:
            with suppress(psutil.Error):
                if process.pid not in workers:
                    process.kill()
        try:
            if self.cluster:
                self.cluster.cancel()
        finally:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()


class Sweep(Disturbed):
    """A sweep of the digits."""

    name = "disturbed"
    counts, work = f"sweeps/{name}/trial-*/result.json", f"sweeps/{name}"

    def __init__(self, cluster: Cluster, url: str, folder: Path, *flags: str) -> None:
        self.url = url
        super().__init__(
            cluster, folder, "src.train", "-m", "sweeps=adam", f"study={self.name}",
            f"storage={url}", "model=logreg", "pruner=none", "hydra.sweeper.lease_seconds=6",
            *flags,
        )  # fmt: skip

    def trials(self) -> list[FrozenTrial]:
        return trials_of(self.url, self.name)

    def running(self) -> list[FrozenTrial]:
        """Trials whose training has begun."""
        trials = [trial for trial in self.trials() if trial.state is TrialState.RUNNING]
        return [trial for trial in trials if "folder" in trial.user_attrs]

    def at_work(self) -> dict[str, FrozenTrial]:
        """A trial that a worker is at, by the worker's job."""
        owners = {(trial.user_attrs["owner"]["pid"], trial.user_attrs["owner"]["job"]): trial
                  for trial in self.running()}  # fmt: skip
        living = {identity(pid) for pid in self.workers()}
        return {owner[1]: trial for owner, trial in owners.items() if owner in living}

    def counted(self) -> int:
        return sum(trial.state in COUNTED for trial in self.trials())

    def go_on(self, what: str) -> None:
        """Let one more trial end, for which somebody must be at one, or begin one."""
        before = self.counted()
        self.hold(1 + len([*self.folder.glob(self.counts)]))
        self.until(lambda: self.counted() > before, what)

    def has_put_back(self, numbers: set[int]) -> bool:
        """Whether these trials were lost or given back, and run again; one may just have ended."""
        trials = self.trials()
        ended = {trial.number for trial in trials if trial.state in COUNTED}
        return numbers - ended <= {trial.user_attrs.get("retries") for trial in trials}

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
        self.has_no_secret()
        points = [tuple(trial.params.values()) for trial in trials if trial.state in COUNTED]
        assert len({*points}) == len(points)

    def replayed(self, trial: FrozenTrial) -> None:
        """The trial, run here and undisturbed, ends with the same bits."""
        self.run("src.replay", trial.user_attrs["folder"])

    def shown(self) -> str:
        """What `python -m src.studies` tells of the study."""
        return self.run("src.studies", self.name, "--storage", self.url)

    def again(self) -> list[FrozenTrial]:
        """Trials that counted after another worker had lost them."""
        return [t for t in self.trials() if t.state in COUNTED and "retries" in t.user_attrs]


def identity(pid: int) -> tuple[int, str | None] | None:
    """A worker's process number on its node, which has numbers of its own, and its job."""
    with suppress(psutil.Error, OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        [numbers] = (line for line in status.splitlines() if line.startswith("NSpid"))
        return int(numbers.split()[-1]), psutil.Process(pid).environ().get(JOB)
    return None


def kill_worker(sweep: Sweep, trial: FrozenTrial) -> None:
    """SIGKILL to the worker that is at a trial."""
    owner = trial.user_attrs["owner"]
    [worker] = (pid for pid in sweep.workers() if identity(pid) == (owner["pid"], owner["job"]))
    os.kill(worker, signal.SIGKILL)


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


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """Ends what a test has started when that ends."""
    with ExitStack() as stack:
        yield stack
