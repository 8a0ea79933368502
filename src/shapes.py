"""What a model and a loss are told of the data: shapes and kinds."""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Shapes:
    """The shapes of a sample's input and target, and what their numbers mean.

    Args:
        input: (8, 8), say; without the number of samples.
        target: () for one class or one number per sample.
        classes: targets are class indices from 0 to below it; None: real numbers.
        vocabulary: inputs are indices of tokens from 0 to below it; None: real numbers.
    """

    input: tuple[int, ...]
    target: tuple[int, ...] = ()
    classes: int | None = None
    vocabulary: int | None = None

    @property
    def in_features(self) -> int:
        """Numbers in one input."""
        return prod(self.input)

    @property
    def targets(self) -> str:
        """What a target is, in words."""
        each = f"{self.classes} classes" if self.classes is not None else "real numbers"
        return f"{each} of the shape {self.target}" if self.target else each
