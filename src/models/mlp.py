"""The multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class MLP(nn.Module):
    """Linear layers with an activation between them, on flattened inputs.

    Args:
        in_features: values in one input, >= 1.
        out_features: values in one output, >= 1.
        hidden_sizes: widths of the hidden layers, each >= 1; none makes logistic regression.
        activation: one of `ACTIVATIONS`.

    Weights are drawn by `nn.Linear`'s default initialisation from torch's global generator.

    Raises:
        ValueError: a size below 1, or an unknown activation.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_sizes: Sequence[int] = (100,),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if any(type(size) is not int or size < 1 for size in hidden_sizes):
            raise ValueError(f"hidden_sizes must be integers >= 1, got {list(hidden_sizes)}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: {activation!r}")
        *hidden, last = pairwise([in_features, *hidden_sizes, out_features])
        layers: list[nn.Module] = [nn.Flatten()]
        for size_in, size_out in hidden:
            layers += [nn.Linear(size_in, size_out), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers, nn.Linear(*last))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, shape (batch, out_features), of inputs of shape (batch, ...)."""
        outputs: Tensor = self.layers(inputs)
        return outputs
