"""Two spirals that wind around each other."""

import numpy as np

from src.data.dataset import Dataset
from src.data.generated import Draws, Floats, made, on_grid


def load(rows: int = 2500, turns: float = 1.75, noise: float = 0.02, seed: int = 0) -> Dataset:
    """Points in the plane and which of two spirals they are on; a fifth is the test set.

    The second is the first turned by half a circle. A point at the share u of its spiral is
    r = 0.1 + 0.9·u from the centre, at the angle 2π·turns·u.

    Args:
        rows: of training and test set together.
        turns: of a spiral.
        noise: standard deviation of each coordinate, >= 0.
        seed: of the data; the run's is another.

    Reference: Lang and Witbrock, Learning to Tell Two Spirals Apart, 1988.
    """
    draws = Draws(seed)
    points, scatter = places(draws.uniform(rows), turns), draws.normal(rows, 2)
    classes = (draws.uniform(rows) < 0.5).astype(np.int64)
    signs = 1.0 - 2.0 * classes[:, None]
    return made(signs * on_grid(points, 16) + on_grid(noise * scatter, 16), classes)


def places(shares: Floats, turns: float) -> Floats:
    """Points of the first spiral, (n, 2), before they are rounded."""
    radii, angles = 0.1 + 0.9 * shares, 2 * np.pi * turns * shares
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
