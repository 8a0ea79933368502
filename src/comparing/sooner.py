"""Which of two methods reaches a target sooner: the ratio of their steps, or of their seconds.

A run that never reaches the target is slower than any that does; it isn't left out. Its time is
only known to be longer than the run. Between two evaluations the curve is taken as straight; a run
that is at the target in its first evaluation was there at some time before.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.comparing import signed_rank
from src.comparing.sequential import JUST, Look
from src.comparing.statistics import LEVEL, Values, holm, t_test
from src.metrics import direction_of

Verdict = Literal["sooner", "later", "undecided"]
NEAR = 0.05  # share of the target by which others are tried
Pair = tuple[str, str]


class Reach(NamedTuple):
    """When a run reached the target: between low and high; from its end to infinity if never."""

    low: float
    high: float


class Times(NamedTuple):
    """When the runs of a method reached the target, each of shape (searches, seeds)."""

    low: Values
    high: Values

    @property
    def missed(self) -> NDArray[np.bool_]:
        return np.isinf(self.high)

    @property
    def known(self) -> Values:
        """The time; of a run that missed the target, its length."""
        return np.where(self.missed, self.low, self.high)


class Ratio(NamedTuple):
    """How much time a takes of what b takes.

    Args:
        value: the typical ratio; a run that missed the target counts with its whole length.
        low, high: an interval that holds for all looks and pairs together.
        corrected: p, corrected for looks and pairs.
        missed: how many runs of a and of b never reached the target.
    """

    value: float
    low: float
    high: float
    corrected: float
    missed: tuple[int, int]
    verdict: Verdict


def targets(metric: str, target: float) -> tuple[float, float, float]:
    """The target, one that is 5% harder to reach, and one that is 5% easier."""
    return target, harder(metric, target, NEAR), harder(metric, target, -NEAR)


def harder(metric: str, target: float, share: float) -> float:
    """A target that is harder to reach by a share of its size; negative: easier."""
    return target - share * abs(target) * direction_of(metric).sign


def reach(rows: Sequence[Mapping[str, Any]], metric: str, target: float, by: str) -> Reach:
    """When a curve first reaches a target.

    Args:
        rows: of the curve; those without a value of the metric are passed over.
        by: step or train_seconds.
    """
    sign = direction_of(metric).sign
    before: tuple[float, float] | None = None
    for row in rows:
        value, time = row.get(metric), row.get(by)
        if value is None or time is None:
            continue
        if sign * value <= sign * target:
            if before is None:
                return Reach(0.0, float(time))
            share = (before[1] - target) / (before[1] - value)
            at = before[0] + share * (time - before[0])
            return Reach(at, at)
        before = (float(time), float(value))
    return Reach(before[0] if before else 0.0, math.inf)


def compare(times: Mapping[str, Times], looks: Mapping[Pair, Sequence[Look]]) -> dict[Pair, Ratio]:
    """Each pair's ratio and verdict.

    Args:
        times: of each method.
        looks: made at each pair, the last one last.
    """
    logs = {(a, b): Logs.of(times[a], times[b]) for a, b in looks}
    running = {
        pair: min((_p(logs[pair].at(look)) / look.share for look in at if look.share), default=1.0)
        for pair, at in looks.items()
    }
    corrected = holm([min(1.0, p) for p in running.values()])
    ratios = {}
    for (a, b), p in zip(looks, corrected, strict=True):
        last = looks[a, b][-1]
        missed = (int(times[name].missed[: last.searches, : last.seeds].sum()) for name in (a, b))
        level = LEVEL * last.share / len(looks)
        ratios[a, b] = _ratio(logs[a, b].at(last), level, p, (next(missed), next(missed)))
    return ratios


class Logs(NamedTuple):
    """Logarithms of a pair's ratios, each of shape (searches, seeds).

    Args:
        low, high: what each lies between.
        known: of the known times, where a miss counts with the run's length.
        ranked: the same where neither missed, 0 where both did, else infinite.
    """

    low: Values
    high: Values
    known: Values
    ranked: Values

    @classmethod
    def of(cls, a: Times, b: Times) -> "Logs":
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = np.log(a.low) - np.log(b.high), np.log(a.high) - np.log(b.low)
            known = np.nan_to_num(np.log(a.known) - np.log(b.known), posinf=0.0, neginf=0.0)
        first, second = a.missed, b.missed
        ranked = np.where(first, np.where(second, 0.0, np.inf), np.where(second, -np.inf, known))
        return cls(low, high, known, ranked)

    def at(self, look: Look) -> "Logs":
        return Logs(*(values[: look.searches, : look.seeds] for values in self))


def _p(logs: Logs) -> float:
    """p over seeds; with several searches the larger one of that and of t over searches."""
    p = signed_rank.p_value(_over_seeds(logs.ranked))
    return p if len(logs.known) == 1 else max(p, t_test(logs.known.mean(axis=1)))


def _over_seeds(ranked: Values) -> Values:
    """Means over searches; a miss of a and one of b cancel out."""
    with np.errstate(invalid="ignore"):
        means: Values = ranked.mean(axis=0)
    means[np.isnan(means)] = 0.0
    return means


def _ratio(logs: Logs, level: float, corrected: float, missed: tuple[int, int]) -> Ratio:
    low, high = signed_rank.interval(logs.low.mean(axis=0), logs.high.mean(axis=0), level)
    typical = signed_rank.estimate(logs.known.mean(axis=0))
    side = signed_rank.estimate(_over_seeds(logs.ranked))
    verdict: Verdict = "undecided"
    if corrected <= JUST and side != 0:
        verdict = "sooner" if side < 0 else "later"
    return Ratio(math.exp(typical), math.exp(low), math.exp(high), corrected, missed, verdict)
