"""Data sets as tensors in memory, split into train, validation and test, and their batches."""

from src.data.batches import batches, permutation
from src.data.sources import sizes
from src.data.splits import Split, Splits, load

__all__ = ["Split", "Splits", "batches", "load", "permutation", "sizes"]
