"""A linear map whose singular values lie far apart."""

import numpy as np
import scipy.linalg

from src.data.dataset import Dataset
from src.data.generated import Draws, made


def load(rows: int = 1250, features: int = 16, seed: int = 0) -> Dataset:
    """y = W·x without noise, so a linear model's least loss is 0; a fifth is the test set.

    W = U·diag(2, 2/√2, 1, ...)·V: singular values that fall by √2, rounded to multiples of 1/256,
    with Hadamard matrices for U and V, one of them with its rows in another order.

    Args:
        rows: of training and test set together.
        features: of x and of y, a power of 4.
        seed: of the data; the run's is another.

    Raises:
        ValueError: features is no power of 4.
    """
    if features < 1 or 4 ** (features.bit_length() // 2) != features:
        raise ValueError(f"features must be a power of 4, got {features}")
    draws = Draws(seed)
    basis = scipy.linalg.hadamard(features) / 2.0 ** (features.bit_length() // 2)
    values = np.rint(2.0 ** (9 - 0.5 * np.arange(features))) / 256
    matrix = (basis[draws.permutation(features)].T * values) @ basis
    inputs = draws.normal(rows, features)
    return made(inputs, inputs @ matrix.T)
