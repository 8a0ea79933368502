"""Losses that outliers pull at less than at squares."""

import torch.nn.functional as F
from torch import Tensor

from src.losses.loss import Loss, per_sample
from src.metrics import Direction


class L1(Loss):
    """|output - target|, the mean over a sample's targets where it has several.

    Metrics: mse, the mean of (output - target)^2.
    """

    metrics = {"mse": Direction.MINIMIZE}  # noqa: RUF012

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return per_sample((outputs - targets).abs())

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"mse": per_sample((outputs - targets).square())}


class Huber(Loss):
    """With d = |output - target|: d^2 / 2 up to delta, beyond it delta * (d - delta / 2).

    Args:
        delta: > 0, in the targets' unit.

    Metrics: mae, the mean of d.

    Raises:
        ValueError: delta isn't > 0.
    """

    metrics = {"mae": Direction.MINIMIZE}  # noqa: RUF012

    def __init__(self, delta: float = 1.0) -> None:
        if isinstance(delta, bool) or not 0 < delta < float("inf"):
            raise ValueError(f"delta must be > 0, got {delta}")
        self.delta = delta

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return per_sample(F.huber_loss(outputs, targets, reduction="none", delta=self.delta))

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"mae": per_sample((outputs - targets).abs())}
