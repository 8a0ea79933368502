"""The exact signed-rank test against SciPy, against every sign there is, and by hand."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from src.comparing.signed_rank import attainable, estimate, interval, p_value


@pytest.mark.parametrize("n", [5, 10, 20, 40, 160])
def test_without_ties_it_is_scipys_exact_test(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.1, 1, n)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert p_value(differences) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "differences",
    [
        [1.0, 1.0, -1.0, 2.0, 2.0, 3.0, -4.0, 0.0, 5.0],
        [0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5],
        [-0.01, 0.02, 0.01, 0.01, 0.02, 0.03],
        [np.inf, np.inf, np.inf, -1.0, -2.0, 3.0],
    ],
)
def test_with_ties_it_counts_every_sign(differences: list[float]) -> None:
    """The share of all signs of these ranks whose sum is as far from the middle, or farther."""
    nonzero = np.array([value for value in differences if value])
    ranks = stats.rankdata(np.abs(nonzero))
    sums = np.array([np.dot(ranks, signs) for signs in product([0, 1], repeat=len(ranks))])
    middle = ranks.sum() / 2
    off = abs(ranks[nonzero > 0].sum() - middle)
    assert p_value(np.array(differences)) == pytest.approx(np.mean(abs(sums - middle) >= off))


def test_nothing_differs() -> None:
    assert p_value(np.zeros(8)) == 1.0


def test_sizes_by_hand() -> None:
    """Of ten signs, 2 / 1024 have all one sign, and 4 / 1024 all or all but that of rank 1."""
    sizes = [attainable(level, 10) for level in (0.0019, 0.002, 0.0040, 0.05)]
    assert sizes == [0, 2 / 1024, 4 / 1024, 50 / 1024]
    assert attainable(0.05, 4) == 0


def test_the_interval_inverts_the_test() -> None:
    """Just inside its ends a shift isn't rejected, just outside it is."""
    values = np.random.default_rng(2).exponential(size=14)
    low, high = interval(values, values, 0.05)
    for inside, outside in ((low + 1e-9, low - 1e-9), (high - 1e-9, high + 1e-9)):
        assert p_value(values - outside) <= 0.05 < p_value(values - inside)


def test_an_interval_by_hand() -> None:
    """Of 1, 2, 4, 8, 16, 32 the smallest of all means is 1; with six values 2/64 is the least p."""
    values = 2.0 ** np.arange(6)
    assert interval(values, values, 0.05) == (1.0, 32.0)
    assert interval(values, values, 0.03) == (-np.inf, np.inf)
    # The second smallest mean is (1 + 2) / 2, the second largest (32 + 16) / 2; 4/64 is the p.
    assert interval(values, values, 0.07) == (1.5, 24.0)
    assert estimate(np.array([1.0, 2.0, 6.0])) == np.median([1, 1.5, 3.5, 2, 4, 6])


def test_what_is_known_in_part_widens_the_interval() -> None:
    values = 2.0 ** np.arange(6)
    low, high = values - 0.25, values + np.array([0.5, 0, 0, 0, 0, np.inf])
    assert interval(low, high, 0.05) == (0.75, np.inf)


def test_opposite_infinities() -> None:
    """Their mean is unknown, so that each end takes the worse."""
    values = np.array([-np.inf, -1.0, 0.0, 1.0, 2.0, np.inf])
    assert interval(values, values, 0.05) == (-np.inf, np.inf)
    assert estimate(np.array([-np.inf, np.inf])) == 0
