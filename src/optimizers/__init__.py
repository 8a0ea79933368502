"""One file per method: its update rule and its class."""

from src.optimizers.adam import Adam
from src.optimizers.momentum import Momentum
from src.optimizers.nesterov import Nesterov
from src.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "Momentum", "Nesterov"]
