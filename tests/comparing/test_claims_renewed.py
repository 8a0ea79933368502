"""How often claims are renewed, and what a renewal that fails or comes too late does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from src.comparing import claims as module
from src.comparing.claims import TABLE, Claims
from src.sweeping.storage import absolute

LEASE = 60.0


class Waits:
    """An event that is waited for in no time; it is set after some waits."""

    def __init__(self, count: int, during: Callable[[int], None] = lambda number: None) -> None:
        self.count, self.during = count, during
        self.waited = list[float]()

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.during(len(self.waited))
        return self.is_set()

    def is_set(self) -> bool:
        return len(self.waited) > self.count


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claims:
    made = Claims(absolute(f"sqlite:///{tmp_path / 'studies.db'}"), LEASE)
    made.set_up()
    assert made.take(["a", "b"], 2) == ["a", "b"]
    return made


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told = list[str]()
    monkeypatch.setattr(module._thread, "interrupt_main", lambda: told.append("stopped"))
    return told


def beats(claims: Claims) -> dict[str, int]:
    with claims.engine.connect() as connection:
        return {row.name: row.beat for row in connection.execute(sqlalchemy.select(TABLE))}


def test_a_lease_is_renewed_several_times_within_it(claims: Claims, stopped: list[str]) -> None:
    """One renewal that is late, or two, lose nothing; only these claims are renewed."""
    assert claims.take(["c"]) == ["c"]
    ended: Any = Waits(4)
    claims._renew(["a", "b"], ended)
    assert len({*ended.waited}) == 1 and 0 < ended.waited[0] * 3 < LEASE
    assert beats(claims) == {"a": 4, "b": 4, "c": 0} and not stopped


def test_a_renewal_that_does_not_reach_the_database(
    claims: Claims, stopped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one may; nobody is stopped for it."""
    real, away = claims.engine, sqlalchemy.exc.OperationalError("", {}, Exception("away"))

    class Away:
        def begin(self) -> Any:
            raise away

    def during(number: int) -> None:
        claims.engine = Away() if number == 2 else real

    ended: Any = Waits(3, during)
    claims._renew(["a", "b"], ended)
    claims.engine = real
    assert beats(claims) == {"a": 2, "b": 2} and not stopped


def test_who_has_lost_a_claim_renews_no_more(claims: Claims, stopped: list[str]) -> None:
    def during(number: int) -> None:
        if number == 2:
            with claims.engine.begin() as connection:
                connection.execute(TABLE.update().where(TABLE.c.name == "a").values(owner="x"))

    ended: Any = Waits(9, during)
    claims._renew(["a", "b"], ended)
    assert stopped == ["stopped"] and len(ended.waited) == 2
    assert beats(claims) == {"a": 1, "b": 2}


def test_who_has_just_released_them_is_not_stopped(claims: Claims, stopped: list[str]) -> None:
    """The last renewal may find the rows gone, because they were given up meanwhile."""
    ended: Any = Waits(1)
    ended.is_set = lambda: True
    ended.wait = lambda seconds: len(ended.waited) > 0 or ended.waited.append(seconds) is not None
    claims.release(["a", "b"])
    claims._renew(["a", "b"], ended)
    assert not stopped


def test_they_are_released_when_what_they_were_kept_for_fails(claims: Claims) -> None:
    with pytest.raises(ValueError, match="broke"), claims.kept(["a"]):
        raise ValueError("broke")
    assert beats(claims) == {"b": 0}
    assert claims.take(["a", "b"], 5) == ["a", "b"], "its own are free to itself"


def test_no_more_than_were_asked_for(claims: Claims) -> None:
    assert claims.take(["x", "y", "z"], 2) == ["x", "y"]
    assert {*beats(claims)} == {"a", "b", "x", "y"}
    assert claims.take(["x"], 0) == []
    assert claims.take([], 3) == []


def test_one_that_was_quicker_keeps_it(claims: Claims) -> None:
    """Between the look and the entry another process may have entered it, or renewed it."""
    with claims.engine.begin() as connection:
        assert claims._put(connection, "new", {})
        assert not claims._put(connection, "new", {})
        held = {"a": (claims.me, 0)}
        assert claims._put(connection, "a", held)
        assert not claims._put(connection, "a", held), "it was renewed since"
        assert not claims._put(connection, "b", {"b": ("another", 0)})
    assert beats(claims) == {"a": 1, "b": 0, "new": 0}


def test_a_database_that_is_away_at_the_end_is_no_error(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def begin(self) -> Any:
            raise sqlalchemy.exc.OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(claims, "engine", Away())
    claims.release(["a"])
