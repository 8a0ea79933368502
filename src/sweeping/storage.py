"""The database that holds the studies: SQLite by default, PostgreSQL by its URL."""

import hashlib
import os
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import optuna
import psutil
import sqlalchemy
from filelock import FileLock
from sqlalchemy.engine import make_url

from src.errors import InputError

T = TypeVar("T")
BUSY_SECONDS = 60  # how long a writer waits for other writers of an SQLite file
PATIENCE_SECONDS = 600.0  # how long a database may be away in mid-sweep


def absolute(url: str) -> str:
    """An SQLite URL with its file's absolute path; any other URL as it is."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database is None:
        return url
    path = Path(parsed.database).absolute()
    return parsed.set(database=str(path)).render_as_string(hide_password=False)


def shown(url: str) -> str:
    """The URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


@lru_cache(maxsize=4)
def open_storage(url: str, lease_seconds: int) -> optuna.storages.RDBStorage:
    """Open the database, making it if need be.

    Args:
        url: SQLAlchemy's, absolute.
        lease_seconds: a running trial whose lease is older than this counts as dead.

    Raises:
        InputError: it can't be opened or written.
    """
    try:
        parsed = make_url(url)
        arguments: dict[str, object] = {"pool_pre_ping": True}
        if parsed.get_backend_name() == "sqlite":
            _prepare_sqlite(Path(str(parsed.database)))
            arguments["connect_args"] = {"timeout": BUSY_SECONDS}
        with lock(url), warnings.catch_warnings():  # two must not make the tables at once
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs=arguments,
                heartbeat_interval=max(1, lease_seconds // 6),
                grace_period=lease_seconds,
            )
    except (OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"hydra.sweeper.storage={shown(url)}: {reason}") from error


def _prepare_sqlite(path: Path) -> None:
    """Write-ahead logging lets one process write while others read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")  # fails here and now if it can't be written
    connection.close()


@contextmanager
def lock(url: str) -> Iterator[None]:
    """One process at a time, on every machine that shares the database.

    The system, or the server, lets go of it when its holder dies.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with FileLock(f"{parsed.database}.lock"):
            yield
        return
    key = int.from_bytes(hashlib.sha256(b"fairstep").digest()[:7])
    engine = _lock_engine(url)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
        try:
            yield
        finally:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": key})


@lru_cache(maxsize=4)
def _lock_engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(url, pool_pre_ping=True)


def patiently(action: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Do something with the database, again and again while it is away.

    Raises:
        InputError: it stayed away for `seconds`.
    """
    deadline, wait = time.monotonic() + seconds, 0.2
    while True:
        try:
            return action()
        except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
            reason = " ".join(str(error.__cause__ or error).split())[:200]
            if time.monotonic() > deadline or "readonly" in reason:
                raise InputError(f"the study's database can't be used: {reason}") from error
            if wait < 0.4:
                print(f"the study's database is away, waiting: {reason}", file=sys.stderr)
        time.sleep(wait)
        wait = min(2 * wait, 5.0)


def me() -> dict[str, object]:
    """This process, told apart from any other on any machine."""
    return {"host": os.uname().nodename, "pid": os.getpid(), "started": _started(os.getpid())}


def is_dead(owner: dict[str, object]) -> bool:
    """Whether the process is known to be gone; False for one on another machine."""
    if owner["host"] != os.uname().nodename:
        return False
    return _started(int(str(owner["pid"]))) != owner["started"]


def _started(pid: int) -> str | None:
    """When a process of this machine began, so that a reused pid is not taken for it."""
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
