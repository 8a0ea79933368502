"""How much of the 5% looks have spent: what is kept, for which looks it counts, by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.comparing import spent
from src.comparing.record import Comparison, Look, write
from tests.comparing.conftest import made_search

NOTHING: dict[tuple[int, int], float] = {}


def searches(*numbers: int, lr: float = 0.1) -> list[Any]:
    trials = [
        {"number": 0, "state": "complete", "cost": 2.0, "params": {"lr": 9.0}},
        {"number": 1, "state": "complete", "cost": 1.0, "params": {"lr": lr}},
    ]
    return [made_search(name, number, trials=trials) for number in numbers for name in "ab"]


def test_shares_are_those_of_the_same_looks(tmp_path: Path) -> None:
    """By their numbers of searches and seeds; other winners, or another metric, have spent nothing,
    and leave what these have."""
    now = spent.about(searches(0), 1, "test_loss")
    assert spent.shares(tmp_path, now) == NOTHING
    spent.keep(tmp_path, now, {(1, 20): 0.25, (1, 10): 0.5})
    assert spent.shares(tmp_path, now) == {(1, 10): 0.5, (1, 20): 0.25}
    kept = json.loads((tmp_path / "looks.json").read_text())
    assert [each["seeds"] for each in kept[now]] == [10, 20]
    for other in (
        spent.about(searches(0, lr=0.2), 1, "test_loss"),
        spent.about(searches(0), 1, "test_accuracy"),
        spent.about(searches(0)[:1], 1, "test_loss"),
    ):
        assert spent.shares(tmp_path, other) == NOTHING
    spent.keep(tmp_path, other, {(3, 10): 1.0})
    assert spent.shares(tmp_path, now) == {(1, 10): 0.5, (1, 20): 0.25}


def test_only_the_searches_of_the_first_look_name_it() -> None:
    """Those that come later are made because of what looks saw."""
    first = spent.about(searches(0, 1), 2, "test_loss")
    assert spent.about(searches(0, 1, 2, 3), 2, "test_loss") == first
    assert spent.about(searches(0, 1, 2), 3, "test_loss") != first
    assert spent.about(searches(0), 2, "test_loss") != first
    nobody = [made_search("a", trials=[{"number": 0, "state": "pruned", "params": {}}])]
    assert spent.about(nobody, 1, "test_loss") != spent.about([], 1, "test_loss")


def recorded(folder: Path, looks: list[Look], found: list[Any], **more: Any) -> None:
    made: dict[str, Any] = {"name": "n", "metric": "test_loss", "direction": "minimize",
                            "methods": ["a", "b"]}  # fmt: skip
    write(Comparison.model_validate({**made, "looks": looks, "searches": found, **more}), folder)


def test_the_record_tells_it_where_the_file_is_gone(tmp_path: Path) -> None:
    """Also of two looks at as many seeds, and where the file is of before they told searches."""
    looks = [Look(seeds=10, searches=2, share=0.5), Look(seeds=10, searches=3, share=0.0),
             Look(seeds=20, searches=3, share=0.25)]  # fmt: skip
    recorded(tmp_path, looks, searches(0, 1, 2))
    now = spent.about(searches(0, 1), 2, "test_loss")
    (tmp_path / "looks.json").write_text(json.dumps({"about": now, "shares": {"10": 0.5}}))
    spent.take_over(tmp_path, 2)
    assert spent.shares(tmp_path, now) == {(2, 10): 0.5, (3, 10): 0.0, (3, 20): 0.25}


def test_a_file_that_told_seeds_alone_still_counts(tmp_path: Path) -> None:
    """The record may know less: it is written anew before anything is judged."""
    now = spent.about(searches(0, 1), 2, "test_loss")
    old = json.dumps({"about": now, "shares": {"10": 0.5, "20": 0.25}})
    (tmp_path / "looks.json").write_text(old)
    assert spent.take_over(tmp_path, 2)
    assert spent.shares(tmp_path, now) == {(2, 10): 0.5, (2, 20): 0.25}
    (tmp_path / "looks.json").write_text(old)
    recorded(tmp_path, [], searches(0, 1), pairs=[{"a": "a", "b": "b", "n": 20}])
    assert spent.take_over(tmp_path, 2)
    assert spent.shares(tmp_path, now) == {(2, 10): 0.5, (2, 20): 0.25}
    (tmp_path / "looks.json").write_text(old)
    looks = [Look(seeds=10, searches=2, share=0.4), Look(seeds=10, searches=5, share=0.1)]
    recorded(tmp_path, looks, searches(0, 1, 2, 3, 4))
    assert spent.take_over(tmp_path, 2)
    assert spent.shares(tmp_path, now) == {(2, 10): 0.4, (5, 10): 0.1, (2, 20): 0.25}


def test_what_is_kept_is_not_told_again(tmp_path: Path) -> None:
    recorded(tmp_path, [Look(seeds=10, share=0.5)], searches(0))
    now = spent.about(searches(0), 1, "test_loss")
    spent.keep(tmp_path, now, {(1, 10): 0.125})
    spent.take_over(tmp_path, 2)
    assert spent.shares(tmp_path, now) == {(1, 10): 0.125}


@pytest.mark.parametrize(("counts", "shares"), [([8, 12, 0], {(2, 12): 1.0}), ([0], {}), ([], {})])
def test_a_record_without_looks(
    tmp_path: Path, counts: list[int], shares: dict[tuple[int, int], float]
) -> None:
    """Its pairs were judged once, at as many seeds as the longest had; with the whole of it."""
    pairs = [{"a": "a", "b": "b", "n": count, "verdict": "undecided"} for count in counts]
    recorded(tmp_path, [], searches(0, 1), pairs=pairs)
    spent.take_over(tmp_path, 2)
    assert spent.shares(tmp_path, spent.about(searches(0, 1), 2, "test_loss")) == shares
    assert (tmp_path / "looks.json").exists() is bool(shares)


def test_without_a_record_nobody_was_shown_a_look(tmp_path: Path) -> None:
    assert not spent.take_over(tmp_path, 2)
    assert [*tmp_path.iterdir()] == []
