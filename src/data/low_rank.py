"""Some entries of a matrix of low rank."""

import numpy as np

from src.data.dataset import Dataset
from src.data.generated import Draws, made


def load(size: int = 64, rank: int = 4, observed: float = 0.6, seed: int = 0) -> Dataset:
    """Pairs of a row and a column, and the matrix's entry there; the others are the test set.

    Entries are products of nearly normal vectors, over √rank, without noise: a loss of 0 can be
    reached, also on what isn't observed. Columns are numbered on after the rows.

    Args:
        size: rows, and columns.
        rank: a power of 4.
        observed: the share of the entries that is the training set, in (0, 1).
        seed: of the data; the run's is another.

    Raises:
        ValueError: rank is no power of 4, or observed outside its range.
    """
    if rank < 1 or 4 ** (rank.bit_length() // 2) != rank:
        raise ValueError(f"rank must be a power of 4, got {rank}")
    if not 0 < observed < 1:
        raise ValueError(f"observed must be in (0, 1), got {observed}")
    draws = Draws(seed)
    left, right = draws.normal(size, rank), draws.normal(size, rank)
    entries = left @ right.T / 2.0 ** (rank.bit_length() // 2)
    chosen = draws.permutation(size**2)
    rows, columns = np.divmod(chosen, size)
    pairs = np.stack([rows, size + columns], 1)
    test = size**2 - round(observed * size**2)
    return made(pairs, entries[rows, columns], test, vocabulary=2 * size)
