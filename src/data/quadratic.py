"""Places that draw a point to themselves: the samples of a noisy quadratic function."""

import numpy as np

from src.data.dataset import Dataset
from src.data.generated import Draws, made


def load(rows: int = 2500, features: int = 64, seed: int = 0) -> Dataset:
    """Places ξ, nearly normal with variance 1 in each coordinate; a fifth is the test set.

    Targets are 0: `src.models.Quadratic` gives √H·(θ − ξ), whose mean square is its loss.

    Args:
        rows: of training and test set together.
        features: d, of a place.
        seed: of the data; the run's is another.
    """
    places = Draws(seed).normal(rows, features)
    return made(places, np.zeros_like(places))
