"""Who does what of a comparison: claims that a worker loses when it dies, on whatever machine.

They are rows of the studies' database. A holder renews its claims; nobody reads a clock of another
machine: a claim is lost when one and the same process has seen no renewal for a whole lease.
"""

import _thread
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from threading import Event, Thread
from typing import Any, TypeVar
from uuid import uuid4

import sqlalchemy
from sqlalchemy import BigInteger, Column, MetaData, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from src.launching.workers import undisturbed
from src.sweeping import storage as db

T = TypeVar("T")
TABLE = Table(
    "fairstep_claims",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),  # how often it was renewed
)


class Claims:
    """Claims of this process, and of others.

    Args:
        url: of the database, absolute.
        lease_seconds: silence after which a holder on another machine counts as dead, >= 6.
    """

    def __init__(self, url: str, lease_seconds: float) -> None:
        self.url, self.lease_seconds = url, lease_seconds
        self.engine = db.connecting(url)
        self.insert: Any = {"sqlite": sqlite, "postgresql": postgresql}[self.engine.name].insert
        self.me = json.dumps(db.me(), sort_keys=True)
        self.silent: dict[str, tuple[tuple[str, int], float]] = {}  # since when, as it was then

    def set_up(self) -> None:
        """Make the table; one process does so before there are workers."""
        db.patiently(self._set_up, url=self.url)

    def _set_up(self) -> None:
        with db.lock(self.url):
            TABLE.metadata.create_all(self.engine)

    def take(self, names: Sequence[str], count: int = 1) -> list[str]:
        """Claim the first `count` of these that nobody holds; fewer if there are no more.

        Raises:
            InputError: the database stays away.
        """
        return self._patiently(lambda: self._take(names, count))

    def _take(self, names: Sequence[str], count: int) -> list[str]:
        mine: list[str] = []
        with self.engine.begin() as connection:
            held = self._held(connection)
            free = (name for name in names if self._is_free(name, held.get(name)))
            # In one order for all: two that wait for each other's would end in an error.
            while some := sorted(islice(free, count - len(mine))):
                mine += [name for name in some if self._put(connection, name, held)]
        return mine

    def _held(self, connection: sqlalchemy.Connection) -> dict[str, tuple[str, int]]:
        rows = connection.execute(sqlalchemy.select(TABLE))
        return {row.name: (row.owner, row.beat) for row in rows}

    def _is_free(self, name: str, held: tuple[str, int] | None) -> bool:
        if held is None or held[0] == self.me:  # or left by a release that the database didn't get
            return True
        if db.is_dead(json.loads(held[0])):
            return True
        seen, since = self.silent.setdefault(name, (held, time.monotonic()))
        if seen != held:
            self.silent[name] = held, time.monotonic()
            return False
        return time.monotonic() - since > self.lease_seconds

    def _put(
        self, connection: sqlalchemy.Connection, name: str, held: dict[str, tuple[str, int]]
    ) -> bool:
        """Enter a claim; False if another process was quicker."""
        if name in held:
            owner, beat = held[name]
            same = (TABLE.c.name == name) & (TABLE.c.owner == owner) & (TABLE.c.beat == beat)
            taken = connection.execute(
                TABLE.update().where(same).values(owner=self.me, beat=TABLE.c.beat + 1)
            )
            return taken.rowcount == 1
        values = {"name": name, "owner": self.me, "beat": 0}
        insert = self.insert(TABLE).values(values).on_conflict_do_nothing()
        # Not every database's rows of an INSERT are counted.
        return connection.execute(insert.returning(TABLE.c.name)).first() is not None

    def hosts(self, names: Sequence[str]) -> list[str]:
        """The hosts of those who hold any of these, one for each process; none if nobody knows."""
        asked = sqlalchemy.select(TABLE.c.owner).where(TABLE.c.name.in_(names)).distinct()
        with suppress(*db.AWAY), self.engine.begin() as connection:
            return [str(json.loads(owner)["node"]) for owner in connection.scalars(asked)]
        return []

    def release(self, names: Sequence[str] | None = None) -> None:
        """Give up claims; a database that is away finds out that this process is gone.

        Args:
            names: of the claims; None for all that this process holds.
        """
        mine = TABLE.c.owner == self.me
        if names is not None:
            mine &= TABLE.c.name.in_(names)
        with suppress(*db.AWAY), self.engine.begin() as connection:
            connection.execute(TABLE.delete().where(mine))

    @contextmanager
    def kept(self, names: Sequence[str]) -> Iterator[None]:
        """Renew these claims of this process meanwhile, and release them at the end.

        Raises:
            KeyboardInterrupt: another process took one, because this one was cut off for so long.
        """
        ended = Event()
        thread = Thread(target=self._renew, args=(names, ended), daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            with undisturbed():  # else workers on other machines wait for a whole lease
                self._end(names, ended, thread)
            raise
        else:
            self._end(names, ended, thread)

    def _end(self, names: Sequence[str], ended: Event, thread: Thread) -> None:
        ended.set()
        thread.join(timeout=5)
        self.release(names)

    def _renew(self, names: Sequence[str], ended: Event) -> None:
        mine = TABLE.c.name.in_(names) & (TABLE.c.owner == self.me)
        while not ended.wait(self.lease_seconds / 6):
            try:
                with self.engine.begin() as connection:
                    renew = TABLE.update().where(mine).values(beat=TABLE.c.beat + 1)
                    count = connection.execute(renew).rowcount
            except db.AWAY:
                continue  # the next renewal may reach it
            if count < len(names) and not ended.is_set():
                _thread.interrupt_main()
                return

    def token(self, name: str) -> str:
        """A word that all who ask for this name get, on every machine; it is made up once."""

        def read() -> str:
            with self.engine.begin() as connection:
                own = {"name": f"token {name}", "owner": uuid4().hex, "beat": 0}
                insert = self.insert(TABLE).values(own).on_conflict_do_nothing()
                connection.execute(insert)
                asked = sqlalchemy.select(TABLE.c.owner).where(TABLE.c.name == own["name"])
                return str(connection.execute(asked).scalar_one())

        return self._patiently(read)

    def _patiently(self, action: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return action()
            except db.AWAY:
                self.silent.clear()  # nobody could renew a claim meanwhile
                raise

        return db.patiently(attempt, url=self.url)
