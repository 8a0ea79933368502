"""What a small network answers, for another one to learn."""

import numpy as np

from src.data.dataset import Dataset
from src.data.generated import Draws, made, on_grid


def load(rows: int = 2500, features: int = 16, hidden: int = 16, seed: int = 0) -> Dataset:
    """y = vᵀ·relu(W·x), without noise; a fifth is the test set.

    A student of the same form with as many hidden units or more can reach a loss of 0. The
    teacher's weights are nearly normal, scaled by powers of two so that y varies by about 1.

    Args:
        rows: of training and test set together.
        features: of x, >= 1.
        hidden: units of the teacher, >= 1.
        seed: of the data; the run's is another.

    Reference: Saad and Solla, On-line Learning in Soft Committee Machines, 1995,
    https://doi.org/10.1103/PhysRevE.52.4225
    """
    draws = Draws(seed)
    first = on_grid(draws.normal(hidden, features), 6) / 4
    second = on_grid(draws.normal(hidden), 6) / 2
    inputs = on_grid(draws.normal(rows, features), 10)
    return made(inputs, np.maximum(inputs @ first.T, 0) @ second)
