"""Claims: one holder each, which loses them when it dies, and only then."""

import json
import signal
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy

from src.comparing import claims as module
from src.comparing.claims import TABLE, Claims
from src.errors import InputError, Terminated
from src.results.place import WORKER
from src.sweeping.storage import absolute, me
from tests.sweeping.conftest import postgres_url, running_server  # noqa: F401


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    here = f"sqlite:///{tmp_path / 'studies.db'}"
    sqlite = request.param == "sqlite"
    url = absolute(here if sqlite else request.getfixturevalue("postgres_url"))
    Claims(url, 6).set_up()
    return url


def of(url: str, host: str = "", lease_seconds: float = 6) -> Claims:
    """Claims of another process: of this machine, where nothing else is said."""
    mine = Claims(url, lease_seconds)
    owner = {**me(), "pid": 1, "started": module.db._started(1)}
    mine.me = json.dumps({**owner, "host": host} if host else owner, sort_keys=True)
    return mine


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_each_is_held_by_one(url: str) -> None:
    here, there = Claims(url, 6), of(url)
    assert here.take(["a", "b", "c"]) == ["a"]
    assert there.take(["a", "b", "c"], 5) == ["b", "c"]
    assert Claims(url, 6).take(["b", "c"]) == []
    there.release(["b"])
    here.release(["c"])  # not its own
    assert here.take(["c", "b"]) == ["b"]
    assert there.take(["c"]) == ["c"]
    here.set_up()  # as the same command does that goes on
    assert of(url, "elsewhere").take(["a", "b", "c"]) == []


def test_a_dead_process_of_this_machine_loses_them_at_once(url: str) -> None:
    dead = of(url)
    dead.me = json.dumps({**json.loads(dead.me), "started": "1"})
    assert dead.take(["a"]) == ["a"]
    assert of(url).take(["a"]) == ["a"]


def test_a_silent_process_elsewhere_loses_them_after_a_lease(url: str, clock: list[float]) -> None:
    """No clock but the reader's counts, and only as long as it reads."""
    there, here = of(url, "elsewhere"), Claims(url, 6)
    there.take(["a"])
    for now in (0.0, 3.0, 6.0):
        clock[0] = now
        assert here.take(["a"]) == []
    late = of(url)
    assert late.take(["a"]) == [], "this one has just begun to look"
    clock[0] = 6.1
    assert here.take(["a"]) == ["a"]
    assert there.take(["a"]) == [] and late.take(["a"]) == []


def test_a_worker_that_is_asked_twice_to_end_gives_them_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm tells every process of a job, and the job tells its worker."""

    def end(*_: object) -> None:
        raise Terminated

    def again(claims: Claims, names: list[str]) -> None:
        signal.raise_signal(signal.SIGTERM)
        release(claims, names)

    release, before = Claims.release, signal.signal(signal.SIGTERM, end)
    monkeypatch.setenv(WORKER, "1")
    monkeypatch.setattr(Claims, "release", again)
    mine = Claims(url, 6)
    try:
        with pytest.raises(Terminated), mine.kept(mine.take(["a"])):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert of(url, "elsewhere").take(["a"]) == ["a"]


def test_a_renewed_one_is_kept(url: str, clock: list[float]) -> None:
    there, here = of(url, "elsewhere"), Claims(url, 6)
    there.take(["a"])
    for now in range(0, 40, 4):
        clock[0] = now
        assert here.take(["a"]) == []
        with there.engine.begin() as connection:
            connection.execute(TABLE.update().values(beat=TABLE.c.beat + 1))


def test_silence_of_the_database_is_nobodys(
    url: str, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = of(url, "elsewhere"), Claims(url, 6)
    there.take(["a"])
    assert here.take(["a"]) == []
    real, away = Claims._held, iter([sqlalchemy.exc.OperationalError("", {}, Exception("away"))])

    def held(*told: Any) -> Any:
        if error := next(away, None):
            clock[0] = 100.0
            raise error
        return real(*told)

    monkeypatch.setattr(Claims, "_held", held)
    monkeypatch.setattr(module.db.time, "sleep", lambda seconds: None)
    assert here.take(["a"]) == [], "its holder couldn't renew it either"
    clock[0] = 107.0
    assert here.take(["a"]) == ["a"]


def test_it_is_renewed_while_it_is_kept_and_then_released(url: str) -> None:
    here = Claims(url, 0.06)
    taken = here.take(["a", "b"], 2)

    def beats() -> list[int]:
        with here.engine.connect() as connection:
            return [row.beat for row in connection.execute(sqlalchemy.select(TABLE))]

    with here.kept(taken):
        deadline = time.monotonic() + 20
        while min(beats()) < 3:
            assert time.monotonic() < deadline
    assert beats() == []


def test_who_has_lost_one_is_stopped(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two must not write into one folder."""
    stopped = Event()
    monkeypatch.setattr(module._thread, "interrupt_main", stopped.set)
    here, there = Claims(url, 0.06), of(url)
    with here.kept(here.take(["a"])):
        with here.engine.begin() as connection:
            connection.execute(TABLE.update().values(owner=there.me))
        assert stopped.wait(20)
    assert Claims(url, 6).take(["a"]) == [], "it is the other's"


def test_all_get_the_same_token(url: str) -> None:
    token = Claims(url, 6).token("folder")
    assert of(url, "elsewhere").token("folder") == token != Claims(url, 6).token("another")


def test_a_database_that_stays_away_is_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    def away(*told: Any) -> Any:
        clock[0] += 1000
        raise sqlalchemy.exc.OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(Claims, "_held", away)
    with pytest.raises(InputError, match=r"can't be used: .*away"):
        Claims(url, 6).take(["a"])
