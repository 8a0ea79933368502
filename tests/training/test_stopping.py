"""Early stopping."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.metrics import Direction
from src.training.stopping import EarlyStopper


def stops_at(stopper: EarlyStopper, *values: float) -> int | None:
    """The index of the first value that stops it."""
    return next((i for i, value in enumerate(values) if stopper.should_stop(value)), None)


@pytest.mark.parametrize(
    ("stopper", "values", "at"),
    [
        (EarlyStopper(None), [1, 2, 3, 4, 5], None),
        (EarlyStopper(1), [3, 2, 1], None),
        (EarlyStopper(1), [3, 2, 2], 2),  # equal is no improvement
        (EarlyStopper(2), [3, 4, 2, 3, 2.5], 4),  # an improvement starts the count again
        (EarlyStopper(2, min_delta=0.5), [3, 2.75, 2.5], 2),
        (EarlyStopper(2, min_delta=0.5), [3, 2.75, 2.25, 2.2, 2.2], 4),
        (EarlyStopper(1, direction=Direction.MAXIMIZE), [1, 2, 1.5], 2),
        (EarlyStopper(1, direction=Direction.MAXIMIZE), [1, 2, 3], None),
        (EarlyStopper(1), [3, math.nan], 1),
    ],
)
def test_stopping(stopper: EarlyStopper, values: list[float], at: int | None) -> None:
    assert stops_at(stopper, *values) == at


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12), st.integers(1, 4))
def test_stops_when_the_best_is_so_many_rows_ago(values: list[int], patience: int) -> None:
    """The best is the first of the least; a maximised metric is a minimised one mirrored."""
    ago = [i - int(np.argmin(values[: i + 1])) for i in range(len(values))]
    expected = ago.index(patience) if patience in ago else None
    assert stops_at(EarlyStopper(patience), *values) == expected
    mirrored = [-value for value in values]
    assert stops_at(EarlyStopper(patience, direction=Direction.MAXIMIZE), *mirrored) == expected
