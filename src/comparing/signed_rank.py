"""Wilcoxon's signed-rank test, exact also with ties and zeros, and the interval that inverts it.

Under the null hypothesis each difference is as likely to be positive as negative, whatever its
size. That holds for a method against itself, because with common seeds its two runs may be
exchanged. SciPy's test approximates where there are ties, and its tail is too coarse for the small
levels of several looks and pairs.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]


def p_value(differences: Values) -> float:
    """Two-sided p that differences, shape (n,), are symmetric about 0; infinite ones are ranked.

    Zeros are left out. Equal sizes share the mean of their ranks, and the distribution is that of
    these ranks: every sign is equally likely.
    """
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 1.0
    sizes = np.abs(nonzero)
    order = np.argsort(sizes)
    ties = sizes[order[1:]] == sizes[order[:-1]]
    if not ties.any():  # SciPy's ranks take twenty times as long as these
        ranks = np.arange(1, len(order) + 1)
        null = _null(len(order))
    else:
        doubled = np.rint(2 * stats.rankdata(sizes)).astype(int)  # halves become whole
        ranks = doubled[order]
        null = _below(tuple(ranks))
    positive = int(ranks[nonzero[order] > 0].sum())
    return min(1.0, 2 * float(null[min(positive, int(ranks.sum()) - positive)]))


@lru_cache(maxsize=1024)
def _below(ranks: tuple[int, ...]) -> Values:
    """P(sum of the ranks with a positive sign <= s) for s = 0, 1, ..., their sum."""
    shares = np.zeros(sum(ranks) + 1)
    shares[0], end = 1.0, 1
    for rank in ranks:
        end += rank
        shares[rank:end] = (shares[rank:end] + shares[: end - rank]) / 2
        shares[:rank] /= 2
    return np.cumsum(shares)


def _null(n: int) -> Values:
    """P(W <= w) of n untied ranks, w = 0, 1, ..."""
    return _below(tuple(range(1, n + 1)))


def attainable(level: float, n: int) -> float:
    """The largest two-sided size, at most a level, that the test of n untied differences can have.

    With n seeds it is 0 below 2 / 2^n.
    """
    sizes = 2 * _null(n)
    index = int(np.searchsorted(sizes, level * (1 + 1e-9), side="right"))
    return float(sizes[index - 1]) if index else 0.0


def interval(low: Values, high: Values, level: float) -> tuple[float, float]:
    """All shifts that the test of a two-sided level doesn't reject; infinite with too few values.

    Args:
        low, high: shape (n,): each difference is known to lie between; equal where it is known.
        level: 0.05 gives a 95% interval.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (2014), 3.3.
    """
    cut = _cut(len(low), level)
    if cut == 0:
        return -np.inf, np.inf
    lower = _walsh(low, -np.inf)
    upper = lower if high is low else _walsh(high, np.inf)
    least, most = cut - 1, len(lower) - cut
    return float(np.partition(lower, least)[least]), float(np.partition(upper, most)[most])


def _cut(n: int, level: float) -> int:
    """How many means of pairs lie outside of the interval on each side.

    It is 0 if even the most extreme ranks are likelier than the level.
    """
    return int(np.searchsorted(_null(n), level / 2 * (1 + 1e-9), side="right"))


def estimate(differences: Values) -> float:
    """The median of the means of all pairs of differences (Hodges and Lehmann)."""
    return float(np.median(_walsh(differences, 0.0)))


def estimate_and_interval(differences: Values, level: float) -> tuple[float, float, float]:
    """The estimate and the interval of known, finite differences, of which one sort is enough."""
    cut = _cut(len(differences), level)
    means = _walsh(differences, 0.0)
    least, most = cut - 1, len(means) - cut
    middle = [(len(means) - 1) // 2, len(means) // 2]
    means = np.partition(means, sorted({*middle, *([least, most] if cut else [])}))
    value = float(means[middle].mean())
    return (value, float(means[least]), float(means[most])) if cut else (value, -np.inf, np.inf)


def _walsh(values: Values, unknown: float) -> Values:
    """The means of all pairs of values, each with itself included.

    Args:
        unknown: the mean of two opposite infinities.
    """
    first, second = _pairs(len(values))
    with np.errstate(invalid="ignore"):
        means = (values[first] + values[second]) / 2
    means[np.isnan(means)] = unknown
    return means


@lru_cache(maxsize=64)
def _pairs(n: int) -> tuple[NDArray[np.intp], ...]:
    return np.triu_indices(n)
