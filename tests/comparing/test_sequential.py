"""Looks at growing numbers of seeds, by hand."""

import math

import numpy as np
import pytest

from src.comparing.sequential import (
    Design,
    Need,
    Spent,
    as_planned,
    fewest_seeds,
    follow,
    lucky,
    measured,
    spending,
)
from src.metrics import Direction

LOOKS = (10, 20, 40)


def design(pairs: int = 1, **more: object) -> Design:
    made = {"looks": LOOKS, "shares": spending(LOOKS, pairs), "direction": Direction.MINIMIZE}
    return Design(**{**made, **more})  # type: ignore[arg-type]


def noise(seed: int, seeds: int = 40, searches: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(searches, seeds))


def padded(values: np.ndarray, seeds: int) -> np.ndarray:
    """Values of which only the first seeds were trained."""
    return np.where(np.arange(values.shape[1]) < seeds, values, np.nan)


@pytest.mark.parametrize("pairs", [1, 6, 45])
def test_the_shares_are_the_whole(pairs: int) -> None:
    shares = spending((10, 20, 40, 80, 160), pairs)
    assert math.fsum(shares) == pytest.approx(1)
    assert min(shares[1:]) > 0.1
    assert spending((10,), pairs) == (1.0,)


def test_a_share_by_hand() -> None:
    """Of 5% / 6 the first of five looks is due ln(1 + 1.71828 / 5) = 0.2955, so 0.00246: of ten
    seeds it can use 2 / 1024, not 4 / 1024. With 45 pairs it can't use any."""
    assert spending((10, 20, 40, 80, 160), 6)[0] == pytest.approx(2 / 1024 * 6 / 0.05)
    assert spending((10, 20, 40, 80, 160), 45)[0] == 0
    second = math.log1p((math.e - 1) * 2 / 5)
    assert sum(spending((10, 20, 40, 80, 160), 45)[:2]) == pytest.approx(second, abs=0.1)


@pytest.mark.parametrize("searches", [3, None])
def test_looks_of_the_same_plan_keep_what_was_planned(searches: int | None) -> None:
    """Where looks may add searches, several may be at as many seeds."""
    looks = (10, 20, 40, 80)
    planned = spending(looks, 6)
    places = [(3, 10), (3, 20)] if searches else [(3, 10), (6, 10)]
    spent = dict(zip(places, planned, strict=False))
    assert as_planned(looks, 6, spent, searches) == planned[2:]
    assert as_planned((*looks, 160), 6, spent, searches) == ()
    assert as_planned((10, 20), 6, {(3, 10): 0.5, (6, 10): 0.25, (6, 20): 0.25}, None) == ()
    assert as_planned((20, 40), 1, {(1, 10): spending((20, 40), 1)[0]}, 1) == ()


def shares_of(looks: tuple[int, ...], searches: int, more: int, spent: Spent) -> list[float]:
    """Those of looks at values that stay open to the end, whose searches don't differ."""
    values = {name: np.random.default_rng(ord(name)).normal(size=(searches, 80)) for name in "ab"}
    made = design(looks=looks, shares=as_planned(looks, 1, spent, None if more else searches),
                  spent=spent, searches=searches, more_searches=more)  # fmt: skip
    found = follow(values, made)
    assert {seen.verdict for seen in found.pairs.values()} == {"undecided"}
    return [look.share for look in found.looks]


@pytest.mark.parametrize("more", [0, 3])
def test_other_looks_share_what_is_left(more: int) -> None:
    """Whatever lies off their path; a look that was made keeps the share that it had."""
    shares = shares_of((10, 20, 40, 80), 3, more, {(3, 10): 0.4})
    assert shares[0] == 0.4 and math.fsum(shares) == pytest.approx(1) and min(shares) > 0.1
    off = shares_of((15, 30), 3, more, {(3, 10): 0.4, (3, 20): 0.2})
    assert len(off) == 2 and math.fsum(off) == pytest.approx(0.4) and min(off) > 0.1
    between = shares_of((15, 20), 3, more, {(3, 10): 0.4, (3, 20): 0.2})
    assert between[1] == 0.2 and sum(between) <= 0.6 + 1e-12
    assert shares_of((10, 20), 3, more, {(3, 10): 1.0}) == [1.0, 0.0]


@pytest.mark.parametrize(("pairs", "seeds"), [(1, 6), (6, 8), (45, 11)])
def test_fewest_seeds(pairs: int, seeds: int) -> None:
    """2 / 2^n <= 5% / pairs."""
    assert fewest_seeds(pairs) == seeds
    assert 2 / 2**seeds <= 0.05 / pairs < 2 / 2 ** (seeds - 1)


def test_what_is_needed_first() -> None:
    nothing = {name: np.full((1, 0), np.nan) for name in "ab"}
    course = follow(nothing, design())
    assert course.looks == ()
    assert course.need == Need(("a", "b"), 1, 10)


def test_only_methods_with_an_open_pair_go_on() -> None:
    """c lies far off, so its pairs are decided at the first look; a and b are alike."""
    base = {"a": noise(0), "b": noise(1), "c": noise(2) + 100}
    course = follow({name: padded(values, 10) for name, values in base.items()}, design(3))
    assert course.need == Need(("a", "b"), 1, 20)
    verdicts = {pair: seen.verdict for pair, seen in course.pairs.items()}
    assert verdicts == {("a", "b"): "undecided", ("a", "c"): "better", ("b", "c"): "better"}
    later = {"a": base["a"], "b": base["b"], "c": padded(base["c"], 10)}
    course = follow(later, design(3))
    assert course.need is None
    assert [look.seeds for look in course.looks] == [10, 20, 40]
    assert [len(look.pairs) for look in course.looks] == [3, 1, 1]
    assert course.pairs["a", "c"] == course.looks[0].pairs[1]


@pytest.mark.parametrize(("direction", "verdict"), [("minimize", "better"), ("maximize", "worse")])
def test_direction(direction: str, verdict: str) -> None:
    values = {"a": noise(0), "b": noise(1) + 9}
    made = design(direction=Direction(direction))
    assert follow(values, made).pairs["a", "b"].verdict == verdict


def test_p_counts_as_p_by_share_and_stays_the_smallest() -> None:
    """Ten positive differences: p = 2 / 1024, by the share 0.2; of what comes later none counts."""
    shares = (0.2, 0.4, 0.4)
    values = np.concatenate([np.arange(1.0, 11.0), -np.ones(30) * 5])[None]
    seen = (
        follow({"a": values, "b": 0 * values}, design(shares=(0.03, 0.4, 0.57))).looks[0].pairs[0]
    )
    assert seen.corrected == pytest.approx(2 / 1024 / 0.03)
    assert seen.verdict == "undecided"
    decided = follow({"a": values, "b": 0 * values}, design(shares=shares))
    assert decided.looks[0].pairs[0].corrected == pytest.approx(2 / 1024 / 0.2)
    assert (len(decided.looks), decided.pairs["a", "b"].verdict) == (1, "worse")


def test_a_look_without_a_share_decides_nothing() -> None:
    values = {"a": noise(0), "b": noise(1) + 100}
    course = follow(values, design(shares=(0.0, 0.5, 0.5)))
    assert [look.seeds for look in course.looks] == [10, 20]
    assert course.looks[0].pairs[0].estimate.low == -np.inf


def test_the_interval_within_the_margin_is_equivalent() -> None:
    values = {"a": noise(0) * 0.1, "b": noise(1) * 0.1}
    alike = follow(values, design(margin=0.3))
    assert alike.pairs["a", "b"].verdict == "equivalent"
    end = max(-alike.pairs["a", "b"].estimate.low, alike.pairs["a", "b"].estimate.high)
    assert follow(values, design(margin=end * 1.001)).pairs["a", "b"].within
    assert len(follow(values, design(margin=end * 0.999)).looks) > len(alike.looks)
    assert follow(values, design(margin=0.0)).pairs["a", "b"].verdict == "undecided"


def test_better_by_less_than_the_margin() -> None:
    values = {"a": noise(0) * 0.01, "b": noise(1) * 0.01 + 0.1}
    seen = follow(values, design(margin=0.5)).pairs["a", "b"]
    assert (seen.verdict, seen.within) == ("better", True)
    seen = follow(values, design(margin=0.1)).pairs["a", "b"]
    assert (seen.verdict, seen.within) == ("better", False)


def test_the_interval_is_of_the_looks_own_level() -> None:
    """Of ten differences the least level keeps all means of pairs: from the least to the most."""
    values = noise(3)
    seen = follow({"a": values, "b": 0 * values}, design(6)).looks[0].pairs[0]
    level = 0.05 * spending(LOOKS, 6)[0]  # two methods: one pair
    assert level > 4 / 1024
    assert measured(values[:, :10], 2 / 1024).low == values[0, :10].min()
    assert seen.estimate == measured(values[:, :10], level)


def test_several_searches_that_disagree_decide_nothing() -> None:
    """Over seeds the difference is sure, over three searches it isn't: the larger p counts."""
    luck = np.array([[-1.0], [0.5], [2.0]])
    estimate = measured(noise(0, 20, 3) * 0.01 + luck, 0.01)
    assert estimate.test == "t over searches"
    # Means near -1, 0.5, 2: t = 0.5 / (1.5 / sqrt(3)) = 0.577 with 2 degrees of freedom.
    assert estimate.p == pytest.approx(0.622, abs=0.01)
    assert estimate.high - estimate.low == pytest.approx(2 * 9.925 * 1.5 / math.sqrt(3), rel=0.02)


def test_searches_that_found_the_same_have_no_luck() -> None:
    values = np.tile(noise(0, 10) + 5, (3, 1))
    estimate = measured(values, 0.01)
    assert (estimate.p, estimate.test) == (2 / 1024, "signed rank")
    alone = measured(values[:1], 0.01)
    assert (estimate.low, estimate.high) == pytest.approx((alone.low, alone.high))


def test_seeds_that_tell_apart_what_searches_leave_open_want_searches() -> None:
    """Searches differ less than seeds, and three of them can't decide: more searches help."""
    luck = np.array([[0.8], [0.0], [-0.8]])
    values = {"a": padded(noise(0, 40, 3), 10), "b": padded(noise(1, 40, 3) + luck + 3, 10)}
    course = follow(values, design(searches=3, more_searches=2))
    assert not lucky({name: grid[:, :10] for name, grid in values.items()})
    assert course.pairs["a", "b"].verdict == "undecided"
    assert course.need == Need(("a", "b"), 5, 10)


def test_lucky_searches() -> None:
    """Winners that lie farther from each other than seeds do, beyond what seeds explain."""
    seeds = noise(0, 10, 3)
    assert not lucky({"a": seeds, "b": noise(1, 10, 3)})
    assert lucky({"a": seeds + np.array([[-3.0], [0.0], [3.0]]), "b": noise(1, 10, 3)})


def test_more_searches_instead_of_more_seeds() -> None:
    luck = np.array([[-4.0], [0.0], [4.0]])
    values = {"a": padded(noise(0, 40, 3) + luck, 10), "b": padded(noise(1, 40, 3) + luck, 10)}
    made = design(searches=3, more_searches=2)
    assert follow(values, made).need == Need(("a", "b"), 5, 10)
    apart = {"a": values["a"], "b": padded(noise(1, 40, 3) + np.array([[9.0], [4.0], [9.0]]), 10)}
    assert follow(apart, made).pairs["a", "b"].verdict == "undecided"
    assert follow(apart, made).need == Need(("a", "b"), 5, 10)
    calm = {"a": padded(noise(0, 40, 3), 10), "b": padded(noise(1, 40, 3), 10)}
    assert follow(calm, made).need == Need(("a", "b"), 3, 20)
