"""Tests of whether one method's values are better than another's.

Values are paired: column k of both methods comes from the same seed, so from the same initial
weights and the same batches. Rows are independent searches.
"""

import math
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from src.comparing.record import Pair, Summary
from src.metrics import Direction, direction_of

LEVEL = 0.05
POWER = 0.8
RESAMPLES = 9999
ROUNDING = 1e-12  # differences that are all the same differ by so much of their size
BLOCK = 1_000_000  # values drawn at once; 10,000 runs would take 800 MB without a limit
MOST_SEEDS = 100_000
Values = NDArray[np.float64]


def compare(values: dict[str, Values], direction: Direction) -> list[Pair]:
    """Every pair of methods, in the order given.

    Args:
        values: of each method, shape (searches, seeds), finite; equal shapes.
        direction: of the values.
    """
    names = list(combinations(values, 2))
    differences = [values[a] - values[b] for a, b in names]
    tests = [paired_test(difference, len(names)) for difference in differences]
    corrected = holm([p for p, _ in tests])
    return [
        _pair(a, b, difference, test, p_holm, direction, LEVEL / len(names))
        for (a, b), difference, test, p_holm in zip(
            names, differences, tests, corrected, strict=True
        )
    ]


def _pair(
    a: str,
    b: str,
    differences: Values,
    test: tuple[float, str],
    p_holm: float,
    direction: Direction,
    level: float,
) -> Pair:
    over_seeds = differences.mean(axis=0)
    n, mean = len(over_seeds), float(over_seeds.mean())
    low, high = interval(differences)
    spread = float(over_seeds.std(ddof=1)) if n > 1 else 0.0
    effect = mean / spread if spread > 0 else None
    decided = p_holm < LEVEL and not low <= 0 <= high
    seeds, searches = (None, None) if decided else to_settle(differences, level)
    better = direction.better(mean, 0)
    verdict = ("better" if better else "worse") if decided else "undecided"
    return Pair(
        a=a,
        b=b,
        n=n,
        difference=mean,
        low=low,
        high=high,
        p=test[0],
        test=test[1],
        p_holm=p_holm,
        effect=effect,
        detectable=detectable_effect(n, level) * spread if n > 1 and spread > 0 else None,
        seeds_to_settle=seeds,
        searches_to_settle=searches,
        verdict=verdict,
    )


def paired_test(differences: Values, pairs: int) -> tuple[float, str]:
    """Two-sided p that the differences, shape (searches, seeds), are symmetric about 0.

    The test is over seeds, each the mean of its searches. With several searches a paired t test
    over searches is added, and the larger p counts: seeds don't tell how lucky a search was.

    Returns:
        p, and the test's name.
    """
    over_seeds = _over_seeds(differences.mean(axis=0), pairs)
    if len(differences) == 1:
        return over_seeds
    return max(over_seeds, (t_test(differences.mean(axis=1)), "paired t over searches"))


def _over_seeds(differences: Values, pairs: int) -> tuple[float, str]:
    """Wilcoxon's signed-rank test; the paired t test, which assumes normal differences, where so
    few seeds (2 / 2^n times the number of pairs) could never bring p below the level."""
    if not np.any(differences):
        return 1.0, "none: no difference at all"
    if 2.0 ** (1 - len(differences)) * pairs < LEVEL:
        with warnings.catch_warnings():  # with ties and zeros SciPy names the method it takes
            warnings.simplefilter("ignore")
            return float(stats.wilcoxon(differences).pvalue), "Wilcoxon signed-rank"
    if len(differences) < 2 or np.ptp(differences) == 0:
        return 1.0, "none: too few seeds"
    return t_test(differences), "paired t"


def t_test(differences: Values) -> float:
    """Two-sided p of Student's paired t test, over searches say."""
    if np.ptp(differences) == 0:  # searches that found the same have no luck
        return 0.0 if differences[0] else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for several tests (1979).

    statsmodels has it too, but collects all garbage at each call: simulations make 10,000.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(order), 0, -1) * np.asarray(p_values, dtype=float)[order]
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    values: list[float] = corrected.tolist()
    return values


def interval(values: Values, seed: int = 0) -> tuple[float, float]:
    """The 95% bootstrap interval of a mean, shape (searches, seeds), NaN where there is no value.

    For one search it is SciPy's BCa over seeds. For several it resamples searches and seeds, with
    the same seeds in every drawn search, since runs of a seed belong together; it corrects the
    bias only, because acceleration isn't defined for two levels.
    """
    present = values[~np.isnan(values)]
    if np.ptp(present) <= ROUNDING * np.abs(present).max():  # of which BCa makes no interval
        return float(present[0]), float(present[0])
    generator = np.random.default_rng(seed)
    if len(values) == 1:
        batch = max(1, BLOCK // present.size)
        result = stats.bootstrap(
            (present,), np.mean, n_resamples=RESAMPLES, method="BCa", batch=batch, rng=generator
        )
        return float(result.confidence_interval.low), float(result.confidence_interval.high)
    return _bias_corrected(_means(values, generator), float(present.mean()))


def _means(values: Values, generator: np.random.Generator) -> Values:
    searches, seeds = values.shape
    rows = generator.integers(searches, size=(RESAMPLES, searches, 1))
    columns = generator.integers(seeds, size=(RESAMPLES, 1, seeds))
    means = []
    blocks = 1 + RESAMPLES * values.size // BLOCK
    for part in np.array_split(np.arange(RESAMPLES), blocks):
        drawn = values[rows[part], columns[part]]
        counts = (~np.isnan(drawn)).sum(axis=(1, 2))
        means.append((np.nansum(drawn, axis=(1, 2)) / np.maximum(counts, 1))[counts > 0])
    return np.concatenate(means)


def _bias_corrected(means: Values, estimate: float) -> tuple[float, float]:
    """Percentiles shifted by the median's bias (Efron and Tibshirani, 1993, chapter 14)."""
    share = ((means < estimate).mean() + (means <= estimate).mean()) / 2
    shift = stats.norm.ppf(np.clip(share, 1 / len(means), 1 - 1 / len(means)))
    tails = stats.norm.cdf(2 * shift + stats.norm.ppf([LEVEL / 2, 1 - LEVEL / 2]))
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def detectable_effect(n: int, level: float = LEVEL) -> float:
    """Cohen's d that a paired t test of n differences finds with 80% power at a level."""
    # The closed form: a solver fails with few seeds and a strict level. The other tail adds
    # nothing at this power.
    critical = stats.t.isf(level / 2, n - 1)
    return float(special.nctdtrinc(n - 1, 1 - POWER, critical)) / math.sqrt(n)


def seeds_needed(effect: float, n: int = 1, level: float = LEVEL) -> int | None:
    """Seeds, more than n, that find an effect of this size with 80% power; None beyond 100,000."""
    counts = range(2, MOST_SEEDS + 1)  # more seeds find a smaller effect
    index = bisect_left(counts, -abs(effect), key=lambda seeds: -detectable_effect(seeds, level))
    return max(counts[index], n + 1) if index < len(counts) else None


def seeds_within(room: float, level: float) -> int | None:
    """Seeds whose interval lies within a margin in about 80% of cases; None beyond 100,000.

    Args:
        room: between the difference and the margin, in standard deviations, > 0.
        level: of the interval, which is Student's.
    """

    def enough(seeds: int) -> bool:
        quantiles = stats.t.isf([level / 2, (1 - POWER) / 2], seeds - 1)
        return bool(room * math.sqrt(seeds) >= quantiles.sum())

    counts = range(2, MOST_SEEDS + 1)
    index = bisect_left(counts, True, key=enough)
    return counts[index] if index < len(counts) else None


def to_settle(
    differences: Values, level: float, room: float = 0.0
) -> tuple[int | None, int | None]:
    """How many seeds, and how many searches, would probably settle what these leave open.

    Either would show a difference, or that it is within the margin, whichever is nearer. Both the
    seeds and the searches must; a number is None where those at hand seem to be enough, and both
    are where nothing below 100,000 is, or where seeds don't differ.

    Args:
        differences: of a pair, shape (searches, seeds).
        level: of the test and the interval.
        room: between the difference and the margin; 0 for none.
    """
    sides = [differences.mean(axis=axis) for axis in (0, 1) if differences.shape[1 - axis] > 1]
    ways = []
    for needed in (partial(_shows, level=level), partial(_is_within, level=level, room=room)):
        counts = [needed(side) for side in sides]
        found = [count for count in counts if count is not None]
        if len(found) == len(counts):
            ways.append(found)
    if differences.shape[1] < 2 or np.ptp(sides[0]) == 0 or not ways:
        return None, None
    have = [len(side) for side in sides]
    best = min(ways, key=lambda way: max(n / m for n, m in zip(way, have, strict=True)))
    more = [n if n > m else None for n, m in zip(best, have, strict=True)]
    if not any(more):  # by the normal distribution; what is known of them is a little less
        more[0] = have[0] + 1
    return more[0], more[1] if len(more) > 1 else None


def _shows(differences: Values, level: float) -> int | None:
    """How many of these would show that they aren't 0."""
    spread, mean = float(differences.std(ddof=1)), float(differences.mean())
    if mean == 0:
        return None
    return seeds_needed(mean / spread, level=level) if spread > 0 else 2


def _is_within(differences: Values, level: float, room: float) -> int | None:
    """How many of these would show that they are within the margin."""
    spread = float(differences.std(ddof=1))
    if room <= 0:
        return None
    return seeds_within(room / spread, level) if spread > 0 else 2


def finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def summary(values: Iterable[float | None]) -> Summary:
    """Mean and standard deviation of the finite values."""
    numbers = finite(values)
    mean = float(np.mean(numbers)) if numbers else None
    return Summary(mean=mean, std=float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None)


def first_reaching(rows: Sequence[dict[str, Any]], metric: str, target: float | None) -> Any:
    """The first row whose metric is at the target or beyond it; None if none is, or no target."""
    sign = direction_of(metric).sign
    if target is None:
        return None
    for row in rows:
        value = row.get(metric)
        if value is not None and sign * value <= sign * target:
            return row
    return None


def area(rows: Sequence[dict[str, Any]], metric: str) -> float | None:
    """Mean height of the learning curve over samples, by trapezoids; None with a gap in it."""
    points = [(row["samples"], row.get(metric)) for row in rows]
    if len(points) < 2 or any(value is None for _, value in points):
        return None
    x, y = np.array(points, dtype=float).T
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))
