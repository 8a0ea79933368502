"""Nesterov's accelerated gradient."""

from torch import Tensor

from src.optimizers.formulas import Scalar, add_scaled, cast, zeros
from src.optimizers.kernels import fused_nesterov
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fraction, not_negative, table


def nesterov(grad: Tensor, momentum_buffer: Tensor, momentum: Scalar) -> Tensor:
    """The momentum, and the gradient once more."""
    momentum_buffer.mul_(cast(momentum, grad)).add_(grad)
    return add_scaled(grad, momentum, momentum_buffer)


class Nesterov(Method):
    """Nesterov's accelerated gradient, written at the point looked ahead to.

        g ← g + λ·θ
        v ← μ·v + g            (v starts at 0, so the first step has v = g)
        θ ← θ − lr·(g + μ·v)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        momentum: μ, in [0, 1).
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Sutskever et al., On the importance of initialization and momentum in deep learning, 2013,
        https://proceedings.mlr.press/v28/sutskever13.html

    Deviation from the paper: it takes the gradient at θ + μ·v; here θ itself is that point, so
    that the gradient is taken where the parameters are. Deviation from torch.optim.SGD: no
    dampening, and μ in [0, 1), where 0 gives gradient descent.
    """

    settings = table(
        lr=not_negative(1e-3),
        momentum=fraction(0.9),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(nesterov, {"momentum_buffer": zeros})
    kernel = fused_nesterov
