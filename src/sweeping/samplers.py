"""Samplers, built for each proposal and seeded by the study's seed and the trial's number."""

import hashlib
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from src.errors import InputError
from src.targets import build

# These draw at random until n_startup_trials have ended.
BEGINNING = (optuna.samplers.TPESampler, optuna.samplers.GPSampler, optuna.samplers.CmaEsSampler)
# These walk a fixed sequence and keep their position in the study: all trials share a seed.
SEQUENCES = (optuna.samplers.QMCSampler, optuna.samplers.GridSampler)


class Grid(optuna.samplers.GridSampler):
    """A grid over the space: `points` values of each parameter, evenly in its own scale.

    Args:
        points: values of a continuous parameter, >= 2.
        space: the parameters' distributions.
        seed: of the order in which the grid is walked.
    """

    def __init__(self, points: int, space: Mapping[str, BaseDistribution], seed: int) -> None:
        if type(points) is not int or points < 2:
            raise ValueError(f"points must be an integer >= 2, got {points}")
        values = {name: _values(item, points) for name, item in space.items()}
        super().__init__(values, seed)
        self.size = math.prod(map(len, values.values()))


def _values(distribution: BaseDistribution, points: int) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if not isinstance(distribution, FloatDistribution):
        raise ValueError(f"a grid takes intervals of floats and choices, not {distribution}")
    space = np.geomspace if distribution.log else np.linspace
    values: list[float] = space(distribution.low, distribution.high, points).tolist()
    values[0], values[-1] = distribution.low, distribution.high  # geomspace rounds its ends
    return values


def grid_size(settings: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> int | None:
    """The number of a grid's points; None for any other sampler.

    Raises:
        InputError: the sampler refuses its settings or the space.
    """
    sampler = make_sampler(settings, space, seed=0, number=0)
    return sampler.size if isinstance(sampler, Grid) else None


def batch_of(settings: Mapping[str, Any]) -> int:
    """How many trials a worker proposes at once, and trains together.

    Raises:
        InputError: it is no whole number from 1 on.
    """
    batch = settings.get("batch", 1)
    if type(batch) is not int or batch < 1:
        raise InputError(f"sampler.batch={batch}: must be a whole number from 1 on")
    return batch


def uninformed(settings: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> float:
    """How many first proposals depend on no other trial, and so may be trials of one batch."""
    sampler = make_sampler(settings, space, seed=0, number=0)
    if type(sampler) in (optuna.samplers.RandomSampler, Grid):
        return math.inf
    if type(sampler) not in BEGINNING:
        return 0
    usual = inspect.signature(type(sampler)).parameters["n_startup_trials"].default
    given = settings.get("n_startup_trials", usual)
    return given if type(given) is int else 0  # it is Optuna's to refuse


def make_sampler(
    settings: Mapping[str, Any], space: Mapping[str, BaseDistribution], seed: int, number: int
) -> optuna.samplers.BaseSampler:
    """The sampler that proposes trial `number`.

    Its seed is a pure function of (seed, number), so a restarted sweep proposes the points that an
    undisturbed sweep would have proposed from the same trials.
    """
    target = str(settings.get("_target_"))
    is_grid = target == f"{Grid.__module__}.{Grid.__name__}"
    fixed = is_grid or any(kind.__name__ in target for kind in SEQUENCES)
    own = {key: value for key, value in settings.items() if key != "batch"}
    text = f"{seed}" if fixed else f"{seed}/{number}"
    mixed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    extra = {"space": space} if is_grid else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return build("sampler", own, optuna.samplers.BaseSampler, seed=mixed, **extra)
