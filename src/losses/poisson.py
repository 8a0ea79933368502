"""The Poisson deviance, for counts."""

import torch
from torch import Tensor

from src.losses.loss import Loss, per_sample
from src.metrics import Direction
from src.shapes import Shapes


class Poisson(Loss):
    """Half the deviance of a Poisson distribution, μ - y - y·log(μ/y) with μ = exp(output).

    It is torch's PoissonNLLLoss less its least value, so the gradients are the same and a perfect
    model has the loss 0. The mean over a sample's targets where it has several.

    Metrics: mae, the mean of |μ - target|.

    Raises:
        ValueError: a target is below 0.
    """

    metrics = {"mae": Direction.MINIMIZE}  # noqa: RUF012

    def prepare(self, targets: Tensor, shapes: Shapes) -> None:
        if (least := targets.min().item()) < 0:
            raise ValueError(f"needs counts as targets, but there is a {least:g}")

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        least = targets - torch.xlogy(targets, targets)
        return per_sample(outputs.exp() - targets * outputs - least)

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"mae": per_sample((outputs.exp() - targets).abs())}
