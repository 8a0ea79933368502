"""Losses. Each says what targets it takes, how many outputs it needs and what else is measured."""

from src.losses.absolute import L1, Huber
from src.losses.binary_cross_entropy import BinaryCrossEntropy
from src.losses.cross_entropy import CrossEntropy
from src.losses.loss import Loss, per_sample
from src.losses.mse import MSE
from src.losses.poisson import Poisson

__all__ = [
    "L1",
    "MSE",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "Poisson",
    "per_sample",
]
