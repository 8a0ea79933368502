"""The cross-entropy of two classes with one output."""

import torch.nn.functional as F
from torch import Tensor

from src.losses.loss import Loss, per_sample
from src.metrics import Direction
from src.shapes import Shapes


class BinaryCrossEntropy(Loss):
    """-log of the probability that sigmoid(output) gives to the right one of the classes 0 and 1.

    The mean over a sample's targets where it has several, each of which is a yes or no.

    Metrics: accuracy, the share of targets on whose side of 0 the output is.
    """

    kind = "classes"
    metrics = {"accuracy": Direction.MAXIMIZE}  # noqa: RUF012

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        return shapes.target

    def check(self, shapes: Shapes) -> None:
        super().check(shapes)
        if shapes.classes != 2:
            raise ValueError(f"needs 2 classes, but the data have {shapes.classes}")

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.to(outputs.dtype)
        return per_sample(F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none"))

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": per_sample(((outputs > 0) == (targets > 0)).float())}
