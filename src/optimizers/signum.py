"""Signum."""

from torch import Tensor

from src.optimizers.directions import decoupled
from src.optimizers.formulas import Scalar, cast, zeros
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fraction, not_negative, table


def signum(grad: Tensor, exp_avg: Tensor, momentum: Scalar) -> Tensor:
    """sign(m)."""
    return exp_avg.lerp_(grad, cast(1 - momentum, grad)).sign()


class Signum(Method):
    """Signum: every element moves by lr, in the direction of the sign of its momentum.

        m ← μ·m + (1−μ)·g
        θ ← (1 − lr·λ)·θ − lr·sign(m)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        momentum: μ, in [0, 1); with 0 the method is signSGD.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    Reference:
        Bernstein et al., signSGD: Compressed Optimisation for Non-Convex Problems, 2018,
        algorithm 2, https://arxiv.org/abs/1802.04434

    Complex parameters are refused: the paper defines no sign for them. torch.optim has no such
    class.
    """

    settings = table(
        lr=not_negative(1e-4),
        momentum=fraction(0.9),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(signum, {"exp_avg": zeros}, decay=decoupled)
    allows_complex = False
    continuous = False  # a rounded 0 has a sign
