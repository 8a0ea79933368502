"""The cross-entropy of classes."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from src.losses.loss import Loss, per_sample
from src.metrics import Direction
from src.shapes import Shapes


class CrossEntropy(Loss):
    """-log softmax(outputs)[target], the mean over a sample's targets where it has several.

    Weights and smoothing are trained on and not evaluated, so that `val_loss` can be compared
    between settings. The weighted loss of a batch is the mean of weight x loss over its samples;
    torch's divides by the sum of the batch's weights instead, so that a sample counts for more in
    a batch of rare classes than in another.

    Args:
        class_weights: one number >= 0 per class; `balanced` is n / (classes * count of the class)
            of the training set, as in scikit-learn; null is 1 for each.
        label_smoothing: in [0, 1): the share of a target that is spread over all classes.

    Metrics: accuracy, the share of targets that have the largest output.

    Raises:
        ValueError: a setting out of range.
    """

    kind = "classes"
    metrics = {"accuracy": Direction.MAXIMIZE}  # noqa: RUF012

    def __init__(
        self,
        class_weights: Sequence[float] | Literal["balanced"] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        numbers = class_weights if isinstance(class_weights, list | tuple) else []
        if not (class_weights in (None, "balanced") or numbers):
            raise ValueError(f"class_weights must be null, balanced or a list, got {class_weights}")
        if any(type(each) not in (int, float) or not 0 <= each < float("inf") for each in numbers):
            raise ValueError(f"class_weights must be numbers >= 0, got {class_weights}")
        if isinstance(label_smoothing, bool) or not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.class_weights, self.label_smoothing = class_weights, label_smoothing
        self.weight: Tensor | None = None

    def check(self, shapes: Shapes) -> None:
        super().check(shapes)
        weights = self.class_weights
        if weights not in (None, "balanced") and len(weights) != shapes.classes:
            raise ValueError(
                f"class_weights has {len(weights)} numbers for {shapes.classes} classes"
            )

    def prepare(self, targets: Tensor, shapes: Shapes) -> None:
        if self.class_weights is None:
            return
        if self.class_weights == "balanced":
            counts = targets.flatten().bincount(minlength=shapes.classes or 0)
            weight = targets.numel() / (len(counts) * counts.double())
            weight[counts == 0] = 0.0  # no training sample has it
        else:
            weight = torch.tensor(self.class_weights, dtype=torch.float64)
        self.weight = weight.float().to(targets.device)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        flat = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
        return per_sample(flat.view(targets.shape))

    def training(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.ndim > 2:
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
        if self.weight is None:
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        weighted = F.cross_entropy(
            outputs, targets, self.weight, reduction="sum", label_smoothing=self.label_smoothing
        )
        return weighted / len(targets)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.ndim > 2:
            return super().total(outputs, targets)
        return F.cross_entropy(outputs, targets, reduction="sum")  # to the bit as it always was

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": per_sample((outputs.argmax(-1) == targets).float())}
