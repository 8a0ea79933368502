"""The autoencoder."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Autoencoder(nn.Module):
    """Linear layers with tanh between them that narrow and widen again, in a mirror.

    Args:
        in_features: values in one input, >= 1.
        out_features: values in one output, >= 1; those of an input where inputs are to come back.
        hidden_sizes: widths from the first hidden layer to the narrowest, each >= 1; the layers
            behind it have the same ones in reverse.

    Weights are drawn by `nn.Linear`'s default initialisation from torch's global generator.

    Raises:
        ValueError: a width below 1, or none.

    Reference: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks,
    2006, https://doi.org/10.1126/science.1127647; trained from the start, as in Martens, Deep
    learning via Hessian-free optimization, 2010, which made it a test of optimizers.
    """

    def __init__(
        self, in_features: int, out_features: int, hidden_sizes: Sequence[int] = (32, 8)
    ) -> None:
        super().__init__()
        if not hidden_sizes or any(type(size) is not int or size < 1 for size in hidden_sizes):
            raise ValueError(
                f"hidden_sizes must be integers >= 1, one at least, got {list(hidden_sizes)}"
            )
        sizes = [in_features, *hidden_sizes, *reversed(hidden_sizes[:-1]), out_features]
        *hidden, last = pairwise(sizes)
        layers: list[nn.Module] = [nn.Flatten()]
        for size_in, size_out in hidden:
            layers += [nn.Linear(size_in, size_out), nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Linear(*last))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (batch, out_features), of inputs of shape (batch, ...)."""
        outputs: Tensor = self.layers(inputs)
        return outputs
