"""The database that holds the studies: SQLite by default, PostgreSQL by its URL."""

import os
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from sqlalchemy.engine import make_url

from src.errors import InputError
from src.files import full_disk, no_room
from src.launching.choices import leaves_machine
from src.results.place import WORKER, place
from src.sweeping import transactions
from src.sweeping.tables import Storage
from src.sweeping.transactions import HELD_SECONDS
from src.sweeping.transactions import together as together

T = TypeVar("T")
BUSY_SECONDS = 30  # how long a writer waits for other writers of an SQLite file
PATIENCE_SECONDS = 600.0  # how long a database may be away in mid-sweep
START_SECONDS = 60.0  # and when a worker starts, whose host may never reach it
DRIVER = "postgresql+psycopg"
LOCK = int.from_bytes(b"fairstp")  # the key of the server's lock: any number of ours
AWAY = (
    *(optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError),
    *(sqlite3.Error, Timeout),  # from setting up a connection, and from the lock
)
ROOM = "the same command goes on when there is room"
DISK_FULL = "53100"  # PostgreSQL's SQLSTATE
ALLOWED = "must be sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def absolute(url: str) -> str:
    """The URL as it is used: an SQLite file's path is made absolute, the driver is named.

    Raises:
        InputError: it is no URL of a database that can be used.
    """
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise InputError(f"hydra.sweeper.storage={url}: {ALLOWED}") from error
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername=DRIVER).render_as_string(hide_password=False)
    if parsed.drivername != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise InputError(f"hydra.sweeper.storage={shown(url)}: {ALLOWED}")
    path = Path(str(parsed.database)).absolute()
    return parsed.set(database=str(path)).render_as_string(hide_password=False)


def refuse_password(url: str) -> None:
    """The command line is recorded with each run, so a password doesn't belong there.

    Raises:
        InputError: the URL holds one; the message doesn't.
    """
    if make_url(url).password is not None or "password" in make_url(url).query:
        raise InputError(
            f"hydra.sweeper.storage={shown(url)}: leave the password to ~/.pgpass or PGPASSWORD, "
            "because commands are recorded"
        )


def refuse_one_host(kind: str, settings: Any, url: str) -> None:
    """Refuse a launcher of other hosts beside a database of this one, and a password in its URL.

    Args:
        kind: the launcher.
        settings: its own, `hydra.launcher`.
        url: of the database, absolute.

    Raises:
        InputError: naming what to use.
    """
    refuse_password(url)
    if leaves_machine(kind, settings) and url.startswith("sqlite"):
        raise InputError(
            f"hydra.sweeper.storage={shown(url)}: SQLite serves one machine, and "
            f"hydra/launcher={kind} may use several; give storage=postgresql://USER@HOST/DATABASE"
        )


def shown(url: str) -> str:
    """The URL without its password."""
    bare = make_url(url).difference_update_query(["password"])
    return bare.render_as_string(hide_password=True)


@lru_cache(maxsize=4)
def open_storage(url: str, lease_seconds: int) -> Storage:
    """Open the database; create it if it doesn't exist.

    Args:
        url: of SQLAlchemy's form, absolute.
        lease_seconds: a running trial whose lease is older than this counts as dead.

    Raises:
        InputError: the database can't be opened or written.
    """
    try:
        if WORKER in os.environ:  # nobody looks when it starts, so it may be when a server does
            return patiently(lambda: _opened(url, lease_seconds), START_SECONDS, url)
        return _opened(url, lease_seconds)
    except (OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = _full(error, url) or " ".join(str(error).split())
        raise InputError(f"hydra.sweeper.storage={shown(url)}: {reason}") from error


def _opened(url: str, lease_seconds: int) -> Storage:
    parsed = make_url(url)
    # Two processes must not create the tables at once. The lock makes a file's folder.
    with nullcontext() if _has_tables(url) else lock(url):
        if parsed.drivername == "sqlite":
            _prepare_sqlite(Path(str(parsed.database)))
        opened = _with_tables(url, lease_seconds)
    transactions.share(opened)
    if parsed.drivername == "sqlite":
        sqlalchemy.event.listen(opened.engine, "connect", _relax)
    opened.engine.dispose()  # closes connections from before the event
    if parsed.drivername != "sqlite":
        opened.engine.pool = _one_connection(opened.engine)
    return opened


def _one_connection(engine: sqlalchemy.Engine) -> sqlalchemy.Pool:
    """A pool of one: servers take few connections, 100 by default, and there may be more workers.

    Optuna needs a second one only while it makes its tables.
    """
    return sqlalchemy.QueuePool(
        engine.pool._creator, pool_size=1, max_overflow=0, pre_ping=True, dialect=engine.dialect
    )


def _has_tables(url: str) -> bool:
    """Whether a server has the tables; then a worker needs no second connection for the lock."""
    if make_url(url).drivername == "sqlite":
        return False
    return bool(sqlalchemy.inspect(connecting(url)).has_table("alembic_version"))


def _relax(connection: sqlite3.Connection, _: object) -> None:
    """With write-ahead logging a commit outlives the process at once, and the machine soon."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _engine_arguments(url: str) -> dict[str, Any]:
    """Arguments of a connection; no connection waits for ever for a silent server."""
    if make_url(url).drivername == "sqlite":
        connect: dict[str, object] = {"timeout": BUSY_SECONDS}
    else:
        connect = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
    return {"pool_pre_ping": True, "connect_args": connect}


def _with_tables(url: str, lease_seconds: int) -> Storage:
    """Create the tables if they don't exist.

    A program that doesn't know our lock (a dashboard, say) may be creating them at this moment;
    the next attempt finds them.
    """
    for wait in (0.2, 1.0, None):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return Storage(
                    url,
                    engine_kwargs=_engine_arguments(url),
                    heartbeat_interval=max(1, lease_seconds // 6),
                    grace_period=lease_seconds,
                )
        except sqlalchemy.exc.SQLAlchemyError as error:
            made_meanwhile = "UNIQUE" in str(error) or "exists" in str(error)
            if wait is None or not made_meanwhile:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


def _prepare_sqlite(path: Path) -> None:
    """Write-ahead logging lets one process write while others read."""
    deadline = time.monotonic() + BUSY_SECONDS
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection, connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:  # it ignores the connection's timeout
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)
        connection.execute("BEGIN IMMEDIATE")  # fails here and now if it can't be written


@contextmanager
def lock(url: str) -> Iterator[None]:
    """Let one process at a time in, on every machine that shares the database.

    The system releases the lock when its holder dies. The server does so, too, and ends the
    session of a holder that falls silent; its exit then raises, and the holder starts over.
    """
    parsed = make_url(url)
    if parsed.drivername == "sqlite":
        with FileLock(f"{parsed.database}.lock", timeout=HELD_SECONDS, poll_interval=0.002):
            yield
        return
    with connecting(url).begin() as connection:
        connection.exec_driver_sql(
            f"SET LOCAL idle_in_transaction_session_timeout = '{HELD_SECONDS}s'"
        )
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        yield


@lru_cache(maxsize=4)
def connecting(url: str) -> sqlalchemy.Engine:
    """For statements of our own: it keeps no connection, because a server has few of them."""
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **_engine_arguments(url))


def renew(storage: Storage) -> None:
    """Replace a server's connection, which what was interrupted just now may still hold."""
    if storage.engine.url.drivername != "sqlite":
        storage.engine.dispose()


@contextmanager
def alone(storage: Storage, study: str) -> Iterator[None]:
    """Let one process at a time decide about a study, in one transaction."""
    url = storage.engine.url
    if url.drivername != "sqlite":
        with together(storage, study):
            yield
        return
    with lock(url.render_as_string(hide_password=False)), together(storage):
        yield


def suggesting(storage: Storage) -> AbstractContextManager[None]:
    """Let a trial's parameters share a transaction on a server.

    In a file it would keep all others from writing while a sampler thinks.
    """
    return nullcontext() if storage.engine.url.drivername == "sqlite" else together(storage)


def patiently(
    action: Callable[[], T], seconds: float = PATIENCE_SECONDS, url: str | None = None
) -> T:
    """Call an action on the database, again and again while the database is away.

    Args:
        action: a function without arguments.
        seconds: how long the database may be away.
        url: the database, for messages.

    Raises:
        InputError: it stayed away for `seconds`, or its disk is full, or it can't be written.
    """
    deadline, wait = time.monotonic() + seconds, 0.2
    while True:
        try:
            return action()
        except (*AWAY, OSError) as error:  # it may be the lock's file that can't be written
            reason = _reason(error)
            waits = isinstance(error, AWAY) and not _full(error, url) and not _read_only(reason)
            if not waits or time.monotonic() > deadline:
                raise unusable(error, url) from error
            if wait < 0.4:
                print(f"the study's database is away, waiting: {reason}", file=sys.stderr)
        time.sleep(wait)
        wait = min(2 * wait, 5.0)


def unusable(error: BaseException, url: str | None) -> InputError:
    """The error that ends a sweep whose database can't be used."""
    name, reason = f" {shown(url)}" if url else "", _full(error, url) or _reason(error)
    return InputError(f"the study's database{name} can't be used: {reason}")


def _reason(error: BaseException) -> str:
    return " ".join(str(error.__cause__ or error).split())[:200]


def _full(error: BaseException, url: str | None) -> str | None:
    """A message if the database's disk is full; None if it isn't."""
    while error.__cause__ is not None:
        error = error.__cause__
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and url:
        error = _disk_of(Path(str(make_url(url).database))) or error
    full = code == sqlite3.SQLITE_FULL or getattr(error, "sqlstate", None) == DISK_FULL
    if full or full_disk(error):
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        return f"{reason}; {ROOM}"
    return None


def _disk_of(path: Path) -> OSError | None:
    """The disk's error if it is full; SQLite hides the cause of some of its errors."""
    sizes = [file.stat().st_size for file in path.parent.glob(f"{path.name}*")]
    return no_room(path.parent, max(sizes, default=0))


def _read_only(reason: str) -> bool:
    return "readonly" in reason or "read-only" in reason


def me() -> dict[str, object]:
    """What identifies this process among all processes on all machines, and where it runs."""
    own = {"host": _host(), "pid": os.getpid(), "started": _started(os.getpid())}
    return {**own, **place()}


def is_dead(owner: Mapping[str, object]) -> bool:
    """Whether the process is known to be gone; False for one on another machine."""
    if owner["host"] != _host():
        return False
    return _started(int(str(owner["pid"]))) != owner["started"]


@lru_cache
def _host() -> str:
    """The scope of process ids: a machine between two boots, or a container on it."""
    name = os.uname().nodename
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{name}/{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # pragma: no cover (no Linux: only the lease tells that a process is gone)
        return f"{name}/{uuid4()}"


def _started(pid: int) -> str | None:
    """The start of a process of this machine, which tells it from another with its pid.

    It counts ticks since the machine started, because clocks are set. None for a process that is
    gone, or that is dead while its parent has not yet waited for it.
    """
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
