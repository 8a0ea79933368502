"""The numbers behind the figures. A cost is a metric with the sign that makes lower better."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from src.comparing.record import Run, Trial
from src.comparing.statistics import interval
from src.metrics import quantity
from src.results.status import Status

Floats = NDArray[np.float64]
GRID = 120  # points of a learning curve that are drawn
GOOD = 0.10  # a learning rate is good where the cost is within this share of the method's best
BIN = 1 / 3  # decades of learning rate whose best trial represents all
HUGE = 1e300  # stands for infinity where quantiles are interpolated: inf - inf has no value


@dataclass(frozen=True)
class Cost:
    """Turns a metric into a cost: an accuracy into an error, another maximized one by its sign."""

    metric: str
    maximize: bool = False

    @property
    def label(self) -> str:
        label = f"{self.part} {self.name}".strip()
        return f"−({label})" if self.maximize and not self._error else label

    @property
    def name(self) -> str:
        """What is measured, in words."""
        return "error" if self._error else quantity(self.metric).replace("_", " ")

    @property
    def part(self) -> str:
        """The name of the set that it is measured on."""
        names = {"val": "validation", "test": "test", "train": "training"}
        part = self.metric.partition("_")[0]
        return names.get(part, part)

    @property
    def _error(self) -> bool:
        return quantity(self.metric) == "accuracy"

    def of(self, value: float | None) -> float:
        """The cost of a value; infinite where there is none."""
        if value is None:
            return np.inf
        if self._error:
            return 1 - value
        return -value if self.maximize else value


def mean_interval(runs: Sequence[Run], cost: Cost) -> tuple[float, float, float]:
    """Mean and 95% bootstrap interval; runs without a value are left out of both.

    With fewer than two values there is no interval.
    """
    searches: dict[int, list[float]] = {}
    for run in runs:  # a search's runs come in the order of their seeds
        value = run.of(cost.metric)
        searches.setdefault(run.search, []).append(np.nan if value is None else cost.of(value))
    values = np.array([*zip_longest(*searches.values(), fillvalue=np.nan)]).T
    present = values[~np.isnan(values)]
    mean = float(present.mean()) if present.size else np.nan
    return (mean, *(interval(values) if present.size > 1 else (np.nan, np.nan)))


def quantiles(values: Floats, shares: Sequence[float]) -> Floats:
    """Quantiles of each column; infinite costs count as the worst."""
    bounded = np.minimum(values, HUGE)
    results = np.quantile(bounded, shares, axis=0)
    return np.where(results > HUGE / 1e6, np.inf, results)


def curve(runs: Sequence[Run], cost: Cost, by: str) -> tuple[Floats, Floats]:
    """A grid of `by`, and the 10%, 50% and 90% quantiles of the cost there, (3, grid).

    After its last row a diverged run costs infinitely much, and another run its last value.
    """
    tables = [(run, _table(run, cost, by)) for run in runs]
    tables = [(run, table) for run, table in tables if table.size]
    if not tables:
        return np.empty(0), np.empty((3, 0))
    grid = _grid([table for _, table in tables], by)
    values = np.array([_on(grid, table, run.status) for run, table in tables])
    return grid, quantiles(values, (0.1, 0.5, 0.9))


def _table(run: Run, cost: Cost, by: str) -> Floats:
    """(2, rows): `by` and the cost; empty where no row has `by`."""
    pairs = [(row.get(by), cost.of(row.get(cost.metric))) for row in run.rows]
    return np.array([pair for pair in pairs if pair[0] is not None], dtype=float).T


def _grid(tables: list[Floats], by: str) -> Floats:
    if by != "step":  # runs have different seconds: from the last start to the median end
        low = max(float(table[0, 0]) for table in tables)
        high = float(np.median([table[0, -1] for table in tables]))
        return np.linspace(low, max(low, high), GRID // 2)
    steps = np.unique(np.concatenate([table[0] for table in tables]))
    first = max(float(table[0, 0]) for table in tables)
    steps = steps[steps >= first]
    if len(steps) > GRID:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, GRID).round().astype(int))]
    return steps


def _on(grid: Floats, table: Floats, status: str) -> Floats:
    right = np.inf if status == Status.DIVERGED else table[1, -1]
    bounded = np.minimum(table[1], HUGE)
    return np.asarray(np.interp(grid, table[0], bounded, right=min(right, HUGE)))


def steps_to(runs: Sequence[Run], cost: Cost, target: float) -> Floats:
    """The first step at which each run costs at most `target`; infinite where none does."""
    tables = (_table(run, cost, "step") for run in runs)
    reached = (table[0, table[1] <= target] if table.size else table for table in tables)
    return np.array([steps[0] if steps.size else np.inf for steps in reached])


def reached(values: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """The sorted finite values x, and the share of all values that is at most x."""
    finite = sorted(value for value in values if value is not None and np.isfinite(value))
    return finite, [(number + 1) / len(values) for number in range(len(finite))]


def trial_cost(trial: Trial, cost: Cost) -> float:
    """A trial's cost; infinite if it isn't complete, since it can't be a search's best."""
    return cost.of(trial.value) if trial.state == "complete" else np.inf


def best_of(costs: Sequence[float], count: int, shares: Sequence[float]) -> list[float]:
    """Quantiles of the best of `count` trials drawn with replacement, in closed form.

    The best of k is at most the i-th smallest of n with probability 1 - (1 - i/n)^k.
    """
    values = np.sort(np.array(costs))
    ranks = [len(values) * (1 - (1 - share) ** (1 / count)) for share in shares]
    return [float(values[max(int(np.ceil(rank - 1e-9)) - 1, 0)]) for rank in ranks]


@dataclass(frozen=True)
class Sensitivity:
    """The response of a method's cost to one parameter, from its trials.

    Args:
        x: the parameter, increasing, one point per bin.
        y: the best cost in that bin.
        best: the x of the lowest cost.
        low: the lower end of the good range.
        high: its upper end.
        open: whether an end of the range is the end of the trials.
    """

    x: Floats
    y: Floats
    best: float
    low: float
    high: float
    open: bool

    @property
    def decades(self) -> float:
        return float(np.log10(self.high / self.low))


def sensitivity(points: Sequence[tuple[float, float]]) -> Sensitivity | None:
    """The sensitivity of (parameter, cost) points; None without a finite cost."""
    finite = sorted((x, y) for x, y in points if np.isfinite(y) and x > 0)
    bins: dict[int, tuple[float, float]] = {}
    for x, y in finite:
        number = int(np.floor(np.log10(x) / BIN))
        if number not in bins or y < bins[number][1]:
            bins[number] = (x, y)
    if not bins:
        return None
    x, y = np.array([bins[number] for number in sorted(bins)]).T
    at = int(np.argmin(y))
    limit = y[at] + GOOD * abs(y[at])
    log = np.log10(x)
    low, open_low = _crossing(log[at::-1], y[at::-1], limit)
    high, open_high = _crossing(log[at:], y[at:], limit)
    return Sensitivity(x, y, float(x[at]), 10**low, 10**high, open_low or open_high)


def _crossing(log: Floats, y: Floats, limit: float) -> tuple[float, bool]:
    """The x at which y crosses the limit, by interpolation, else the last; and whether open."""
    above = np.flatnonzero(y > limit)
    if not above.size:
        return float(log[-1]), True
    right = int(above[0])
    share = (limit - y[right - 1]) / (y[right] - y[right - 1])
    return float(log[right - 1] + share * (log[right] - log[right - 1])), False


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1, the lowest value; equal values share the mean of their ranks."""
    row = np.array(values, dtype=float)
    ranked: list[float] = stats.rankdata(np.where(np.isnan(row), np.inf, row)).tolist()
    return ranked
