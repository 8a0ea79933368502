"""Sweeps in this process, in processes of their own, and on a PostgreSQL server."""

import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from src import train
from src.config import PROJECT
from src.metrics import Direction
from src.sweeping import storage
from src.sweeping.study import SharedStudy
from src.sweeping.tally import Tally
from tests.starting import Command

QUICK = ("trainer.epochs=1", "trainer.threads=1", "model=logreg")
SPACE = {"x": FloatDistribution(1e-3, 1.0, log=True)}


def states(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """How many trials are in each state; none are left out but those with nobody in them."""
    counts = {state.name: sum(one.state is state for one in trials) for state in TrialState}
    return {name: count for name, count in counts.items() if count}


def open_study(url: str, n_trials: int = 10, **changes: object) -> SharedStudy:
    settings: dict[str, object] = {
        "url": storage.absolute(url),
        "name": "test",
        "direction": "minimize",
        "space": SPACE,
        "default": {"x": 0.1},
        "signature": {"hash": "1"},
        "n_trials": n_trials,
        "lease_seconds": 60,
        "sampler": lambda number: optuna.samplers.RandomSampler(seed=number),
        "pruner": optuna.pruners.NopPruner(),
    }
    settings |= changes
    settings["direction"] = Direction(str(settings["direction"]))
    return SharedStudy(**settings)  # type: ignore[arg-type]


def tally_of(
    trials: list[FrozenTrial], direction: Direction = Direction.MINIMIZE, *, looks: bool = True
) -> Tally:
    """A tally of these trials; what is changed or appended later it finds at its next look."""

    def read(ids: Iterable[int], after: int) -> list[FrozenTrial]:
        for number, trial in enumerate(trials):
            trial.number = trial._trial_id = number
        return [trial for trial in trials if trial._trial_id in {*ids} or trial._trial_id > after]

    tally = Tally(read, direction)
    if looks:
        assert [*tally.look()] == [trial for trial in trials if trial.state.is_finished()]
    return tally


def forget_connections() -> None:
    """In a forked process: the parent's connections are not this one's."""
    storage.open_storage.cache_clear()
    storage.connecting.cache_clear()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def trials_of(url: str, study: str) -> list[FrozenTrial]:
    """All trials of a study; none where there is no such study, or no database yet."""
    url = storage.absolute(url)
    try:
        with storage.lock(url):  # looking stamps a version, which would race with the sweep's own
            opened = optuna.storages.RDBStorage(
                url, skip_table_creation=True, skip_compatibility_check=True
            )
        return optuna.load_study(study_name=study, storage=opened).get_trials()
    except (KeyError, optuna.exceptions.StorageInternalError, SQLAlchemyError):
        return []


@dataclass
class Ended:
    """What a sweep left: its exit status, what it printed, and its study."""

    status: int
    out: str
    err: str
    folder: Path
    url: str
    trials: list[FrozenTrial]


Sweep = Callable[..., Ended]


@pytest.fixture
def sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Sweep:
    """Run `python -m src.train -m …` in this process, on a database of the test's own."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(*overrides: str, study: str = "s", quick: bool = True) -> Ended:
        folder, url = tmp_path / "sweeps" / study, f"sqlite:///{tmp_path}/studies.db"
        command = ["-m", f"storage={url}", f"study={study}", f"hydra.sweep.dir={folder}"]
        command += [*(QUICK if quick else ()), *overrides]
        monkeypatch.setattr(sys, "argv", ["train.py", *command])
        capsys.readouterr()
        try:
            train.main()
            status = 0
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        out, err = capsys.readouterr()
        return Ended(status, out, err, folder, url, trials_of(url, study))

    return run


class Project:
    """A copy of the project, whose outputs are its own, and its commands as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("src", "conf", "sweeps"):
            shutil.copytree(PROJECT / part, folder / part)
        self.url = f"sqlite:///{folder}/outputs/studies.db"
        self.started: list[Command] = []

    def start(self, *arguments: str) -> Command:
        """Start a command in a process group of its own; its output is kept."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.folder)}
        words = ["-m", "src.train", *arguments]
        process = Command(words, self.folder, environment, own_group=True)
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.wait(), out, err)

    def trials(self, study: str) -> list[FrozenTrial]:
        return trials_of(self.url, study)

    def begun(self, study: str) -> int:
        """How many trials there are in a study of an SQLite file; it may be asked all the time."""
        question = "SELECT count(*) FROM trials JOIN studies USING (study_id) WHERE study_name = ?"
        place = self.url.removeprefix("sqlite:///")
        try:
            with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
                (count,) = connection.execute(question, [study]).fetchone()
        except sqlite3.OperationalError:  # it isn't there yet
            return 0
        return int(count)

    def workers(self, controller: Command) -> list[int]:
        return children(controller.pid)


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid` and that are not dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path / "project")
    yield project
    for process in project.started:
        for pid in [*children(process.pid), process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


class Server:
    """A PostgreSQL server on loopback, as a user that it accepts."""

    def __init__(self, programs: Path) -> None:
        self.programs, self.folder = programs, Path(tempfile.mkdtemp(prefix="fairstep-postgres-"))
        self.user: str | None = None
        if os.geteuid() == 0:  # it refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            self.user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(self.folder, self.user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "-D", "data", "-U", "fairstep", "-A", "trust", "-N", "-E", "UTF8")

    def url(self, database: str) -> str:
        return f"postgresql://fairstep@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c fsync=off -k {self.folder}"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def sql(self, statement: str, database: str = "postgres") -> str:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "fairstep", "-d", database]
        return self._run("psql", *where, "-At", "-c", statement)

    def new_database(self) -> str:
        """The address of a database of a test's own."""
        name = f"d{time.monotonic_ns()}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self.programs / program), *arguments]
        if self.user:
            command = ["runuser", "-u", self.user, "--", *command]
        output = self.folder / "output"  # a pipe would wait for the server, which inherits it
        with open(output, "w") as file:
            done = subprocess.run(command, cwd=self.folder, stdout=file, stderr=file)
        if done.returncode:
            raise RuntimeError(f"{command}: {output.read_text()}")
        return output.read_text().strip()


def postgres_programs() -> Path | None:
    """The folder of a server's programs, which distributions keep off the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [Path(path).parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    server = Server(programs)
    server.start()
    yield server
    server.stop("immediate")
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def server(running_server: Server, request: pytest.FixtureRequest) -> Server:
    return running_server


@pytest.fixture
def postgres_url(running_server: Server) -> str:
    """A database of the test's own."""
    return running_server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """A database of each kind."""
    fixture = {"sqlite": "url", "postgresql": "postgres_url"}[request.param]
    return str(request.getfixturevalue(fixture))
