"""Profiles and scores against a case done by hand and against integration."""

import math

import numpy as np
import pytest
from scipy import integrate

from src.comparing.profiles import median_time, profile, ratios, score

# Three methods, four problems: the first is best twice and misses one target; nobody reaches the
# last.
TIMES = np.array([
    [10.0, 20.0, np.inf, np.inf],
    [20.0, 10.0, 30.0, np.inf],
    [15.0, 80.0, 30.0, np.inf],
])  # fmt: skip
RATIOS = np.array([
    [1.0, 2.0, np.inf, np.inf],
    [2.0, 1.0, 1.0, np.inf],
    [1.5, 8.0, 1.0, np.inf],
])  # fmt: skip


def test_ratios_by_hand():
    np.testing.assert_array_equal(ratios(TIMES), RATIOS)


def test_profiles_by_hand():
    for row, x, y in (
        (RATIOS[0], [1, 2], [0.25, 0.5]),
        (RATIOS[1], [1, 2], [0.5, 0.75]),
        (RATIOS[2], [1, 1.5, 8], [0.25, 0.5, 0.75]),
        (RATIOS[:, 3], [], []),
    ):
        drawn = profile(row)
        np.testing.assert_array_equal(drawn[0], x)
        np.testing.assert_array_equal(drawn[1], y)


def test_scores_by_hand():
    """Mean of rho on [1, 4]: the first has 1/4 up to 2 and 1/2 from there on, and so on."""
    assert score(RATIOS[0]) == pytest.approx((0.25 * 1 + 0.5 * 2) / 3)
    assert score(RATIOS[1]) == pytest.approx((0.5 * 1 + 0.75 * 2) / 3)
    assert score(RATIOS[2]) == pytest.approx((0.25 * 0.5 + 0.5 * 2.5) / 3)
    assert score(RATIOS[:, 3]) == 0
    assert score(np.ones(5)) == 1


@pytest.mark.parametrize("longest", [2.0, 4.0, 10.0])
def test_a_score_is_the_integral_of_the_profile(longest):
    row = np.append(1 + np.random.default_rng(3).exponential(2, 12), np.inf)

    def rho(tau):
        return np.mean(row <= tau)

    points = sorted(row[row < longest])
    area, _ = integrate.quad(rho, 1, longest, points=points, limit=200)
    assert score(row, longest) == pytest.approx(area / (longest - 1), abs=1e-6)


@pytest.mark.parametrize(
    ("times", "median"),
    [
        ([3, 1, 2], 2),
        ([3, 1, 2, 10], 2.5),
        ([3, 1, math.inf], 3),
        ([3, 1, math.inf, math.inf], math.inf),
        ([math.inf], math.inf),
    ],
)
def test_a_miss_is_slower_than_any_hit(times, median):
    assert median_time(times) == median
