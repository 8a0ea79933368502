"""A linear regression whose features are nearly collinear."""

import numpy as np
import scipy.linalg

from src.data.dataset import Dataset
from src.data.generated import Draws, made, on_grid


def load(
    rows: int = 2500,
    features: int = 64,
    condition: float = 1e4,
    noise: float = 0.01,
    seed: int = 0,
) -> Dataset:
    """y = wᵀ·x + noise, with XᵀX ill-conditioned; a fifth is the test set.

    x = H·diag(s)·z with z nearly normal, H a Hadamard matrix over its norm and s² from 1 down to
    1/κ, evenly in its logarithm: nearly collinear columns, which no scaling of columns mends. The
    condition number of the rows that are drawn is about twice κ.

    Args:
        rows: of training and test set together.
        features: a power of 4.
        condition: κ, from 1 to 1e6, of the distribution's covariance.
        noise: standard deviation of the targets' noise, >= 0.
        seed: of the data; the run's is another.

    Raises:
        ValueError: features is no power of 4, or κ outside its range.
    """
    if features < 1 or 4 ** (features.bit_length() // 2) != features:
        raise ValueError(f"features must be a power of 4, got {features}")
    if not 1 <= condition <= 1e6:
        raise ValueError(f"condition must be in [1, 1e6], got {condition}")
    draws = Draws(seed)
    scales = on_grid(np.logspace(0, -np.log10(condition) / 2, features), 14)
    scaled, weights = draws.normal(rows, features) * scales, draws.normal(features)
    # In the coordinates of z, where the weights are coarse enough for sums to be exact.
    targets = scaled @ on_grid(weights, 6) + on_grid(noise * draws.normal(rows), 24)
    rotated = scaled @ scipy.linalg.hadamard(features) / 2.0 ** (features.bit_length() // 2)
    return made(rotated, targets)
