"""Calls of Optuna's storage that share one transaction, and on a server a study's lock with it.

Optuna commits in each call, dozens of times for a trial. In one transaction a claim costs a commit
once, a kill in its middle leaves nothing, and a lost connection takes a server's lock along.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, cast

import optuna
import sqlalchemy
from sqlalchemy import orm

HELD_SECONDS = 60  # for which a lock's holder may be silent, before a server ends its session


class Sessions:
    """In place of a storage's `scoped_session`: within `together` a thread has one session."""

    def __init__(self, plain: Any) -> None:
        self.plain, self.local = plain, threading.local()

    def __call__(self) -> Any:
        shared = getattr(self.local, "shared", None)
        return self.plain() if shared is None else shared

    def remove(self) -> None:
        self.plain.remove()


class Shared:
    """A session in which Optuna's commits wait for the end of the transaction."""

    def __init__(self, session: orm.Session) -> None:
        self.session, self.lost = session, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def commit(self) -> None:
        self.session.flush()
        self.session.expire_all()  # as after a commit, so that the next call reads anew

    def rollback(self) -> None:
        self.lost = True
        self.session.rollback()

    def close(self) -> None:
        """It is closed by `together`."""


def share(storage: optuna.storages.RDBStorage) -> None:
    """Prepare a storage for `together`."""
    storage.scoped_session = cast(Any, Sessions(storage.scoped_session))


@contextmanager
def together(storage: optuna.storages.RDBStorage, lock: str | None = None) -> Iterator[None]:
    """Let all calls of this thread share one transaction.

    In an SQLite file the transaction begins with the first write, which lets no other process
    write until the end; what was read before was read by itself.

    Args:
        storage: prepared by `share`.
        lock: let one at a time of this name in, on every machine; of a server.

    Raises:
        StorageInternalError: the database is away; nothing of the transaction was done.
    """
    sessions: Any = storage.scoped_session
    session = sessions.plain()
    shared = sessions.local.shared = Shared(session)
    try:
        if lock is not None:
            silence = f"set_config('idle_in_transaction_session_timeout', '{HELD_SECONDS}s', true)"
            session.execute(
                sqlalchemy.text(f"SELECT {silence}, pg_advisory_xact_lock({key_of(lock)})")
            )
        yield
        if shared.lost:
            raise optuna.exceptions.StorageInternalError("the transaction was lost")
        session.commit()
    except sqlalchemy.exc.SQLAlchemyError as error:
        session.rollback()
        raise optuna.exceptions.StorageInternalError("the transaction failed") from error
    except BaseException:
        session.rollback()
        raise
    finally:
        sessions.local.shared = None
        session.close()


def key_of(lock: str) -> int:
    """A lock's number at the server: any 64-bit integer, the same everywhere."""
    return int.from_bytes(sha256(f"fairstep {lock}".encode()).digest()[:8], signed=True)
