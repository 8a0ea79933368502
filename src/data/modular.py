"""Addition modulo a prime, as sentences."""

import numpy as np

from src.data.dataset import Dataset
from src.data.generated import Draws, made


def load(modulus: int = 31, observed: float = 0.8, seed: int = 0) -> Dataset:
    """The tokens a, b and "=", and the class (a + b) mod p, for all a and b below p.

    Args:
        modulus: p, >= 2; its own number is the token "=".
        observed: the share of all pairs that is the training set, in (0, 1); the others are the
            test set.
        seed: of the data; the run's is another.

    Raises:
        ValueError: an argument outside its range.

    Reference: Power et al., Grokking: Generalization Beyond Overfitting on Small Algorithmic
    Datasets, 2022, https://arxiv.org/abs/2201.02177
    """
    if modulus < 2:
        raise ValueError(f"modulus must be >= 2, got {modulus}")
    if not 0 < observed < 1:
        raise ValueError(f"observed must be in (0, 1), got {observed}")
    first, second = np.divmod(Draws(seed).permutation(modulus**2), modulus)
    tokens = np.stack([first, second, np.full_like(first, modulus)], 1)
    test = modulus**2 - round(observed * modulus**2)
    return made(tokens, (first + second) % modulus, test, vocabulary=modulus + 1)
