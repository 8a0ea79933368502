"""Searches, looks and what is trained in between: on made-up runs, killed at random moments."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.comparing.conduct import Job
from src.comparing.pieces import Piece, Result
from src.comparing.record import Run, Search, Trial, write
from src.comparing.rounds import Rounds
from src.comparing.sequential import spending
from src.comparing.spent import take_over
from src.comparing.verdict import draft
from src.errors import InputError
from tests.comparing.conftest import made_plan, made_run
from tests.comparing.test_verdict import NOW

MEANS = {"a": 10.0, "b": 10.1, "c": 19.0}  # c lies far off; a and b are hardly apart
SPEC: dict[str, Any] = {"seeds": "auto", "looks": [10, 20, 40], "margin": 0.01}


class Killed(BaseException):
    """Stands for SIGKILL."""


def searched(method: str, number: int, luck: float = 0.0) -> Search:
    chance = np.random.default_rng([ord(method), number])
    params = {"lr": 1.0, "luck": luck * float(chance.normal())}
    trials = [Trial(number=n, state="complete", cost=n, params=params, seconds=2.0)
              for n in range(4)]  # fmt: skip
    return Search(method=method, search=number, trials=trials, shared_hash="x")


class World:
    """Trains nothing: the value of a run follows from its job."""

    def __init__(self, luck: float = 0.0) -> None:
        self.trained: list[str] = []
        self.luck, self.alive, self.alone = luck, 10**9, ""

    def make(self, piece: Piece, folder: Path) -> Result:
        if piece.job is None:
            return searched(piece.method, piece.number, self.luck)
        return self.train(piece.job, folder)

    def train(self, job: Job, folder: Path) -> Run:
        kept = folder / "runs" / f"{job.folder_name}.json"
        if not kept.is_file():
            self.alive -= 1
            if self.alive < 0:
                raise Killed
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text("{}")
            self.trained.append(job.folder_name)
        chance = np.random.default_rng([job.seed, ord(job.method), job.search])
        value = MEANS[job.method] + float(chance.normal()) + 5 * (job.kind == "default")
        value += job.params.get("luck", 0.0)
        shared = {"train_seconds": 4.0, "together": 4, "alone": self.alone}
        return made_run(job.method, job.seed, value, job.kind, job.search, **shared)


def first(pieces: list[Piece]) -> Piece:
    return pieces[0]


@pytest.fixture
def world() -> World:
    return World()


def carry_out(
    folder: Path, world: World, choose: Callable[[list[Piece]], Piece] = first, **changes: Any
) -> tuple[Any, list[Any]]:
    """The last record, and all of them; `choose` is who says which piece is made next."""
    plan = made_plan(**{**SPEC, **changes})
    folder.mkdir(exist_ok=True)
    records = []

    def at_look(made: Rounds) -> None:
        records.append(draft(plan, made, {}, [], NOW, {}))

    steps = Rounds(plan, folder, at_look, where=lambda: ", running: 1 on n2").steps()
    with suppress(StopIteration):
        wanted = next(steps)
        while True:
            piece = choose(wanted)
            wanted = steps.send((piece, world.make(piece, folder)))
    return records[-1], records


def test_why_runs_train_one_at_a_time_is_told_once(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.alone = "the model draws random numbers"
    carry_out(tmp_path, world)
    told = [line for line in capsys.readouterr().out.splitlines() if "one at a time" in line]
    assert told == ["runs train one at a time: the model draws random numbers"]


def test_each_run_is_told(tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """How many there will be, what it came to, and where others are made."""
    carry_out(tmp_path, world)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("run 1/60 of the look at 10 seeds: a-tuned-0-seed-")
    assert first.endswith(", running: 1 on n2")


def test_the_pieces_of_slow_methods_come_first(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are workers to end together; the record is the same."""
    seconds, asked = {"a": 1.0, "b": 3.0, "c": 2.0}, list[list[str]]()
    monkeypatch.setattr(Rounds, "_seconds", seconds)

    def choose(pieces: list[Piece]) -> Piece:
        asked.append([piece.job.method if piece.job else piece.method for piece in pieces])
        return pieces[0]

    found, _ = carry_out(tmp_path / "two", world, choose, n_jobs=2)
    assert asked[0] == ["b", "c", "a"]
    assert asked[3] == [name for name in "bca" for _ in range(20)]
    asked.clear()
    alone, _ = carry_out(tmp_path / "one", world, choose)
    assert asked[0] == ["a", "b", "c"] and asked[3][:6] == [*"abcabc"]
    same = "searches", "runs", "pairs", "looks"
    assert all(getattr(found, name) == getattr(alone, name) for name in same)


def test_a_method_whose_step_cannot_be_timed(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes last, and nothing else happens."""

    def seconds(method: str) -> float:
        if method == "b":
            raise RuntimeError("not in training")
        return {"a": 1.0, "c": 2.0}[method]

    monkeypatch.setattr("src.comparing.rounds.seconds_of_a_step", seconds)
    monkeypatch.setattr("src.comparing.rounds.parse", lambda method: method)
    asked = list[str]()

    def choose(pieces: list[Piece]) -> Piece:
        asked.append(pieces[0].method)
        return pieces[0]

    carry_out(tmp_path, world, choose, n_jobs=2)
    assert asked[:3] == ["c", "a", "b"]


def test_looks_until_no_pair_is_open_or_the_last(tmp_path: Path, world: World) -> None:
    """c is told apart at ten seeds and trained no further; the defaults stay at ten as well."""
    found, records = carry_out(tmp_path, world)
    seeds = {name: len({run.seed for run in found.of(name)}) for name in "abc"}
    assert seeds == {"a": 40, "b": 40, "c": 10}
    assert all(len(found.of(name, "default")) == 10 for name in "abc")
    assert [look.seeds for look in found.looks] == [10, 20, 40]
    assert (found.missing, found.ended) == ([], "that was the last look")
    assert records[0].missing == ["the searches"]
    assert records[1].missing[0].startswith("the look at 10 seeds, for which a, b and c")
    assert len(records[1].awaited) == 60
    assert records[2].missing[0].startswith("the look at 20 seeds, for which a and b")
    assert len(records[2].awaited) == 40
    assert len(records) == 5
    assert (found.looks[-1].runs, found.most_runs) == (90, 120)


def test_killed_at_random_it_comes_to_the_same(tmp_path: Path, world: World) -> None:
    """Ten times, between any two runs: the same looks, words and numbers."""
    whole, _ = carry_out(tmp_path / "whole", world)
    chance, kills = random.Random(3), 0
    for _ in range(10):
        world.alive = chance.randrange(20)
        try:
            carry_out(tmp_path / "killed", world)
        except Killed:
            kills += 1
    world.alive = 10**9
    found, _ = carry_out(tmp_path / "killed", world)
    assert kills >= 5
    assert found == whole
    assert len(world.trained) == 2 * len({*world.trained})  # each run once in each folder


def test_a_limit_in_seconds_ends_it_at_a_look(tmp_path: Path, world: World) -> None:
    """24 seconds of trials and 60 of runs are more than 80, so the look at ten is the last; the
    same looks go on without the limit."""
    found, _ = carry_out(tmp_path, world, seconds=80.0)
    assert [look.seeds for look in found.looks] == [10]
    assert found.missing == []
    assert found.ended == "protocol.seconds=80 had passed"
    longer, _ = carry_out(tmp_path, world)
    assert [look.seeds for look in longer.looks] == [10, 20, 40]
    assert carry_out(tmp_path / "anew", world)[0].looks == longer.looks


def test_more_looks_after_all_is_spent_are_refused(tmp_path: Path, world: World) -> None:
    carry_out(tmp_path, world, looks=[10, 20])
    with pytest.raises(InputError, match=r"at 10, 20 seeds, have spent all of the 5%.*first_seed="):
        carry_out(tmp_path, world)
    count = len(world.trained)
    assert carry_out(tmp_path, world, looks=[10, 20])[0].looks[-1].seeds == 20
    assert len(world.trained) == count


def test_what_was_found_stays_where_looks_are_refused(tmp_path: Path, world: World) -> None:
    carry_out(tmp_path, world, looks=[10, 20])
    shown: list[Rounds] = []
    plan = made_plan(**{**SPEC, "looks": [10, 20, 40]})
    steps = Rounds(plan, tmp_path, shown.append).steps()
    with pytest.raises(InputError, match="have spent all of the 5%"):
        wanted = next(steps)
        while True:
            wanted = steps.send((wanted[0], world.make(wanted[0], tmp_path)))
    assert shown == []


def test_a_look_that_was_made_is_judged_with_its_share(tmp_path: Path, world: World) -> None:
    """Also where it is the only one of another plan: it was one of several."""
    looked, _ = carry_out(tmp_path, world, looks=[10, 20])
    found, _ = carry_out(tmp_path, world, seeds=20)
    assert [look.share for look in found.looks] == [looked.looks[1].share]
    pairs = {(pair.a, pair.b): pair for pair in looked.looks[1].pairs}
    for pair in found.pairs:
        if (pair.a, pair.b) in pairs:
            assert pair.p == pairs[pair.a, pair.b].p
            assert pair.p_holm >= min(1.0, pair.p / looked.looks[1].share)
    assert found.by_looks
    other, _ = carry_out(tmp_path / "alone", world, seeds=20)
    assert [look.share for look in other.looks] == [1.0] and not other.by_looks


def test_where_nothing_is_left_in_mid_course_it_ends(tmp_path: Path) -> None:
    """Looks that add searches may come to a place that nobody could foresee."""
    world, settings = World(luck=2.0), {"searches": "auto", "looks": [10, 20], "margin": 0.0}
    found, _ = carry_out(tmp_path, world, **settings)
    assert [(look.searches, look.seeds) for look in found.looks] == [(3, 10), (6, 10)]
    kept = json.loads((tmp_path / "looks.json").read_text())
    (lines,) = kept.values()
    lines[1] |= {"searches": 3, "seeds": 20}
    (tmp_path / "looks.json").write_text(json.dumps(kept))
    count = len(world.trained)
    again, _ = carry_out(tmp_path, world, **settings)
    assert (again.ended, again.missing) == ("all of the 5% is spent", [])
    assert [(look.searches, look.seeds) for look in again.looks] == [(3, 10)]
    assert len(world.trained) == count


def test_more_looks_share_what_is_left(tmp_path: Path, world: World) -> None:
    """Ended by a limit after its first look, it may look twice more, or three times."""
    first, _ = carry_out(tmp_path, world, looks=[10, 20], seconds=1.0)
    found, _ = carry_out(tmp_path, world, looks=[10, 15, 20, 30])
    (shares,) = json.loads((tmp_path / "looks.json").read_text()).values()
    assert shares[0] == {"searches": 1, "seeds": 10, "share": first.looks[0].share}
    assert sum(each["share"] for each in shares) == pytest.approx(1)
    assert [look.seeds for look in found.looks] == [10, 15, 20, 30]


@pytest.mark.parametrize("luck", [0.9, 1.3, 2.0])
@pytest.mark.parametrize("limit", [None, 900.0])
def test_looks_that_add_searches_keep_the_shares_that_were_planned(
    tmp_path: Path, luck: float, limit: float | None
) -> None:
    """Several are at as many seeds. What was said of a pair is never taken back."""
    planned = spending((10, 20, 40, 80), 3)
    settings = {"searches": "auto", "looks": [10, 20, 40, 80], "margin": 0.0}
    said: dict[frozenset[str], str] = {}
    places = []
    for seconds in (limit, None) if limit else (None,):  # ended by a limit, it goes on
        found, records = carry_out(tmp_path, World(luck=luck), seconds=seconds, **settings)
        for record in records:
            for pair in record.pairs:
                if pair.verdict != "undecided":
                    best = pair.a if pair.verdict == "better" else pair.b
                    assert said.setdefault(frozenset((pair.a, pair.b)), best) == best
        shares = [look.share for look in found.looks]
        assert shares == pytest.approx(planned[: len(shares)])
        places = [(look.searches, look.seeds) for look in found.looks]
    assert len({seeds for _, seeds in places}) < len(places)
    (kept,) = json.loads((tmp_path / "looks.json").read_text()).values()
    assert [(each["searches"], each["seeds"]) for each in kept] == places
    if len(places) == 4:
        with pytest.raises(InputError, match="have spent all of the 5%"):
            carry_out(tmp_path, World(luck=luck), **{**settings, "looks": [10, 20, 40, 80, 160]})


@pytest.mark.parametrize("left", ["", "{", "[1]"])
def test_what_looks_have_spent_is_told_by_the_record_too(
    tmp_path: Path, world: World, left: str
) -> None:
    """... where its file is missing or broken, also after a kill between record and searches."""
    found, _ = carry_out(tmp_path, world, looks=[10, 20], seconds=1.0)
    kept = json.loads((tmp_path / "looks.json").read_text())
    (tmp_path / "looks.json").write_text(left)
    write(found, tmp_path)
    take_over(tmp_path, 1)
    assert json.loads((tmp_path / "looks.json").read_text()) == kept
    write(found.model_copy(update={"looks": []}), tmp_path)
    take_over(tmp_path, 1)
    assert json.loads((tmp_path / "looks.json").read_text()) == kept
    carry_out(tmp_path, world, looks=[10, 20])
    with pytest.raises(InputError, match=r"at 10, 20 seeds, have spent all of the 5%"):
        carry_out(tmp_path, world)


def test_a_record_of_before_looks_has_spent_all(tmp_path: Path, world: World) -> None:
    """Its one look was at all that there was; other winners than those may be looked at."""
    found, _ = carry_out(tmp_path, world, seeds=10)
    (tmp_path / "looks.json").unlink()
    write(found.model_copy(update={"looks": []}), tmp_path)
    with pytest.raises(InputError, match=r"at 10 seeds, have spent all of the 5%"):
        carry_out(tmp_path, world)
    assert carry_out(tmp_path, world, seeds=10)[0].pairs == found.pairs
    (tmp_path / "looks.json").unlink()
    world.luck = 0.01
    assert len(carry_out(tmp_path, world)[0].looks) == 3


def test_other_winners_spend_anew(tmp_path: Path, world: World) -> None:
    """After a longer search the runs are others, and so are the looks."""
    carry_out(tmp_path, world, looks=[10, 20])
    world.luck = 0.01
    found, _ = carry_out(tmp_path, world)
    assert [look.seeds for look in found.looks] == [10, 20, 40]


def test_more_searches_where_they_differ_more_than_seeds(tmp_path: Path) -> None:
    """With luck as large as three deviations more searches are made, without luck more seeds."""
    found, _ = carry_out(tmp_path / "luck", World(luck=3.0), searches="auto")
    assert [look.searches for look in found.looks][:2] == [3, 6]
    assert [look.seeds for look in found.looks][:2] == [10, 10]
    assert "searches is in it" in found.basis
    found, _ = carry_out(tmp_path / "none", World(), searches="auto")
    assert {look.searches for look in found.looks} == {3}
    assert [look.seeds for look in found.looks] == [10, 20, 40]


@pytest.mark.parametrize("order", range(3))
def test_it_comes_to_the_same_in_whatever_order_pieces_are_made(
    tmp_path: Path, world: World, order: int
) -> None:
    """As many workers make them: all of a look, but in any order."""
    whole, _ = carry_out(tmp_path / "whole", world, searches="auto")
    chance = random.Random(order)
    found, _ = carry_out(tmp_path / "any", world, chance.choice, searches="auto")
    assert found == whole
    assert world.trained[: len(world.trained) // 2] != world.trained[len(world.trained) // 2 :]
