"""What is proposed: repeatable, another for each seed and number, and even where it must be."""

import math
import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy.stats import qmc

from src.config import CONF
from src.errors import InputError
from src.sweeping.samplers import grid_size, make_sampler
from tests.sweeping.conftest import Sweep, open_study
from tests.sweeping.test_study import finish_all

SPACE = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(1e-4, 1.0, log=True)}
INDEPENDENT = ("random", "tpe", "gp", "cmaes")
SEEDS = (0, 1, 2, 3, 10, 11)


def settings(name: str, **changes: object) -> dict[str, Any]:
    loaded: Any = OmegaConf.to_container(OmegaConf.load(CONF / "sampler" / f"{name}.yaml"))
    return {**loaded, **changes}


def proposal(name: str, seed: int, number: int) -> tuple[float, ...]:
    """By a fresh sampler, in a study that knows three trials."""
    study = optuna.create_study(sampler=make_sampler(settings(name), SPACE, seed, number))
    for x, y in ((0.2, 0.1), (0.5, 0.3), (0.9, 0.01)):
        done = optuna.trial.create_trial(
            params={"x": x, "y": y}, distributions=SPACE, value=x - y
        )  # fmt: skip
        study.add_trial(done)
    return tuple(study.ask(SPACE).params.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", INDEPENDENT)
def test_each_seed_and_number_proposes_a_point_of_its_own(name: str) -> None:
    """A seed's trial 1 is not the next seed's trial 0, nor seed 1's trial 10 seed 11's trial 0."""
    pairs = [(seed, number) for seed in SEEDS for number in SEEDS]
    if name == "gp":
        pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]  # it takes a while
    points = {pair: proposal(name, *pair) for pair in pairs}
    assert len({*points.values()}) == len(pairs)
    assert points[0, 1] == proposal(name, 0, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_scrambled_sequence_covers_each_scale_evenly(url: str, seed: int) -> None:
    """Of the first 16 points, one lies in each 16th of each parameter's scale."""
    study = open_study(
        url, 17, space=SPACE, default={"x": 0.5, "y": 0.1},
        sampler=lambda number: make_sampler(settings("qmc"), SPACE, seed, number),
    )  # fmt: skip
    points = [trial.params for trial in finish_all(study)][1:]
    scaled = np.array([(p["x"], 1 + math.log10(p["y"]) / 4) for p in points])
    for column in scaled.T:
        assert sorted((column * 16).astype(int)) == list(range(16))
    assert qmc.discrepancy(scaled) < 0.02  # of 16 random points about 0.06


@pytest.mark.filterwarnings("error")  # the class is new, says Optuna; not at each trial
def test_a_sequence_is_another_for_another_seed() -> None:
    made = [make_sampler(settings("qmc"), SPACE, seed, number) for seed in (0, 1, 2)
            for number in (0, 5)]  # fmt: skip
    seeds = [one._seed for one in made]  # type: ignore[attr-defined]
    assert seeds[0::2] == seeds[1::2] and len({*seeds}) == 3


def grid(points: int, space: dict[str, Any], seed: int = 0) -> optuna.samplers.GridSampler:
    made = make_sampler(settings("grid", points=points), space, seed, 0)
    assert isinstance(made, optuna.samplers.GridSampler)
    return made


def test_a_grid_is_even_in_the_scale_of_each_parameter() -> None:
    space = {
        "a": FloatDistribution(0.0, 1.0),
        "b": FloatDistribution(1e-4, 1.0, log=True),
        "c": CategoricalDistribution(["u", "v", "w"]),
    }
    values = grid(5, space)._search_space
    assert values["a"] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert values["b"] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert values["c"] == ["u", "v", "w"]
    odd = FloatDistribution(0.1 + 0.2, 0.7, log=True)  # ends that a logarithm doesn't give back
    found = grid(7, {"a": odd})._search_space["a"]
    assert (found[0], found[-1]) == (0.1 + 0.2, 0.7) and len(found) == 7
    assert grid_size(settings("grid", points=5), space) == 5 * 5 * 3
    assert grid_size(settings("grid", points=2), {"c": space["c"]}) == 3
    assert all(grid_size(settings(name), space) is None for name in (*INDEPENDENT, "qmc"))


def test_the_order_of_a_grid_goes_by_the_seed_and_not_by_the_number() -> None:
    orders = [
        [*map(str, make_sampler(settings("grid"), SPACE, seed, number)._all_grids)]  # type: ignore[attr-defined]
        for seed, number in ((0, 0), (0, 7), (1, 0))
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


REFUSED = {"points=1": 1, "points=true": True, "points=2.5": 2.5, "points=null": None}


@pytest.mark.parametrize("text", REFUSED)
def test_a_grid_needs_two_points_or_more(text: str) -> None:
    with pytest.raises(InputError, match="points must be an integer >= 2, got"):
        grid_size(settings("grid", points=REFUSED[text]), SPACE)
    assert grid(2, SPACE)._search_space == {"x": [0.0, 1.0], "y": [1e-4, 1.0]}


def test_a_sampler_that_cannot_take_the_space_is_refused_before_there_is_a_study(
    sweep: Sweep,
) -> None:
    ended = sweep("sweeps=sgd", "sampler=grid", "data.batch_size=int(interval(8,16))")
    assert ended.status == 1 and ended.trials == []
    assert "a grid takes intervals of floats and choices, not IntDistribution" in ended.err
    assert len(ended.err.splitlines()) == 1
    with closing(sqlite3.connect(ended.url.removeprefix("sqlite:///"))) as database:
        assert database.execute("SELECT * FROM sqlite_master").fetchall() == []
