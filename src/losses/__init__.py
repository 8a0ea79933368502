"""Losses. Each says what targets it takes, how many outputs it needs and what else is measured."""

from src.losses.cross_entropy import CrossEntropy
from src.losses.loss import Loss, per_sample
from src.losses.mse import MSE

__all__ = ["MSE", "CrossEntropy", "Loss", "per_sample"]
