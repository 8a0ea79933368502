"""Whether one method is better than another over several problems, each problem one observation.

Seeds only make each observation more precise: however many there are, they say nothing about
other problems. Tests that pool them call false differences in 18 to 59% of cases.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
LEVEL = 0.05
FEWEST = 6  # problems; with five, the smallest p of all is 2 / 2^5, more than 5%
CAP = 100.0  # standard deviations, beyond which a difference isn't larger still


def pooled_deviation(values: Sequence[Floats]) -> float:
    """The standard deviation between the seeds of a method, pooled over methods.

    Every method has the same weight, whichever has more seeds. It is the denominator of a
    standardized mean difference: Hedges, Journal of Educational Statistics 6, 1981.

    Args:
        values: of each method, shape (seeds,), two seeds or more.
    """
    return float(np.sqrt(np.mean([row.var(ddof=1) for row in values])))


def advantage(a: Floats, b: Floats, deviation: float) -> float:
    """How much lower the costs of a are than those of b, in standard deviations between seeds.

    It is held within CAP, so that a problem whose seeds hardly differ has a finite one.
    """
    difference = float(b.mean() - a.mean())
    if difference == 0:
        return 0.0
    scaled = difference / deviation if deviation > 0 else np.inf * difference
    return float(np.clip(scaled, -CAP, CAP))


def signed_rank(values: Floats) -> float:
    """Two-sided p that values are symmetric about 0, by Wilcoxon's signed ranks; exact.

    Given the ranks of their sizes, each sign is a fair coin: the distribution is counted out with
    whatever ties there are. Zeros have no sign and are left out. Two methods that are
    interchangeable on each problem have differences that are symmetric, whatever their spread.
    """
    present = values[values != 0]
    if not present.size:
        return 1.0
    ranks = stats.rankdata(np.abs(present))
    shares = _rank_sums(tuple(sorted(ranks.tolist())))
    total = round(2 * ranks[present > 0].sum())
    return float(min(1.0, 2 * min(shares[: total + 1].sum(), shares[total:].sum())))


@cache
def _rank_sums(ranks: tuple[float, ...]) -> Floats:
    """How likely the ranks of positive values have each sum, in halves, which shared ranks are."""
    shares = np.ones(1)
    for rank in (round(2 * rank) for rank in ranks):
        shares = (np.pad(shares, (0, rank)) + np.pad(shares, (rank, 0))) / 2
    return shares


def typical(values: Floats) -> float:
    """Hodges and Lehmann's estimate, which belongs to that test: the median of all pairs' means."""
    return float(np.median(_walsh(values)))


def interval(values: Floats) -> tuple[float, float] | None:
    """Its 95% interval, which belongs to that test too; None for fewer than FEWEST values.

    It ends at the k-th smallest and largest mean of pairs, with k the largest for which the rank
    sum is below k in at most 2.5% (Hollander, Wolfe and Chicken, Nonparametric Statistical
    Methods, 2014, section 3.3); without ties it excludes 0 exactly where p is at most 5%.
    """
    n = len(values)
    if n < FEWEST:
        return None
    shares = _rank_sums(tuple(float(rank) for rank in range(1, n + 1)))[::2]  # whole sums
    k = int(np.searchsorted(shares.cumsum(), LEVEL / 2, side="right"))
    means = np.sort(_walsh(values))
    return float(means[k - 1]), float(means[-k])


def _walsh(values: Floats) -> Floats:
    """The mean of each pair of values, each value with itself included."""
    rows, columns = np.triu_indices(len(values))
    return np.asarray((values[rows] + values[columns]) / 2)


def fewest_problems(pairs: int) -> int:
    """How many problems it takes before the test can decide one of so many pairs at all.

    All signs alike have p = 2 / 2^n, which is multiplied by the number of pairs.
    """
    n = FEWEST
    while pairs * 2.0 ** (1 - n) >= LEVEL:
        n += 1
    return n


def mean_ranks(costs: Floats) -> Floats:
    """The mean rank of each method, 1 is best; equal methods share the mean of their ranks.

    Args:
        costs: shape (methods, problems); methods are ranked within each problem.
    """
    return np.asarray(stats.rankdata(costs, axis=0).mean(axis=1))


def critical_difference(methods: int, problems: int) -> float:
    """The difference of mean ranks beyond which two methods differ at 5% (Nemenyi's test).

    Reference: Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006.
    Whether two methods differ so depends on the others (Benavoli, Corani and Mangili, JMLR 17,
    2016): ranks are for looking at, and the signed-rank test decides.
    """
    return float(studentized(methods) * np.sqrt(methods * (methods + 1) / (6 * problems)))


def studentized(methods: int) -> float:
    """Nemenyi's factor: the 95% quantile of the studentized range by the square root of 2."""
    return float(stats.studentized_range.ppf(1 - LEVEL, methods, np.inf) / np.sqrt(2))


def improvement(a: Floats, b: Floats) -> float:
    """The probability that a run of a ends with a lower cost than a run of b; a tie counts half.

    Reference: Agarwal et al., Deep reinforcement learning at the edge of the statistical
    precipice, NeurIPS 2021, https://arxiv.org/abs/2108.13264, section 4.3.
    """
    lower, equal = a[:, None] < b, a[:, None] == b
    return float(np.mean(lower + 0.5 * equal))
