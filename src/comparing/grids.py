"""Runs as arrays, and what the first look fixes for all later ones: target, margin, worst value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.comparing.protocol import Plan
from src.comparing.record import Run, runs_of
from src.comparing.sequential import Design, Spent, as_planned
from src.comparing.sooner import Times, reach
from src.comparing.statistics import Values, finite
from src.metrics import Direction, direction_of

CURVE = "val_loss"  # metric of learning curves and targets: validation data only
MOST = 0.9  # share of the reference's runs that reach the target by their end


@dataclass(frozen=True)
class Scale:
    """What is fixed from the runs of the first look, so that later runs don't move it.

    Args:
        target: of the learning curves; None if all of the reference's runs diverged.
        margin: in the metric's units; of an accuracy, a share is of 1 - its mean. None if no run
            of the reference has a value.
        worst: what a diverged run counts as: the worst value of a run that ended.
    """

    target: float | None
    margin: float | None
    worst: float

    @classmethod
    def of(cls, plan: Plan, runs: Sequence[Run]) -> "Scale":
        protocol, first = plan.protocol, first_look(plan, runs)
        reference = runs_of(first, protocol.reference or plan.methods[0], "tuned")
        values = finite(run.value for run in reference)
        margin = protocol.margin_of(protocol.metric, values) if values else None
        ended = finite(run.value for run in first) or [0.0]  # all diverged: all are equal
        target = _most_reach(reference) if protocol.target is None else protocol.target
        return cls(target, margin, plan.direction.worst(ended))


def _most_reach(runs: Sequence[Run]) -> float | None:
    """What nine of ten runs end at or below; None if all diverged.

    At the median half of the reference's own runs would miss their target.
    """
    values = finite(run.rows[-1][CURVE] for run in runs if run.rows)
    costs = direction_of(CURVE).sign * np.array(values)
    return float(direction_of(CURVE).sign * np.quantile(costs, MOST)) if values else None


def first_look(plan: Plan, runs: Sequence[Run]) -> list[Run]:
    """The runs of the first look, defaults included."""
    protocol = plan.protocol
    end = protocol.first_seed + protocol.numbers_of_seeds[0]
    return [
        run
        for run in runs
        if run.seed is not None and run.seed < end and run.search < protocol.first_searches
    ]


def design(plan: Plan, scale: Scale, spent: Spent | None = None) -> Design:
    """The looks of a plan.

    Args:
        scale: of its runs.
        spent: shares of looks that were made, under this plan or another.
    """
    protocol, count = plan.protocol, len(plan.methods)
    looks = protocol.numbers_of_seeds
    fixed = None if protocol.more_searches else protocol.first_searches
    return Design(
        looks=looks,
        shares=as_planned(looks, count * (count - 1) // 2, spent or {}, fixed),
        direction=plan.direction,
        margin=scale.margin or 0.0,
        searches=protocol.first_searches,
        more_searches=protocol.more_searches,
        spent=spent or {},
    )


def values_of(plan: Plan, runs: Sequence[Run], worst: float) -> dict[str, Values]:
    """Each method's values, (searches, seeds), NaN where nothing was trained.

    Args:
        worst: what a diverged run counts as.
    """
    shape = _shape(plan, runs)
    grids = {}
    for name in plan.methods:
        grids[name] = np.full(shape, np.nan)
        for run in runs_of(runs, name, "tuned"):
            if run.seed is not None:
                value = worst if run.value is None else run.value
                grids[name][run.search, run.seed - plan.protocol.first_seed] = value
    return grids


def times_of(plan: Plan, runs: Sequence[Run], target: float, by: str) -> dict[str, Times]:
    """When each method's runs reached a target, by step or train_seconds."""
    shape = _shape(plan, runs)
    grids = {}
    for name in plan.methods:
        low, high = np.full(shape, np.nan), np.full(shape, np.nan)
        for run in runs_of(runs, name, "tuned"):
            if run.seed is not None:
                at = run.search, run.seed - plan.protocol.first_seed
                low[at], high[at] = reach(run.rows, CURVE, target, by)
        grids[name] = Times(low, high)
    return grids


def _shape(plan: Plan, runs: Sequence[Run]) -> tuple[int, int]:
    tuned = [run for run in runs if run.kind == "tuned" and run.seed is not None]
    seeds = [run.seed - plan.protocol.first_seed for run in tuned if run.seed is not None]
    return max((run.search for run in tuned), default=0) + 1, max(seeds, default=-1) + 1


def ranked(values: Mapping[str, Values], direction: Direction, worst: float) -> list[str]:
    """The methods by their means, best first; one without a run is last."""
    means = {name: _mean(grid, worst) for name, grid in values.items()}
    return direction.ranked(values, means.__getitem__)


def _mean(grid: Values, worst: float) -> float:
    present = grid[~np.isnan(grid)]
    return float(present.mean()) if present.size else worst
