"""The residual network for small pictures."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


def convolution(size_in: int, size_out: int, stride: int = 1) -> nn.Conv2d:
    """3x3, padded, without the bias that batch norm takes away again."""
    return nn.Conv2d(size_in, size_out, 3, stride, padding=1, bias=False)


class Block(nn.Module):
    """Two convolutions with batch norm, added to what went in.

    Where the shape changes, what went in is subsampled and padded with channels of zeros, which
    takes no parameters.
    """

    def __init__(self, size_in: int, size_out: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = (
            convolution(size_in, size_out, stride),
            convolution(size_out, size_out),
        )
        self.first_norm, self.second_norm = nn.BatchNorm2d(size_out), nn.BatchNorm2d(size_out)
        self.stride, self.more = stride, size_out - size_in

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, size_in, height, width) to (batch, size_out, height/s, width/s)."""
        outputs = F.relu(self.first_norm(self.first(inputs)))
        outputs = self.second_norm(self.second(outputs))
        shortcut = F.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(outputs + shortcut)


class ResNet(nn.Module):
    """A residual network of 6n + 2 layers: a convolution, three stages of n blocks, a layer.

    Each further stage halves height and width; before the last layer they are averaged.

    Args:
        in_shape: of an input, (channels, height, width), each >= 1.
        num_classes: values in one output, >= 1.
        blocks: n, >= 1.
        channels: of the stages, each no less than the one before.

    Weights are drawn by the layers' default initialisation from torch's global generator.

    Raises:
        ValueError: an input of another rank, or a setting outside its range.

    Reference: He et al., Deep Residual Learning for Image Recognition, 2015, section 4.2,
    https://arxiv.org/abs/1512.03385
    """

    outer_layers = ("stem", "head")

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        blocks: int = 1,
        channels: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        if len(in_shape) != 3:
            raise ValueError(
                f"a ResNet needs inputs of shape (channels, height, width), got {tuple(in_shape)}"
            )
        if type(blocks) is not int or blocks < 1:
            raise ValueError(f"blocks must be an integer >= 1, got {blocks}")
        if not channels or any(type(size) is not int or size < 1 for size in channels):
            raise ValueError(f"channels must be integers >= 1, one at least, got {list(channels)}")
        if any(later < earlier for earlier, later in pairwise(channels)):
            raise ValueError(f"channels must not get fewer, got {list(channels)}")
        self.stem = convolution(in_shape[0], channels[0])
        self.stem_norm = nn.BatchNorm2d(channels[0])
        sizes = [channels[0], *(size for size in channels for _ in range(blocks))]
        halving = [bool(number) and number % blocks == 0 for number in range(len(sizes) - 1)]
        self.blocks = nn.Sequential(
            *(Block(*pair, 1 + each) for pair, each in zip(pairwise(sizes), halving, strict=True))
        )
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, shape (batch, num_classes), of inputs of shape (batch, *in_shape)."""
        features = self.blocks(F.relu(self.stem_norm(self.stem(inputs))))
        outputs: Tensor = self.head(features.mean((2, 3)))
        return outputs
