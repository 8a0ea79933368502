"""Gradient descent."""

from torch import Tensor

from src.optimizers.kernels import fused_sgd
from src.optimizers.method import Method, Rule
from src.optimizers.settings import not_negative, table


def sgd(grad: Tensor) -> Tensor:
    """The gradient."""
    return grad


class SGD(Method):
    """Gradient descent, on whatever batch the gradient comes from.

        g ← g + λ·θ
        θ ← θ − lr·g

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Robbins and Monro, A Stochastic Approximation Method, 1951,
        https://doi.org/10.1214/aoms/1177729586

    Deviation from torch.optim.SGD: momentum is a method of its own here, without dampening.
    """

    settings = table(lr=not_negative(1e-3), weight_decay=not_negative(0.0))
    rule = Rule(sgd)
    kernel = fused_sgd
