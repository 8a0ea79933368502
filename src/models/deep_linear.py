"""The deep linear network."""

from itertools import pairwise

from torch import Tensor, nn


class DeepLinear(nn.Module):
    """Linear layers without biases and with nothing between them: y = Wₖ·...·W₁·x.

    It can do no more than one matrix, but its loss isn't convex: it has saddles, and plateaus
    before each singular value of the map is learned.

    Args:
        in_features: values in one input, >= 1.
        out_features: values in one output, >= 1.
        depth: k, the number of layers, >= 1.
        width: of the hidden layers, >= 1.

    Weights are drawn by `nn.Linear`'s default initialisation from torch's global generator.

    Raises:
        ValueError: depth or width below 1.

    Reference: Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks, 2013, https://arxiv.org/abs/1312.6120
    """

    def __init__(
        self, in_features: int, out_features: int, depth: int = 4, width: int = 16
    ) -> None:
        super().__init__()
        for name, value in (("depth", depth), ("width", width)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value}")
        sizes = [in_features, *[width] * (depth - 1), out_features]
        layers = [nn.Linear(*pair, bias=False) for pair in pairwise(sizes)]
        self.layers = nn.Sequential(nn.Flatten(), *layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (batch, out_features), of inputs of shape (batch, ...)."""
        outputs: Tensor = self.layers(inputs)
        return outputs
