"""Data sets as tensors in memory, split into train, validation and test, and their batches.

Each other file is a source: its `load` takes the source's settings and returns a `Dataset`.
"""

from src.data.batches import Batches, Drawn, permutation, read
from src.data.dataset import Dataset, Split
from src.data.splits import Splits, load, shapes_ahead

__all__ = [
    "Batches",
    "Dataset",
    "Drawn",
    "Split",
    "Splits",
    "load",
    "permutation",
    "read",
    "shapes_ahead",
]
