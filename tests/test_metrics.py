"""Metrics and their directions."""

import math
from itertools import product
from operator import itemgetter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.config import Objective
from src.metrics import DIRECTIONS, SETS, Direction, direction_of, is_metric

LEAST, MOST = Direction.MINIMIZE, Direction.MAXIMIZE


METRICS = [f"{part}_{name}" for part, name in product(SETS, DIRECTIONS)]


def test_a_metric_is_a_quantity_of_a_set() -> None:
    assert all(is_metric(metric) for metric in METRICS)
    others = ("train_seconds", "wall_seconds", "loss", "val_", "val", "batch_loss", "test", "")
    assert not any(is_metric(name) for name in others)
    assert get_args(Objective.model_fields["direction"].annotation) == (*Direction,)


@pytest.mark.parametrize("metric", METRICS)
def test_less_loss_and_more_accuracy_are_better(metric: str) -> None:
    expected = MOST if metric.endswith("accuracy") else LEAST
    assert direction_of(metric) is direction_of(metric, MOST) is expected


@pytest.mark.parametrize("metric", ["val_f1", "score", "loss", "val_my_loss"])
def test_an_unknown_metric_has_the_direction_that_is_configured(metric: str) -> None:
    assert direction_of(metric) is LEAST
    assert direction_of(metric, "maximize") is MOST


@given(st.lists(st.integers(-3, 3), min_size=1))
def test_one_direction_mirrors_the_other(values: list[int]) -> None:
    items = list(enumerate(values))
    assert LEAST.ranked(items, itemgetter(1)) == sorted(items, key=itemgetter(1))
    assert MOST.ranked(items, itemgetter(1)) == LEAST.ranked(items, lambda item: -item[1])
    for direction, worst in ((LEAST, max(values)), (MOST, min(values))):
        best = direction.best(items, itemgetter(1))
        assert best == direction.ranked(items, itemgetter(1))[0]
        assert direction.worst(values) == worst
        assert not any(direction.better(value, best[1]) for value in values if best)
        assert not any(direction.better(worst, value) for value in values)
    assert (LEAST.better(1, 2), LEAST.better(2, 1), MOST.better(1, 2)) == (True, False, False)


def test_a_best_is_finite() -> None:
    values = [math.nan, math.inf, 1.0, -math.inf, 2.0]
    assert (LEAST.best(values, float), MOST.best(values, float)) == (1.0, 2.0)
    assert LEAST.best([math.nan, math.inf], float) is MOST.best([], float) is None
