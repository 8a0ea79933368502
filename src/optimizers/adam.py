"""Adam."""

from torch import Tensor

from src.optimizers.directions import Quotient
from src.optimizers.formulas import (
    Scalar,
    average_square_,
    cast,
    corrected_root,
    power,
    real_zeros,
    zeros,
)
from src.optimizers.kernels import fused_adam
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table


def adam(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
) -> Quotient:
    """m̂ / (√v̂ + ε)."""
    beta1, beta2 = betas
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    average_square_(exp_avg_sq, grad, beta2)
    denom = corrected_root(exp_avg_sq, beta2, step, eps)
    return Quotient(exp_avg, denom, 1 - power(beta1, step))


class Adam(Method):
    """Adam: each element's step is scaled by running averages of its gradient and its square.

        g ← g + λ·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = m / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·m̂ / (√v̂ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015,
        https://arxiv.org/abs/1412.6980

    Deviation from the paper: the L2 penalty. Deviations from torch.optim.Adam: ε is not 0, since
    a zero gradient would then give 0/0; a complex element has one v, the average of |g|², where
    torch treats its real and imaginary parts as two elements. A gradient whose square overflows
    makes v infinite and stops that element, as in torch.
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(adam, {"exp_avg": zeros, "exp_avg_sq": real_zeros})
    kernel = fused_adam
