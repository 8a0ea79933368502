"""Which method reaches a target sooner, by hand."""

import math
from typing import Any

import numpy as np
import pytest

from src.comparing.sequential import Look
from src.comparing.sooner import Ratio, Reach, Times, compare, harder, reach, targets


def rows(*losses: float | None) -> list[dict[str, Any]]:
    return [
        {"step": 10 * n, "train_seconds": 0.5 * n, "val_loss": loss, "val_accuracy": loss}
        for n, loss in enumerate(losses, 1)
    ]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((4.0, 2.0, 1.0), Reach(20.0, 20.0)),
        ((4.0, 1.0, 3.0), Reach(10 + 10 * 2 / 3, 10 + 10 * 2 / 3)),  # it stays reached
        ((2.0, 1.0), Reach(0.0, 10.0)),  # before the first evaluation, nobody knows when
        ((4.0, 3.0), Reach(20.0, math.inf)),
        ((4.0, None, 1.0), Reach(10 + 20 * 2 / 3, 10 + 20 * 2 / 3)),
        ((), Reach(0.0, math.inf)),
    ],
)
def test_reach(losses: tuple[float | None, ...], expected: Reach) -> None:
    """A straight line between two evaluations, 10 steps apart; the target is 2."""
    assert reach(rows(*losses), "val_loss", 2.0, "step") == pytest.approx(expected)


def test_reach_of_what_is_maximized_in_seconds() -> None:
    found = reach(rows(0.5, 0.9), "val_accuracy", 0.8, "train_seconds")
    assert found == pytest.approx((0.875, 0.875))


def test_targets() -> None:
    assert targets("val_loss", 2.0) == pytest.approx((2.0, 1.9, 2.1))
    assert targets("val_accuracy", 0.8) == pytest.approx((0.8, 0.84, 0.76))
    assert targets("val_loss", -2.0) == pytest.approx((-2.0, -2.1, -1.9))


def times(*reached: float, end: float = 100.0, searches: int = 1) -> Times:
    """Runs that reached the target at these times, infinite where they never did."""
    at = np.array(reached, dtype=float).reshape(searches, -1)
    return Times(np.where(np.isinf(at), end, at), at)


def pair(a: Times, b: Times, share: float = 1.0) -> Ratio:
    searches, seeds = a.low.shape
    return compare({"a": a, "b": b}, {("a", "b"): [Look(searches, seeds, share, ())]})["a", "b"]


def test_a_third_of_the_steps() -> None:
    """Each ratio is 1/3 but two, so the median of all means of two logarithms is 1/3, too."""
    b = np.array([30.0, 33, 36, 39, 42, 45, 48, 51])
    ratio = pair(times(*(b / 3 * [1, 1, 1, 1, 1, 1, 1.1, 0.9])), times(*b))
    assert ratio.value == pytest.approx(1 / 3, rel=0.02)
    assert 0.29 < ratio.low < 1 / 3 < ratio.high < 0.37
    assert ratio.corrected == 2 / 2**8
    assert (ratio.verdict, ratio.missed) == ("sooner", (0, 0))


def test_a_and_b_change_places() -> None:
    a, b = times(10, 12, 14, 11, 13, 10, 9, 15), times(30, 36, 32, 39, 31, 35, 38, 30)
    one, other = pair(a, b), pair(b, a)
    assert (one.verdict, other.verdict) == ("sooner", "later")
    assert one.value == pytest.approx(1 / other.value)
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))


def test_a_miss_is_slower_than_any_hit() -> None:
    """Left out, the misses would make a look slower: where b did arrive, it was sooner."""
    never = math.inf
    a = times(50, 50, 50, 50, 50, 50, 50, 50, 90, 90)
    b = times(never, never, never, never, never, never, never, never, 80, 80)
    ratio = pair(a, b)
    assert ratio.verdict == "sooner"
    assert ratio.missed == (0, 8)
    assert ratio.low == 0  # nobody knows how long b would have taken
    assert ratio.value == pytest.approx(0.5)  # at most: of the length of b's runs


def test_two_misses_say_nothing() -> None:
    never = math.inf
    ratio = pair(times(*[never] * 8), times(*[never] * 8))
    assert (ratio.verdict, ratio.corrected) == ("undecided", 1.0)
    assert (ratio.low, ratio.high) == (0, math.inf)


def test_before_the_first_evaluation_nothing_is_known() -> None:
    """Both were there at some time before it."""
    early = Times(np.zeros((1, 8)), np.full((1, 8), 10.0))
    ratio = pair(early, early)
    assert (ratio.verdict, ratio.low, ratio.high) == ("undecided", 0, math.inf)


def test_looks_and_pairs_share_the_level() -> None:
    """p = 2 / 2^8 at a look that has 0.3 of the level: x 1 / 0.3; the smallest look counts, and of
    three pairs Holm's correction takes three times the smallest."""
    base = np.arange(20.0, 28.0)
    made = {"a": times(*base), "b": times(*base * 2), "c": times(*base * 2)}
    look = Look(1, 8, 0.3, ())
    pairs = {("a", "b"): [look], ("a", "c"): [Look(1, 5, 0.7, ()), look], ("b", "c"): [look]}
    found = compare(made, pairs)
    smallest = 2 / 2**8 / 0.3
    assert found["a", "b"].corrected == pytest.approx(3 * smallest)
    assert found["a", "c"].corrected == pytest.approx(3 * smallest)  # at five it was 2/2^5 / 0.7
    assert found["b", "c"].corrected == 1


def test_the_luck_of_searches_counts() -> None:
    """Two of three winners of a are sooner on every seed, the third is later."""
    b = np.full(12, 50.0)
    a = np.concatenate([b / 3, b / 3, b * 2]) * np.linspace(0.95, 1.05, 36)
    ratio = pair(times(*a, searches=3), times(*np.tile(b, 3), searches=3))
    assert ratio.verdict == "undecided"
    assert ratio.corrected > 0.3


def test_searches_that_found_the_same_have_no_luck() -> None:
    """Then p is that over seeds, 2 / 2^9 where all lie on one side."""
    b = np.array([30.0, 33, 36, 39, 42, 45, 48, 51, 54])
    a = b / np.array([3.0, 3, 3, 3, 3, 3, 3, 4, 5])
    found = pair(times(*np.tile(a, 3), searches=3), times(*np.tile(b, 3), searches=3))
    assert found.corrected == pytest.approx(2 / 2**9)
    assert found.value == pytest.approx(1 / 3)


def test_a_target_is_moved_by_a_share_of_its_size() -> None:
    assert harder("val_loss", 2.0, 0.05) == pytest.approx(1.9)
    assert harder("val_loss", 2.0, -0.05) == pytest.approx(2.1)
    assert harder("val_accuracy", 0.8, 0.05) == pytest.approx(0.84)
