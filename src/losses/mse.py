"""The mean squared error."""

from torch import Tensor

from src.losses.loss import Loss, per_sample
from src.metrics import Direction


class MSE(Loss):
    """(output - target)^2, the mean over a sample's targets where it has several.

    Metrics: mae, the mean of |output - target|.
    """

    metrics = {"mae": Direction.MINIMIZE}  # noqa: RUF012

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return per_sample((outputs - targets).square())

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"mae": per_sample((outputs - targets).abs())}
