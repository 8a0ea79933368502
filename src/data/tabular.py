"""Rows of a table as a data set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.data.dataset import Dataset
from src.data.generated import Draws, Floats, made


def of_rows(
    inputs: Floats, targets: NDArray[Any], sha256: str, *, scale_targets: bool = False
) -> Dataset:
    """Rows in mixed order, always the same; the last fifth is the test set.

    Columns get mean 0 and standard deviation 1 in the training set, where they aren't constant.

    Args:
        inputs: (n, features).
        targets: (n,); integers are classes, of which there is one more than the largest.
        scale_targets: whether the targets are scaled like a column.
    """
    order = Draws(0).permutation(len(targets))
    inputs, targets = inputs[order], targets[order]
    train = len(targets) - len(targets) // 5
    if scale_targets:
        targets = scaled(targets[:, None], train)[:, 0]
    return made(scaled(inputs, train), targets, sha256=sha256)


def scaled(columns: Floats, train: int) -> Floats:
    """(x − mean) / standard deviation, both of the first `train` rows."""
    mean, deviation = columns[:train].mean(0), columns[:train].std(0)
    values: Floats = (columns - mean) / np.where(deviation > 0, deviation, 1.0)
    return values
