"""The database: locked, read-only, gone for a while, shared by several processes."""

import math
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import sqlalchemy
from filelock import Timeout
from optuna.trial import TrialState, create_trial

from src.errors import InputError
from src.sweeping import storage
from src.sweeping.storage import absolute, patiently, shown
from src.sweeping.study import Lease, Outcome
from tests.starting import Command
from tests.sweeping.conftest import Project, Server, open_study, states
from tests.sweeping.test_study import FORK, finish_all, forget_connections

NOBODY = 65534
QUICK = ("trainer.epochs=1", "trainer.threads=1", "model=logreg")


def test_urls() -> None:
    assert absolute("sqlite:///a.db") == f"sqlite:///{Path.cwd()}/a.db"
    url = absolute("postgresql://me:secret@host/db")
    assert url == "postgresql+psycopg://me:secret@host/db"
    assert "secret" not in shown(url)
    for wrong in ("sqlite://", "sqlite:///:memory:", "mysql://a/b", "file.db", ""):
        with pytest.raises(InputError, match="must be sqlite:///FILE or postgresql://"):
            absolute(wrong)


def test_an_sqlite_file_is_opened_for_many_processes(url: str) -> None:
    """Readers beside a writer, patience for other writers, no wait for the disk at a commit."""
    nested = url.replace("studies.db", "a/b/studies.db")
    with open_study(nested).storage.engine.connect() as connection:
        pragmas = ("journal_mode", "busy_timeout", "synchronous")
        found = [connection.exec_driver_sql(f"PRAGMA {one}").scalar_one() for one in pragmas]
    assert found == ["wal", 30_000, 1]


class Clock:
    """In place of the module `time`: sleeping takes no time."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(storage, "time", clock)
    return clock


def failing(times: float, error: Exception) -> Callable[[], int]:
    """An action that fails so many times; it returns how often it was tried."""
    tries = count(1)

    def action() -> int:
        if (tried := next(tries)) <= times:
            raise error
        return tried

    return action


AWAY = optuna.exceptions.StorageInternalError("gone")


def test_the_waits_for_a_database_grow(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert patiently(failing(7, AWAY)) == 8
    assert clock.slept == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert capsys.readouterr().err == "the study's database is away, waiting: gone\n"


def test_patience_has_an_end(clock: Clock) -> None:
    with pytest.raises(InputError, match=r"database sqlite:///x\.db can't be used: gone$"):
        patiently(failing(math.inf, AWAY), 60, "sqlite:///x.db")
    assert 60 <= clock.now - 1000 <= 66
    clock.now = 1000
    with pytest.raises(InputError):
        patiently(failing(math.inf, AWAY))
    assert 600 <= clock.now - 1000 <= 606


def test_a_worker_may_start_while_its_database_is_away(
    url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a minute; who types a command is told at once."""
    error = sqlalchemy.exc.OperationalError("", None, Exception("gone"))
    monkeypatch.setattr(storage, "_has_tables", lambda url: failing(math.inf, error)())
    with pytest.raises(InputError, match="gone"):
        storage.open_storage(url, 60)
    assert clock.now == 1000
    monkeypatch.setenv("FAIRSTEP_WORKER", "1")
    with pytest.raises(InputError, match="gone"):
        storage.open_storage(url, 60)
    assert 60 <= clock.now - 1000 <= 66
    once = failing(1, error)
    monkeypatch.setattr(storage, "_has_tables", lambda url: once() < 2)
    clock.slept.clear()
    assert storage.open_storage(url, 60).heartbeat_interval == 10
    assert clock.slept == [0.2]
    storage.open_storage.cache_clear()


@pytest.mark.parametrize(
    "error", [PermissionError(13, "denied"), sqlite3.OperationalError("read-only database")]
)
def test_what_time_does_not_mend_is_not_waited_for(clock: Clock, error: Exception) -> None:
    with pytest.raises(InputError, match="can't be used"):
        patiently(failing(1, error))
    with pytest.raises(KeyError):
        patiently(failing(1, KeyError("a bug")))
    assert clock.slept == []


def test_tables_that_another_program_makes_meanwhile_are_found(
    url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, errors = storage.Storage, list[Exception]()

    def opened(*arguments: Any, **settings: Any) -> optuna.storages.RDBStorage:
        if errors:
            raise errors.pop(0)
        return real(*arguments, **settings)

    monkeypatch.setattr(storage, "Storage", opened)
    for text in ("table studies already exists", "UNIQUE constraint failed"):
        errors += [sqlalchemy.exc.SQLAlchemyError(text)] * 2
        clock.slept = []
        assert storage._with_tables(absolute(url), 60).grace_period == 60
        assert len(clock.slept) == 2 and sum(clock.slept) < 2
    for text, tries in (("already exists", 3), ("a bug", 1)):
        errors[:] = [sqlalchemy.exc.SQLAlchemyError(text)] * 3
        with pytest.raises(sqlalchemy.exc.SQLAlchemyError, match=text):
            storage._with_tables(absolute(url), 60)
        assert len(errors) == 3 - tries


def test_a_lock_that_is_held_too_long_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "HELD_SECONDS", 0.1)
    with storage.lock(absolute(url)), pytest.raises(Timeout):
        storage.lock(absolute(url)).__enter__()
    with storage.lock(absolute(url)):
        pass


@contextmanager
def somebody() -> Iterator[Path]:
    """A folder, and no right to write where the mode forbids it (root may write anywhere)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def powerless() -> Iterator[None]:
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_read_only_database_is_refused_in_one_line() -> None:
    with somebody() as folder:
        url = f"sqlite:///{folder}/studies.db"
        open_study(url)
        storage.open_storage.cache_clear()
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        with (
            powerless(),
            pytest.raises(InputError, match=r"storage=sqlite.*(readonly database|denied)"),
        ):
            open_study(url)
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_written_is_refused_in_one_line() -> None:
    with somebody() as folder:
        folder.chmod(0o555)
        with powerless(), pytest.raises(InputError, match=r"storage=.*Permission denied"):
            open_study(f"sqlite:///{folder}/new/studies.db")
        folder.chmod(0o755)


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("not a database at all, " * 100)
    with pytest.raises(InputError, match="file is not a database"):
        open_study(f"sqlite:///{tmp_path}/studies.db")


def test_a_database_that_turns_read_only_ends_the_sweep_at_once(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/x.db")

    def write() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA query_only=ON")
            connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")

    started = time.monotonic()
    with pytest.raises(InputError, match=r"can't be used.*readonly"):
        patiently(write)
    assert time.monotonic() - started < 2


def test_a_locked_database_is_refused_in_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(url)
    storage.open_storage.cache_clear()
    monkeypatch.setattr(storage, "BUSY_SECONDS", 0.2)
    with held(url), pytest.raises(InputError, match=r"storage=sqlite.*database is locked"):
        open_study(url)


@contextmanager
def held(url: str) -> Iterator[None]:
    """Another program holds the file for itself."""
    connection = sqlite3.connect(absolute(url).removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_database_that_is_locked_for_a_while_is_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storage, "BUSY_SECONDS", 0.2)
    study = open_study(url, 4)
    first = study.next_trial()
    assert first is not None

    def hold() -> None:
        with held(url):
            begun.set()
            time.sleep(3)

    begun = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait()
    study.finish(first, Outcome(TrialState.COMPLETE, 1.0, {}))
    finish_all(study)
    holder.join()
    assert states(study.trials())["COMPLETE"] == 4
    assert "database is away, waiting" in capsys.readouterr().err


@pytest.mark.slow
def test_a_server_that_stops_and_starts_again_in_mid_sweep(
    running_server: Server, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def worker() -> None:
        forget_connections()
        study = open_study(postgres_url, 60)
        while trial := study.next_trial():
            with Lease(study, trial):
                time.sleep(0.05)
            study.finish(trial, Outcome(TrialState.COMPLETE, trial.params["x"], {}))

    study = open_study(postgres_url, 60)
    workers = [FORK.Process(target=worker) for _ in range(2)]
    for process in workers:
        process.start()
    for mode, least in (("fast", 10), ("immediate", 30)):  # the second is a crash
        deadline = time.monotonic() + 60
        while study.counted() < least:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert all(process.is_alive() for process in workers)
        running_server.stop(mode)
        time.sleep(1.5)
        running_server.start()
    for process in workers:
        process.join(60)
    assert [process.exitcode for process in workers] == [0, 0]
    left = states(open_study(postgres_url, 60).trials())
    assert left["COMPLETE"] == 60 and not {"RUNNING", "WAITING"} & set(left)


def test_a_lock_of_a_holder_that_is_silent_is_taken_away(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped, or a machine without power, must not stop all the others."""
    study = open_study(postgres_url)
    monkeypatch.setattr(storage, "HELD_SECONDS", 1)
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError), storage.lock(study.url):
        time.sleep(2.5)
    with storage.lock(study.url):
        pass


def test_a_server_gives_each_process_one_connection(
    running_server: Server, postgres_url: str
) -> None:
    """With its lock, its lease and its trial; servers take 100 by default."""
    study = open_study(postgres_url)
    database, seen = postgres_url.rpartition("/")[2], set()
    question = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"
    for _ in range(3):
        trial = study.next_trial()
        assert trial is not None
        with Lease(study, trial):
            study.note(trial, {"folder": "x"})
            seen.add(running_server.sql(question))
        study.finish(trial, Outcome(TrialState.COMPLETE, 1.0, {}))
        seen.add(running_server.sql(question))
    assert seen == {"1"}


def test_a_database_holds_what_optuna_would_write(
    any_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our storage writes with fewer questions; Optuna's own reads the same trials from it."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")  # tables hold UTC, trials local time
        time.tzset()
        began = datetime.now()
        check_contents(any_url)
        assert all(
            abs(at - began) < timedelta(minutes=10)
            for trial in open_study(any_url, 5).trials()
            for at in (trial.datetime_start, trial.datetime_complete)
            if at is not None
        )
    time.tzset()


def check_contents(url: str) -> None:
    study = open_study(url, 4)
    finish_all(study)
    first, storage_of = study.trials()[0], study.storage
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage_of.set_trial_user_attr(first._trial_id, "late", 1)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage_of.set_trial_intermediate_values(first._trial_id, {9: 1.0, 10: 2.0})
    for state in (TrialState.COMPLETE, TrialState.RUNNING):
        with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
            storage_of.set_trial_state_values(first._trial_id, state, [3.0])
    trial = open_study(url, 5).next_trial()
    assert trial is not None
    assert storage_of.set_trial_state_values(trial._trial_id, TrialState.RUNNING) is False
    for value in (1, {"a": [2]}):  # the second replaces the first
        trial.set_user_attr("kept", value)
        storage_of.set_trial_system_attr(trial._trial_id, "system", value)
    values = {1: 0.5, 2: math.inf, 3: -math.inf, 4: 1e-300}
    storage_of.set_trial_intermediate_values(trial._trial_id, values)
    storage_of.set_trial_intermediate_value(trial._trial_id, 1, 0.25)
    study.study.add_trial(create_trial(value=-math.inf))
    storage_of.create_new_trial(
        study.study._study_id,
        create_trial(state=TrialState.RUNNING, system_attrs={"a": 1}, intermediate_values={1: 2.0}),
    )
    study.study.enqueue_trial({"x": 0.5})
    plain = optuna.storages.RDBStorage(absolute(url))
    theirs = optuna.load_study(study_name="test", storage=plain).get_trials()
    assert theirs == study.study.get_trials() and len(theirs) == 8
    assert [one.number for one in theirs] == [*range(8)]
    assert theirs[6].system_attrs == {"a": 1} and theirs[6].intermediate_values == {1: 2.0}
    last = theirs[4]
    assert last.user_attrs["kept"] == {"a": [2]} == last.system_attrs["system"]
    assert last.params == trial.params and {*last.params} == {"x"}
    assert last.intermediate_values == {**values, 1: 0.25}
    assert last.datetime_complete is None and theirs[0].values == [theirs[0].params["x"]]


def test_what_fails_in_a_transaction_leaves_nothing(any_url: str) -> None:
    """Neither a trial nor its lock; what the process remembered of it is forgotten."""
    study = open_study(any_url)
    with (
        pytest.raises(optuna.exceptions.StorageInternalError),
        storage.alone(study.storage, study.name),
    ):
        study._ask(0, waiting=None)
        study.storage.scoped_session().execute(sqlalchemy.text("SELECT no_such_column"))
    study._forget()
    assert len(study.trials()) == 1, "the default, which waits"
    trial = study.next_trial()
    assert trial is not None and trial.number == 0
    with pytest.raises(KeyError), storage.together(study.storage):
        trial.set_user_attr("kept", 1)
        raise KeyError
    study.note(trial, {"noted": 2})
    assert {"noted"} == {*study.trials()[0].user_attrs} - {"owner"}


def test_two_that_end_the_same_trial(any_url: str) -> None:
    """The one that comes second changes nothing: the trial counts, or runs again, never both."""
    study = open_study(any_url, 2)
    forget_connections()
    other = open_study(any_url, 2)
    trial = study.next_trial()
    assert trial is not None
    with (
        pytest.raises(optuna.exceptions.UpdateFinishedTrialError),
        storage.alone(other.storage, other.name),
    ):
        study.finish(trial, Outcome(TrialState.COMPLETE, 1.0, {}))  # needs no lock
        other._give_up(trial._cached_frozen_trial, "its process died")
    left = states(open_study(any_url, 2).trials())
    assert left == {"COMPLETE": 1}


def test_a_read_only_server_is_refused_in_one_line(
    running_server: Server, postgres_url: str
) -> None:
    database = postgres_url.rpartition("/")[2]
    running_server.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(InputError, match=r"storage=postgresql.*read-only"):
        open_study(postgres_url)


def test_a_server_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"storage=postgresql.*127\.0\.0\.1") as caught:
        open_study("postgresql://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value) and len(str(caught.value).splitlines()) == 1


def end(process: Command) -> None:
    """Wait for a sweep and hold it to a clean end."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err


@pytest.mark.slow
def test_four_processes_share_a_study_on_postgres(project: Project, postgres_url: str) -> None:
    command = ["-m", "sweeps=adam", "n_trials=40", f"storage={postgres_url}", *QUICK]
    processes = [project.start(*command) for _ in range(4)]
    name = "adam-digits-logreg"
    project.url = postgres_url
    deadline = time.monotonic() + 120
    while sum(one.state in (TrialState.COMPLETE, TrialState.PRUNED)
              for one in project.trials(name)) < 8:  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(0.2)
    running = [one for one in project.trials(name) if one.state is TrialState.RUNNING]
    owners = [one.user_attrs["owner"]["pid"] for one in running if "owner" in one.user_attrs]
    victim = next(process for process in processes if process.pid in owners)
    victim.kill()
    for process in processes:
        if process is not victim:
            end(process)
    trials = project.trials(name)
    left = states(trials)
    assert left["COMPLETE"] + left.get("PRUNED", 0) == 40
    assert not {"RUNNING", "WAITING"} & set(left) and left.get("FAIL", 0) <= 1
    noted = [Path(one.user_attrs["folder"]) for one in trials if "folder" in one.user_attrs]
    found = {*(project.folder / "outputs/sweeps" / name).glob("trial-*")}
    assert len({*noted}) == len(noted), "two trials share a folder"
    assert found <= {*noted}, "a folder is of no trial"
    # The victim may have died between naming its folder and making it.
    ended = [one for one in trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert {Path(one.user_attrs["folder"]) for one in ended} <= found


@pytest.mark.slow
def test_a_real_sweep_outlives_its_server(
    project: Project, running_server: Server, postgres_url: str
) -> None:
    """The trial in progress goes on while the server is away; nothing is run twice."""
    project.url = postgres_url
    command = ["-m", "sweeps=adam", "n_trials=8", f"storage={postgres_url}", "pruner=none"]
    process = project.start(*command, "trainer.epochs=20", "trainer.threads=1")
    deadline = time.monotonic() + 120
    while len(project.trials("adam-digits-mlp")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    running_server.stop()
    time.sleep(3)
    running_server.start()
    end(process)
    assert states(project.trials("adam-digits-mlp"))["COMPLETE"] == 8


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_database_that_another_process_prepares_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    """Beside a writer, turning the log on has no patience of its own; ours is for a while."""
    place, begun, release = tmp_path / "studies.db", threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(place)) as connection:
            connection.execute("CREATE TABLE made (x)")
            connection.execute(f"BEGIN {lock}")
            begun.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait(10)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "BUSY_SECONDS", 0.3)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            storage._prepare_sqlite(place)
    threading.Timer(0.5, release.set).start()
    storage._prepare_sqlite(place)
    holder.join()
    with closing(sqlite3.connect(place)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    place = tmp_path / "new" / "folder" / "studies.db"
    storage.open_storage(absolute(f"sqlite:///{place}"), 60)
    assert place.is_file()


def test_a_process_is_known_by_its_machine_and_its_beginning() -> None:
    """By nothing that changes while it lives, such as its memory."""
    me = storage.me()
    assert me["pid"] == os.getpid()
    assert str(me["host"]).startswith(f"{os.uname().nodename}/")
    began = psutil.boot_time() + int(str(me["started"])) / os.sysconf("SC_CLK_TCK")
    assert began == pytest.approx(psutil.Process().create_time(), abs=2)
    assert not storage.is_dead(me)
    assert storage.is_dead({**me, "started": "1"})
    assert not storage.is_dead({**me, "host": "another", "started": "1"})
