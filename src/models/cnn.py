"""A small convolutional network, for pictures and for signals."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
POOLS: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}


class CNN(nn.Module):
    """Blocks of convolution (3 wide, padded), batch norm, ReLU and max pooling (2), then a layer.

    Args:
        in_shape: of an input: (channels, length) or (channels, height, width). Each block halves
            the lengths, rounding down.
        num_classes: values in one output, >= 1.
        channels: of the blocks' outputs, each >= 1.
        batch_norm: whether the blocks normalise; without it the convolutions have a bias.
        dropout: the share of the last layer's inputs that is dropped in training, in [0, 1).

    Weights are drawn by the layers' default initialisation from torch's global generator.

    Raises:
        ValueError: an input of another rank or too small for so many blocks, or a setting outside
            its range.
    """

    outer_layers = ("blocks.0", "head")

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (16, 32),
        batch_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        rank = len(in_shape) - 1
        if rank not in CONVOLUTIONS:
            raise ValueError(
                "a CNN needs inputs of shape (channels, length) or (channels, height, width), "
                f"got {tuple(in_shape)}"
            )
        if not channels or any(type(size) is not int or size < 1 for size in channels):
            raise ValueError(f"channels must be integers >= 1, one at least, got {list(channels)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        lengths = [size >> len(channels) for size in in_shape[1:]]
        if min(lengths) < 1:
            raise ValueError(
                f"{len(channels)} blocks halve inputs of shape {tuple(in_shape)} to nothing; give "
                "fewer channels"
            )
        layers: list[nn.Module] = []
        for size_in, size_out in zip([in_shape[0], *channels], channels, strict=False):
            convolution = CONVOLUTIONS[rank]
            layers.append(convolution(size_in, size_out, 3, padding=1, bias=not batch_norm))
            layers += [NORMS[rank](size_out)] if batch_norm else []
            layers += [nn.ReLU(), POOLS[rank](2)]
        self.blocks, self.dropout = nn.Sequential(*layers), nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1] * math.prod(lengths), num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, shape (batch, num_classes), of inputs of shape (batch, *in_shape)."""
        outputs: Tensor = self.head(self.dropout(self.blocks(inputs).flatten(1)))
        return outputs
