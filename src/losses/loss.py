"""What a model is trained to lower, and what else is measured of its outputs."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from src.metrics import LOSS, Direction
from src.shapes import Shapes


class Loss:
    """The base of losses. One of your own needs `values`, and says in `kind` what targets it takes.

    Metrics are `{train,val,test}_loss` and `{train,val,test}_NAME` for each NAME in `metrics`;
    each is the mean of a value per sample over the whole set. `values` are what is evaluated;
    what is trained on may differ (class weights, say): `training`.
    """

    kind: ClassVar[Literal["numbers", "classes"]] = "numbers"  # of targets
    metrics: ClassVar[Mapping[str, Direction | str]] = {}  # besides the loss: minimize or maximize

    def directions(self) -> dict[str, str]:
        """Which way each of what is measured is better, the loss first."""
        return {LOSS: "minimize", **{name: str(way) for name, way in self.metrics.items()}}

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample, shape (n,).

        Args:
            outputs: shape (n, *self.out_shape(shapes)).
            targets: shape (n, *shapes.target).
        """
        raise NotImplementedError

    def training(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What a batch is trained on: a scalar, the mean over its samples."""
        return self.values(outputs, targets).mean()

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of `values`."""
        return self.values(outputs, targets).sum()

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The value per sample, shape (n,), of each metric that `metrics` names."""
        return {}

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """The shape of a model's output for one sample."""
        return shapes.target if shapes.classes is None else (*shapes.target, shapes.classes)

    def bind(self, shapes: Shapes) -> None:
        """Make it one for data of these shapes.

        Raises:
            ValueError: the data aren't such that it is made for.
        """
        self.check(shapes)
        self.shape = self.out_shape(shapes)

    def check(self, shapes: Shapes) -> None:
        """Refuse data that it isn't made for.

        Raises:
            ValueError: naming what the targets are and what they must be.
        """
        if (shapes.classes is None) is (self.kind == "classes"):
            other = "mse" if shapes.classes is None else "cross_entropy"
            raise ValueError(
                f"needs {self.kind} as targets, but those of the data are {shapes.targets}; "
                f"choose loss={other}, say"
            )

    def prepare(self, targets: Tensor, shapes: Shapes) -> None:
        """Look at the training set's targets, shape (n, *shapes.target), before the first batch."""


def per_sample(values: Tensor) -> Tensor:
    """The mean of each sample's values: (n, ...) becomes (n,)."""
    return values if values.ndim == 1 else values.flatten(1).mean(1)
