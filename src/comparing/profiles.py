"""How soon methods reach their targets, over several problems.

A time is in steps or in seconds; it is infinite where a target was missed. Methods are rows,
problems columns.
"""

from collections.abc import Sequence

import numpy as np

from src.comparing.statistics import Values

LONGEST = 4.0  # times the best method's time, from where on AlgoPerf's score doesn't look


def ratios(times: Values) -> Values:
    """Each time divided by the best method's on that problem; all infinite where all missed.

    Args:
        times: positive, shape (methods, problems).

    Reference: Dolan and Moré, Benchmarking optimization software with performance profiles,
    Mathematical Programming 91, 2002. Which method is best depends on who takes part, and so may
    the order of two others (Gould and Scott, ACM TOMS 43, 2016).
    """
    best = times.min(axis=0)
    with np.errstate(invalid="ignore"):  # infinite by infinite
        return np.where(np.isfinite(times), times / best, np.inf)


def profile(row: Values) -> tuple[Values, Values]:
    """Where a method's profile rises, and the share of problems with a ratio of at most that.

    Args:
        row: the method's ratios, shape (problems,).

    Returns:
        increasing x, and rho(x) within 0 and 1; both empty if the method missed every target.
    """
    x, counts = np.unique(row[np.isfinite(row)], return_counts=True)
    return x, counts.cumsum() / len(row)


def score(row: Values, longest: float = LONGEST) -> float:
    """The mean of a method's profile on [1, longest], which AlgoPerf ranks by.

    A problem with ratio r adds the part of that interval beyond r, so there is nothing to
    integrate numerically.

    Reference: Dahl et al., Benchmarking neural network training algorithms, 2023,
    https://arxiv.org/abs/2306.07179, section 4.5.
    """
    beyond = (longest - np.minimum(row, longest)) / (longest - 1)
    return float(beyond.mean())


def median_time(times: Sequence[float]) -> float:
    """The median over runs; infinite where half of the runs or more missed the target."""
    ordered = sorted(times)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return high if np.isinf(high) else (low + high) / 2
