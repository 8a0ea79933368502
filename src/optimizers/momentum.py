"""Gradient descent with momentum."""

from torch import Tensor

from src.optimizers.formulas import Scalar, cast, zeros
from src.optimizers.kernels import fused_momentum
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fraction, not_negative, table


def heavy_ball(grad: Tensor, momentum_buffer: Tensor, momentum: Scalar) -> Tensor:
    """The sum of the gradients so far, which are slowly forgotten."""
    return momentum_buffer.mul_(cast(momentum, grad)).add_(grad)


class Momentum(Method):
    """Gradient descent with momentum: the heavy ball.

        g ← g + λ·θ
        v ← μ·v + g            (v starts at 0, so the first step has v = g)
        θ ← θ − lr·v

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
        Polyak, Some methods of speeding up the convergence of iteration methods, 1964,
        https://doi.org/10.1016/0041-5553(64)90137-5

    Deviation from the paper: its learning rate stands inside the average (v ← μ·v + lr·g), which
    is the same while lr is constant. Deviation from torch.optim.SGD: no dampening, and μ < 1.
    """

    settings = table(
        lr=not_negative(1e-3),
        momentum=fraction(0.9),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(heavy_ball, {"momentum_buffer": zeros})
    kernel = fused_momentum
